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


def test_another_encoder_hides_no_waiting_row(tmp_path: Path) -> None:
    """The same file through a model that reads other columns, in other types, is refused all the same.

    With a `unit` rows are dealt by it, so the other model reads no waiting row and may go on.
    """
    ledger = Ledger.at(tmp_path / "ledger")
    charged(tmp_path / "first", ledger, 2)
    other = dataclasses.replace(SECTION, inputs=("b", "a"))
    load(rows(), tmp_path / "other", other, model(width=2))
    with pytest.raises(SealRefused, match="name a `unit`"):
        check_open_rows(tmp_path / "other" / "selection", ledger)


def test_units_keep_waiting_rows_apart_for_any_encoder(tmp_path: Path) -> None:
    """Dealt by unit, the rows that wait stay sealed when another model reads the file."""
    ledger = Ledger.at(tmp_path / "ledger")
    given = {**rows(), "who": np.array([f"person {place}" for place in range(N)])}
    section = dataclasses.replace(SECTION, unit="who")
    splits = load(given, tmp_path / "first", section, model(width=4))
    assert splits.certification is not None
    sealed = sealed_row_set(splits.certification)
    ledger.charge(Charge("c", splits.certification.digest, "o", 0.05, sealed, "", look_plan(2), 1))
    other = dataclasses.replace(section, inputs=("b", "a"))
    load(given, tmp_path / "other", other, model(width=2))
    check_open_rows(tmp_path / "other" / "selection", ledger)


def test_rows_that_tell_too_little_are_known_by_what_the_model_gets(tmp_path: Path) -> None:
    """Zeros and ones stand in many files: such rows have no raw key, and don't refuse others."""
    ledger = Ledger.at(tmp_path / "ledger")
    charged(tmp_path / "first", ledger, 2)
    few = {name: np.arange(N).astype(np.float32) // 3 for name in "abcd"}
    load({**few, "y": rows()["y"]}, tmp_path / "other", SECTION, model(width=4))
    check_open_rows(tmp_path / "other" / "selection", ledger)
