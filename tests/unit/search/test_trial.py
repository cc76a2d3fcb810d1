"""One trial: what goes wrong with a candidate is its own, and the search goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jettison.domain.model import Model
from jettison.domain.recipe import Candidate, Recipe, Step
from jettison.errors import CandidateFailed, DataError, JettisonError, ModelError, UsageError
from jettison.search import trial
from jettison.search.trial import run_trial

RECIPE = Recipe((Step("int8_static"),), Step("onnx_runtime"))


def run(monkeypatch: pytest.MonkeyPatch, model: Model, folder: Path, error: JettisonError) -> Any:
    """A trial whose candidate is built, and raises when it is measured."""

    def measured(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(trial.applying, "apply", lambda *_: Candidate(RECIPE, model, ()))
    monkeypatch.setattr(trial, "_measure", measured)
    bench: Any = type("Bench", (), {"model": model, "fitting": None, "serving": None})()
    bench.folder = folder
    workers: Any = None
    return run_trial(bench, workers, 3, RECIPE, ())


@pytest.mark.parametrize(
    "error",
    [
        CandidateFailed("the worker ended"),
        DataError("`f1` is of two classes, and class 2 occurs"),
        ModelError("the file can't be opened again"),
    ],
)
def test_a_fault_of_a_candidate_is_a_failed_trial(
    monkeypatch: pytest.MonkeyPatch, network: Model, tmp_path: Path, error: JettisonError
) -> None:
    """Its file may not open again, and a metric may be undefined on its answers alone."""
    found = run(monkeypatch, network, tmp_path, error)
    assert (found.state, found.reason) == ("failed", str(error))


def test_a_full_disk_is_no_fault_of_a_candidate(
    monkeypatch: pytest.MonkeyPatch, network: Model, tmp_path: Path
) -> None:
    """What stops the whole run is not told as one trial after the other."""
    with pytest.raises(UsageError, match="free some space"):
        run(monkeypatch, network, tmp_path, UsageError("free some space"))
