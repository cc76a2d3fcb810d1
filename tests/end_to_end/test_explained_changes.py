"""From a run folder to the page: models in workers, known weights, and what they must show."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.attribution import explain_changes
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.domain.recipe import Candidate, Recipe, Step
from jettison.domain.record import to_json
from jettison.domain.run import RunRecord, Trial
from jettison.errors import DataError, UsageError
from jettison.loaders.scikit_learn import ScikitLearnLoader
from tests.end_to_end.browser import Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "reporting"))
import records

pytestmark = pytest.mark.slow

COLUMNS = ("used", "dropped", "useless")


def linear(weights: tuple[float, ...], folder: Path) -> Model:
    """A logistic regression with weights of our own."""
    pd = pytest.importorskip("pandas")
    from sklearn.linear_model import LogisticRegression

    table = pd.DataFrame(np.eye(3), columns=list(COLUMNS))
    estimator = LogisticRegression().fit(table, [0, 1, 0])
    estimator.coef_ = np.array([weights])
    estimator.intercept_ = np.array([0.0])
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ScikitLearnLoader().load(Source("", live=estimator), folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose new model forgot the second column."""
    folder = tmp_path / "run"
    work = folder / "work"
    original = linear((2.0, 2.0, 0.0), work / "model")
    forgot = linear((2.0, 0.0, 0.0), work / "artifacts" / "x")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    (work / "data" / "selection").mkdir(parents=True)
    np.save(work / "data" / "selection" / "X.npy", rows)
    (work / "baseline" / "selection").mkdir(parents=True)
    np.save(work / "baseline" / "selection" / "accuracy.npy", np.ones(60))
    recipe = Recipe((Step("forget"),), Step("scikit_learn"))
    trial = Trial(0, recipe, "complete", "", Candidate(recipe, forgot, ()), None, 1.0)
    base = records.improved()
    record: RunRecord = dataclasses.replace(
        base,
        model=original,
        trials=(trial,),
        shipped=recipe.digest,
        configuration=dataclasses.replace(
            base.configuration,
            model=ModelSection("credit.skops"),
            data=DataSection("rows.csv", target="label"),
        ),
    )
    (folder / "run.json").write_text(to_json(record))
    return folder


def test_the_forgotten_column_is_found(run: Path, tmp_path: Path) -> None:
    """A column that the new model ignores has no share after, and moved the original before.

    The rows, classes and right answers are those of a direct computation with the known weights.
    """
    found = explain_changes(run, limit=4)
    rows = np.load(run / "work" / "data" / "selection" / "X.npy")
    old, new = rows[:, 0] + rows[:, 1] > 0, rows[:, 0] > 0
    assert found.changed == int((old != new).sum())
    assert len(found.rows) == 4
    for row in found.rows:
        assert old[row.row] != new[row.row]
        assert row.original_right is True
        assert row.parts[1].startswith("dropped = ")
        assert row.after.parts[1] == pytest.approx(0.0, abs=1e-9)
        assert row.before.parts[2] == pytest.approx(0.0, abs=1e-9)
        assert row.before.parts[1] > 0.2
        assert row.before.value > 0 > row.after.value
        # With one column left to react to, the parts add up.
        assert row.after.gap == pytest.approx(0.0, abs=1e-9)
    again = explain_changes(run, limit=4)
    assert again == found
    assert explain_changes(run, limit=1, seed=8).rows[0].before != found.rows[0].before


def test_the_page_opens_without_an_error(run: Path, tmp_path: Path) -> None:
    """The command writes a page that a browser shows with both models, and the numbers as JSON."""
    from jettison.cli.explaining import explain_changes as command

    command(run, recipe="", rows=2, seed=7, out=None)
    told = json.loads((run / "changes.json").read_text())
    assert len(told["rows"]) == 2
    with Browser(tmp_path) as browser:
        browser.open(f"file://{run / 'changes.html'}")
        assert browser.value("document.querySelectorAll('figure.view').length") == 4
        assert browser.value("document.querySelectorAll('.bars .line').length") == 12
        assert not browser.problems


def test_what_can_t_be_explained_is_refused(run: Path) -> None:
    """No run, no such recipe, or models that are gone: one sentence each."""
    with pytest.raises(UsageError, match="no finished run"):
        explain_changes(run / "work")
    with pytest.raises(UsageError, match="built no candidate that begins with abc"):
        explain_changes(run, recipe="abc")
    (run / "work" / "artifacts" / "x" / "model.skops").unlink()
    with pytest.raises(DataError, match="is gone"):
        explain_changes(run)
