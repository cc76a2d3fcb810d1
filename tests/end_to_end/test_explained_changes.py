"""From a run folder to the page: models in workers, known weights, and what they must show."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.assessment.attribution import explain_changes
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.extension_points import Example, Source
from jettison.domain.model import Model
from jettison.domain.raw_examples import write_raw
from jettison.domain.recipe import Candidate, Recipe, Step
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import LENGTHS
from jettison.domain.run import RunRecord, Trial
from jettison.errors import DataError, UsageError
from jettison.loaders.scikit_learn import ScikitLearnLoader
from jettison.pipeline.load import load_model
from jettison.reporting.attribution_page import render_attribution
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


def finished(folder: Path, original: Model, forgot: Model, runtime: str) -> Path:
    """A folder of a run that shipped `forgot`."""
    recipe = Recipe((Step("forget"),), Step(runtime))
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


@pytest.fixture
def text_run(tmp_path: Path, tiny_classifier: Path) -> Path:
    """A run in PyTorch whose new model has other words for a third of its vocabulary."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("captum")
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "run"
    other = tmp_path / "other"
    shutil.copytree(tiny_classifier, other)
    weights = load_file(str(other / "model.safetensors"))
    words = weights["bert.embeddings.word_embeddings.weight"].clone()
    words[::3] = torch.roll(words[::3], 1, 0)
    weights["bert.embeddings.word_embeddings.weight"] = words
    save_file(weights, str(other / "model.safetensors"), {"format": "pt"})
    models = []
    for place, source in (("model", tiny_classifier), ("artifacts/x", other)):
        model = load_model(ModelSection(str(source)), folder / "work" / place)
        kind = registry.get("encoders", model.encoder.kind)
        bound = kind.bind(model.encoder, model, ("text",))
        models.append(dataclasses.replace(model, encoder=bound))
    vocabulary = ["good", "bad", "the", "film", "was", "not", "very", "plain"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(vocabulary, rng.integers(3, 8))) for _ in range(30)]
    raw = Example({"text": np.array(texts)}, len(texts))
    data = folder / "work" / "data"
    write_raw(raw, data / "raw")
    encoded = registry.get("encoders", "tokenizer").encode(models[0].encoder, models[0], raw)
    (data / "selection").mkdir()
    for name, values in {**encoded.arrays, LENGTHS: encoded.lengths}.items():
        np.save(data / "selection" / f"{name}.npy", values)
    return finished(folder, models[0], models[1], "torch_eager")


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
    return finished(folder, original, forgot, "scikit_learn")


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


def test_gradients_stand_beside_replacement(text_run: Path, tmp_path: Path) -> None:
    """Two PyTorch models are asked by gradients too: shares add up, and the page shows four views."""
    found = explain_changes(text_run, limit=2)
    assert "Integrated gradients" in found.gradients
    assert found.notes == ()
    assert len(found.rows) == 2
    for row in found.rows:
        for told, same in (
            (row.before_gradients, row.before),
            (row.after_gradients, row.after),
        ):
            assert told is not None
            assert (told.value, told.emptied) == (same.value, same.emptied)
            # The error of the integral: weights of this size make the way a rough one.
            assert told.gap == pytest.approx(0.0, abs=0.05)
            assert max(abs(share) for share in told.parts) > 0.02
    assert from_json(type(found), to_json(found)) == found
    (tmp_path / "page.html").write_text(render_attribution(found))
    with Browser(tmp_path) as browser:
        browser.open(f"file://{tmp_path / 'page.html'}")
        assert browser.value("document.querySelectorAll('figure.view').length") == 8
        assert "by gradients" in browser.value("document.querySelectorAll('h4')[3].textContent")
        assert not browser.problems


def test_without_gradients_it_is_said(run: Path) -> None:
    """A forest or a linear model of scikit-learn has none; the page says so instead of zeros."""
    found = explain_changes(run, limit=1)
    assert found.gradients == ""
    assert [note.split(":")[0] for note in found.notes] == [
        "No gradients of the original",
        "No gradients of the new model",
    ]
    assert found.rows[0].before_gradients is None
    assert "the runtime `scikit_learn` gives none" in render_attribution(found)


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
