"""Rows are found wherever a run put them, and removed from there; the ledger stays whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.forgetting import forget
from jettison.domain.configuration import AuditSection, DataSection
from jettison.domain.record import from_json, to_json
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, DataError, UsageError
from jettison.pipeline.split import load_data
from jettison.trust.audit import AUDIT, read_trail
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.seal import sealed_row_set
from tests.serving_bundle import FEATURES, make_bundle

N = 300


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose rows were divided and whose seal was looked at, as `optimize` leaves it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    release = make_bundle(tmp_path / "run" / "release")
    record = from_json(RunRecord, (release / "run.json").read_bytes())
    rng = np.random.default_rng(0)
    rows = {
        "x": rng.normal(size=(N, FEATURES)).astype(np.float32),
        "label": np.arange(N) % 4,
        "patient": np.arange(N) // 3,
    }
    np.savez(tmp_path / "rows.npz", **rows)
    section = DataSection(str(tmp_path / "rows.npz"), inputs=("x",), target="label", unit="patient")
    splits = load_data(section, record.model, tmp_path / "run" / "work" / "data")
    assert splits.certification is not None
    ledger = str(tmp_path / "ledger")
    Ledger.at(ledger).charge(
        Charge("c" * 64, "d" * 64, "o" * 64, 0.05, sealed_row_set(splits.certification))
    )
    configuration = dataclasses.replace(
        record.configuration, data=section, ledger=ledger, output=str(tmp_path / "run")
    )
    record = dataclasses.replace(record, configuration=configuration)
    (tmp_path / "run" / "run.json").write_text(to_json(record))
    return tmp_path / "run"


def test_every_row_is_somewhere_once(run: Path) -> None:
    """Over all patients the copies are all rows of the run; only sealed ones were looked at."""
    found = [forget(run, "patient", str(p)) for p in range(0, N // 3, 4)]
    for one in found:
        assert one.rows == 3
        assert sum(one.copies.values()) == 3
        assert bool(one.looks) == bool(one.copies["certification"])
        assert one.removed == ()
    used = {use for one in found for use, count in one.copies.items() if count}
    assert "selection" in used
    assert "certification" in used


def test_numbers_are_found_as_they_are_typed(run: Path) -> None:
    """A csv file that says 007 holds the number 7, whose rows must not be missed."""
    assert {forget(run, "patient", text).rows for text in ("7", "007", "7.0")} == {3}
    with pytest.raises(DataError, match="no row has `patient` = nan"):
        forget(run, "patient", "nan")


def test_copies_go_and_the_rest_stays(run: Path) -> None:
    """No encoded row is left; ledger, bundle and the user's file are as they were."""
    (run / "work" / "model").mkdir()
    shown = ("label", "find", "changes.html", "changes.json", "novelty.npz")
    (run / "label" / "pictures").mkdir(parents=True)
    (run / "label" / "pictures" / "3-1.png").write_bytes(b"a face")
    (run / "find").mkdir()
    for name in ("label/to_label.csv", "label/answers.csv", "find/changed.csv"):
        (run / name).write_text("row,name\n3,Ada\n")
    for name in ("changes.html", "changes.json", "novelty.npz"):
        (run / name).write_text("Ada")
    ledger = Ledger.at(run.parent / "ledger")
    before = (ledger.path.read_bytes(), (run / "release" / "manifest.json").read_bytes())
    found = forget(run, "patient", "7", delete=True)
    assert [Path(p).name for p in found.removed] == ["data", *shown]
    assert not any((run / name).exists() for name in shown)
    assert [p.name for p in (run / "work").iterdir()] == ["model"]
    assert before == (ledger.path.read_bytes(), (run / "release" / "manifest.json").read_bytes())
    assert ledger.entries()
    (event,) = read_trail(run / AUDIT)
    assert event.kind == "forgotten"
    assert str(event.facts["who"]).startswith("p-")
    assert sum(forget(run, "patient", "7").copies.values()) == 0


def test_what_can_not_be_told_is_not_removed(run: Path) -> None:
    """With a broken trail, or a signing key that is gone, every copy stays where it is."""
    (run / "label").mkdir()
    (run / AUDIT).write_text("{}\n")
    with pytest.raises(CheckFailed, match="line 1"):
        forget(run, "patient", "7", delete=True)
    (run / AUDIT).unlink()
    record = from_json(RunRecord, (run / "run.json").read_bytes())
    signed = dataclasses.replace(
        record.configuration, audit=AuditSection(key=str(run / "gone.pem"))
    )
    (run / "run.json").write_text(to_json(dataclasses.replace(record, configuration=signed)))
    with pytest.raises(UsageError, match=r"gone\.pem"):
        forget(run, "patient", "7", delete=True)
    assert (run / "work" / "data").is_dir()
    assert (run / "label").is_dir()


def test_what_names_no_row_is_refused(run: Path, tmp_path: Path) -> None:
    """A value that nobody has, a column that is not there, a folder that is no run."""
    with pytest.raises(DataError, match="no row has `patient` = 999"):
        forget(run, "patient", "999")
    with pytest.raises(DataError, match="no column `name`"):
        forget(run, "name", "Ada")
    with pytest.raises(UsageError, match="no folder of a finished run"):
        forget(tmp_path, "patient", "7")
