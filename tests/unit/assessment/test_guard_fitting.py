"""A run folder gives a guardrail: its limit comes from selection rows, its bound is exact."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.guard_fitting import fit_guardrail
from jettison.domain.model import TensorSpec
from jettison.domain.record import to_json
from jettison.errors import DataError, UsageError
from jettison.guardrails.out_of_distribution import OutOfDistribution

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reporting"))
import records

RECORD = dataclasses.replace(
    records.improved(),
    model=dataclasses.replace(records.model(), inputs=(TensorSpec("x", "float32", ("batch", 3)),)),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with 100 fitting and 400 selection rows."""
    rng = np.random.default_rng(0)
    for use, n in (("fitting", 100), ("selection", 400)):
        folder = tmp_path / "work" / "data" / use
        folder.mkdir(parents=True)
        np.save(folder / "x.npy", rng.normal(size=(n, 3)).astype(np.float32))
    (tmp_path / "run.json").write_text(to_json(RECORD))
    return tmp_path


def test_the_file_fits_the_model_of_the_run(run: Path) -> None:
    """The bound is the exact one of what the limit refuses, and within the rate asked for."""
    found = fit_guardrail(run, rate=0.03)
    assert (found.fitting, found.selection) == (100, 400)
    assert found.path == run / "novelty.npz"
    assert found.refused < found.refused_at_most * 400 <= 0.03 * 400
    check = OutOfDistribution().prepare(RECORD.model, {"fitted": str(found.path)})
    rows = np.load(run / "work" / "data" / "selection" / "x.npy")
    assert sum(check({"x": rows[i : i + 1]}) is not None for i in range(400)) == found.refused
    assert fit_guardrail(run, rate=0.03, out=run / "again.npz").refused == found.refused
    assert (run / "again.npz").read_bytes() == found.path.read_bytes()


def test_copies_and_units_are_not_counted(run: Path) -> None:
    """Copies in a context stand behind the rows as they came; rows of a unit are not independent."""
    alone = fit_guardrail(run, rate=0.03)
    path = run / "work" / "data" / "selection" / "x.npy"
    rows = np.load(path)
    np.save(path, np.concatenate([rows, 50 * rows]))
    assert RECORD.data is not None
    counted = dataclasses.replace(RECORD.data, rows={**RECORD.data.rows, "selection": len(rows)})
    (run / "run.json").write_text(to_json(dataclasses.replace(RECORD, data=counted)))
    again = fit_guardrail(run, rate=0.03)
    assert (again.selection, again.refused) == (400, alone.refused)
    data = dataclasses.replace(RECORD.configuration.data, unit="patient")
    told = dataclasses.replace(RECORD.configuration, data=data)
    (run / "run.json").write_text(to_json(dataclasses.replace(RECORD, configuration=told)))
    with pytest.raises(UsageError, match="rows of one `patient` are not independent"):
        fit_guardrail(run, rate=0.03)


def test_what_can_t_be_fitted_is_refused(run: Path) -> None:
    """Rates out of range, too few rows for a rate, a run without data or without its rows."""
    with pytest.raises(UsageError, match="rate must lie between 0 and 1"):
        fit_guardrail(run, rate=0.0)
    with pytest.raises(UsageError, match=r"between 0\.5 and 1; got 0\.03 and 0\.5"):
        fit_guardrail(run, rate=0.03, confidence=0.5)
    assert not (run / "novelty.npz").exists()
    with pytest.raises(DataError, match="400 selection rows can't show"):
        fit_guardrail(run, rate=0.001)
    (run / "run.json").write_text(to_json(dataclasses.replace(RECORD, data=None)))
    with pytest.raises(UsageError, match="had no data"):
        fit_guardrail(run, rate=0.03)
    (run / "run.json").write_text(to_json(RECORD))
    (run / "work" / "data" / "selection" / "x.npy").unlink()
    with pytest.raises(DataError, match="the selection rows in"):
        fit_guardrail(run, rate=0.03)
