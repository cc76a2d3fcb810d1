"""`jettison assess` on a run, before and after, and its page in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jettison.cli import app
from tests.end_to_end.browser import Browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A forest on 1,500 rows with two groups, of which one has noisy labels, and its run."""
    skops = pytest.importorskip("skops.io")
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    folder = tmp_path_factory.mktemp("assess-run")
    r = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": r.normal(size=1500) for i in range(4)})
    group = np.where(r.random(1500) < 0.5, "a", "b")
    noise = np.where(group == "b", 1.5, 0.1)
    target = (frame["x0"] + frame["x1"] + noise * r.normal(size=1500) > 0).astype(int)
    skops.dump(
        RandomForestClassifier(60, max_depth=6, random_state=0).fit(frame, target),
        folder / "m.skops",
    )
    frame["y"], frame["g"] = target, group
    frame.to_csv(folder / "rows.csv", index=False)
    asked = ["optimize", str(folder / "m.skops"), "--data", str(folder / "rows.csv")]
    asked += ["--target", "y", "--group", "g", "--technique", "convert_sklearn", "--trials", "1"]
    asked += ["--minimise", "size_bytes"]  # Exact, so nothing is timed.
    asked += ["--no-certify", "--output", str(folder / "run"), "--ledger", str(folder / "ledger")]
    result = CliRunner().invoke(app, asked)
    assert (folder / "run/release/manifest.json").exists(), result.output
    return folder


def assessed(place: Path, *more: str) -> dict:
    out = place / "out"
    result = CliRunner().invoke(app, ["assess", str(place / "run"), *more, "--output", str(out)])
    assert result.exit_code == 0, result.output
    return json.loads((out / "assessment.json").read_text())


def test_a_run_is_assessed_before_and_after(place):
    """Selection rows alone without --data; with the run's own file, all but the sealed rows."""
    selection = assessed(place)
    assert [model["name"] for model in selection["models"]] == ["original", "shipped"]
    assert "selection rows" in selection["rows_from"]
    own = assessed(place, "--data", str(place / "rows.csv"))
    assert any("under an unopened seal" in note for note in own["notes"])
    assert own["n"] < 600
    assert {e["group"] for e in own["changes"]} == {"overall", "g=a", "g=b"}


def test_the_page_in_a_browser(place, tmp_path):
    """Plots are drawn, nothing is asked for, nothing overflows a phone, no error is logged."""
    assessed(place)
    page = (place / "out/assessment.html").resolve().as_uri()
    with Browser(tmp_path) as browser:
        for width in (1280, 390):
            browser.size(width)
            browser.open(page)
            browser.wait("document.documentElement.dataset.plots === 'drawn'")
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("document.querySelectorAll('.plot svg.main-svg').length") > 0
        assert browser.problems == []
        assert [u for u in browser.asked if not u.startswith(("file:", "data:", "blob:"))] == []
