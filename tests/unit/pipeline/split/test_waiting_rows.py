"""Rows of an unfinished plan of looks reach no fitting or selection of another run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from split_tables import N, load, model

from jettison.domain.configuration import DataSection
from jettison.errors import SealRefused
from jettison.trust.ledger import Charge, Ledger, Look
from jettison.trust.looks import look_plan
from jettison.trust.seal import sealed_row_set
from jettison.trust.waiting_rows import check_open_rows

SECTION = DataSection(inputs=("a", "b", "c", "d"), target="y", seed=3)


def rows() -> dict[str, Any]:
    """Four number columns and a target."""
    rng = np.random.default_rng(0)
    made = {name: rng.normal(size=N).astype(np.float32) for name in "abcd"}
    return {**made, "y": rng.choice(["no", "yes"], N)}


def divided(folder: Path, seed: int) -> Path:
    load(rows(), folder, dataclasses.replace(SECTION, seed=seed), model(width=4))
    return folder / "selection"


def charged(folder: Path, ledger: Ledger, looks: int, number: int = 1) -> Look:
    """Spends a look at the rows that seed 3 seals."""
    splits = load(rows(), folder, SECTION, model(width=4))
    assert splits.certification is not None
    sealed = sealed_row_set(splits.certification)
    plan = look_plan(looks)
    return ledger.charge(
        Charge("c", splits.certification.digest, "o", 0.05, sealed, "", plan, number)
    )


def test_another_seed_waits_and_the_same_does_not(tmp_path: Path) -> None:
    """After the first of two looks another seed is refused, until the rows are given up."""
    ledger = Ledger.at(tmp_path / "ledger")
    other = divided(tmp_path / "other", 4)
    check_open_rows(other, ledger)
    look = charged(tmp_path / "first", ledger, 2)
    check_open_rows(tmp_path / "first" / "selection", ledger)
    with pytest.raises(SealRefused, match="wait for further declared looks"):
        check_open_rows(other, ledger)
    ledger.reveal(look.entry)
    check_open_rows(other, ledger)


@pytest.mark.parametrize("end", ["one look", "used up", "certified"])
def test_spent_rows_may_serve_for_selection(tmp_path: Path, end: str) -> None:
    """Rows without a further look are free: one look, all declared ones, or a certified model."""
    ledger = Ledger.at(tmp_path / "ledger")
    look = charged(tmp_path / "first", ledger, 1 if end == "one look" else 2)
    if end == "used up":
        charged(tmp_path / "second", ledger, 2, number=2)
    if end == "certified":
        ledger.record("certificate", look.entry, "1" * 64, "certified")
    check_open_rows(divided(tmp_path / "other", 4), ledger)
