"""Copies in contexts: whose they are, how many, what they change, and what they leave alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.configuration import DataSection
from jettison.domain.contexts import Context
from jettison.domain.outer_points import Taken
from jettison.domain.splits import Splits
from jettison.errors import DataError
from jettison.pipeline.split import load_data
from jettison.trust.seal import _read_labels, sealed_row_set
from tests.unit.pipeline.split.split_tables import model

SECTION = DataSection(inputs=("x",), target="y", groups=("sex",), seed=3)
LOUD = Context("loud", "gain", {"decibels": 20.0})
NOISY = Context("noisy", "signal_noise", {"snr_db": 0.0})


def signals(n: int = 200) -> dict[str, Any]:
    """Rows that are signals of two values, as the small model takes them."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(n, 2)).astype(np.float32),
        "y": rng.choice(["no", "yes"], n),
        "sex": rng.choice(["f", "m"], n),
        "author": rng.integers(0, 60, n),
    }


def load(folder: Path, *contexts: Context, section: DataSection = SECTION) -> Splits:
    """Loads the signals with some contexts."""
    return load_data(section, model(), folder, signals(), contexts)


def rows_of(splits: Splits) -> Any:
    """The encoded sealed rows."""
    assert splits.certification is not None
    return np.load(Path(splits.certification.folder) / "rows" / "x.npy")


def test_each_row_has_a_copy_behind_all_rows_as_they_came(tmp_path: Path) -> None:
    """A gain of 20 dB multiplies by 10; labels of a copy are those of its row."""
    made = load(tmp_path, LOUD)
    plain = load(tmp_path / "plain")
    assert made.certification is not None
    assert plain.certification is not None
    n = made.certification.n
    rows, before = rows_of(made), rows_of(plain)
    assert n == plain.certification.n == len(before)
    assert np.array_equal(rows[:n], before)
    assert rows[n:] == pytest.approx(10 * before, rel=1e-5)
    labels = _read_labels(Path(made.certification.folder) / "labels.npz")
    assert labels.contexts is not None
    assert labels.targets is not None
    assert labels.contexts.tolist() == [""] * n + ["loud"] * n
    assert np.array_equal(labels.targets[:n], labels.targets[n:])


def test_a_context_is_a_group_and_counts_nowhere_else(tmp_path: Path) -> None:
    """Sizes of the whole and of other groups are those of the rows as they came."""
    made, plain = load(tmp_path / "a", LOUD, NOISY), load(tmp_path / "b")
    assert made.certification is not None
    assert plain.certification is not None
    n = plain.certification.n
    sizes = dict(plain.certification.group_sizes)
    assert made.certification.group_sizes == {**sizes, "context=loud": n, "context=noisy": n}
    assert made.certification.group_units == made.certification.group_sizes
    assert made.certification.units == n
    assert made.selection is not None
    masks = made.selection.labels.membership()
    whole = made.selection.labels.as_they_came(made.selection.rows.n)
    assert sum(int(mask.sum()) for mask in masks.values()) == 3 * int(whole.sum())
    assert not (masks["sex=f"] & masks["context=loud"]).any()
    assert made.fitting.rows.digest == plain.fitting.rows.digest


def test_the_ledger_meets_the_same_rows(tmp_path: Path) -> None:
    """Contexts neither hide sealed rows from the ledger nor add any."""
    made, plain = load(tmp_path / "a", LOUD), load(tmp_path / "b")
    assert made.certification is not None
    assert plain.certification is not None
    assert np.array_equal(sealed_row_set(made.certification), sealed_row_set(plain.certification))
    assert made.digest != plain.digest


def test_copies_hang_on_seed_context_and_row_alone(tmp_path: Path) -> None:
    """Another context beside it changes nothing; another seed of the run does."""
    alone, company = load(tmp_path / "a", NOISY), load(tmp_path / "b", LOUD, NOISY)
    n = len(rows_of(alone)) // 2
    assert np.array_equal(rows_of(alone)[n:], rows_of(company)[2 * n :])
    again = load(tmp_path / "c", dataclasses.replace(NOISY, name="other"))
    assert not np.array_equal(rows_of(alone)[n:], rows_of(again)[n:])


def test_a_share_takes_whole_units(tmp_path: Path) -> None:
    """Half of the authors get copies, each of all its rows."""
    section = dataclasses.replace(SECTION, unit="author")
    half = dataclasses.replace(LOUD, share=0.5)
    made = load(tmp_path, half, section=section)
    assert made.certification is not None
    labels = _read_labels(Path(made.certification.folder) / "labels.npz")
    assert labels.units is not None
    assert labels.contexts is not None
    copied = set(labels.units[labels.contexts != ""])
    assert 0.2 < len(copied) / made.certification.units < 0.8
    for unit in copied:
        mine = labels.contexts[labels.units == unit]
        assert (mine == "").sum() == (mine != "").sum()
    assert made.certification.group_units["context=loud"] == len(copied)


@pytest.mark.parametrize("share", [1e-9, 0.004])
def test_a_share_that_takes_no_row_of_a_use_is_refused(tmp_path: Path, share: float) -> None:
    """A declared context can't vanish from the certificate, nor from the search."""
    context = dataclasses.replace(LOUD, share=share)
    with pytest.raises(DataError, match=r"context `loud`.* takes none of the .* for selection"):
        load(tmp_path, context)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (Context("c", "jpeg"), "columns that it would change are `x` .signal."),
        (Context("c", "gain", {"decibels": 900.0}), "from -120 to 120; got 900"),
        (Context("c", "gain", {"loudness": 1.0}), "allowed: `decibels`"),
        (Context("c", "gain", {"decibels": 0.0}), "changes none of"),
        (Context("c", "gain", columns=("z",)), "there is no column `z`"),
        (Context("c", "gain", columns=("sex",)), "`sex` .text."),
        (Context("c", "microphone", {"sample_rate": 500}), "below half of `sample_rate`"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, context: Context, words: str) -> None:
    """The message names the context, what it was given and what is allowed."""
    with pytest.raises(DataError, match=words) as caught:
        load(tmp_path, context)
    assert "context `c`" in str(caught.value)


def test_every_kind_that_a_transformation_takes_is_described() -> None:
    """No kind lacks its words for the error message."""
    from typing import get_args

    from jettison.pipeline.split.contexts import KINDS

    assert set(get_args(Taken)) == set(KINDS)


def test_declared_intersections_may_hold_the_target(tmp_path: Path) -> None:
    """`sex & y` makes a group of each sex and class, so accuracy in it is a rate of that class."""
    section = dataclasses.replace(SECTION, groups=("sex", "sex & y"))
    made = load(tmp_path, section=section)
    assert made.certification is not None
    sizes = made.certification.group_sizes
    assert set(sizes) == {
        "sex=f",
        "sex=m",
        *(f"sex & y={s} & {y}" for s in "fm" for y in ("no", "yes")),
    }
    assert sizes["sex=f"] == sizes["sex & y=f & no"] + sizes["sex & y=f & yes"]
    with pytest.raises(DataError, match="no column `age`"):
        load(tmp_path, section=dataclasses.replace(SECTION, groups=("sex & age",)))


def test_of_takes_the_rows_of_one_group(tmp_path: Path) -> None:
    """A context of one site copies the rows of that site, in selection and under the seal."""
    made = load(tmp_path, dataclasses.replace(LOUD, of="sex=f"))
    assert made.certification is not None
    assert made.selection is not None
    sizes = made.certification.group_sizes
    assert sizes["context=loud"] == sizes["sex=f"]
    masks = made.selection.labels.membership()
    assert masks["context=loud"].sum() == masks["sex=f"].sum() > 0
    whole = made.selection.labels.as_they_came(made.selection.rows.n)
    before = made.selection.rows.column("x")[whole & masks["sex=f"]]
    copies = made.selection.rows.column("x")[masks["context=loud"]]
    assert copies == pytest.approx(10 * before, rel=1e-5)


def test_the_column_of_a_group_may_be_named_with_an_equals_sign(tmp_path: Path) -> None:
    """Columns that stand for one value each are often called like it."""
    given = signals()
    given["sex=f"] = (given["sex"] == "f").astype(int)
    section = dataclasses.replace(SECTION, groups=("sex", "sex=f"))
    loud = dataclasses.replace(LOUD, of="sex=f=1")
    made = load_data(section, model(), tmp_path, given, [loud])
    assert made.certification is not None
    sizes = made.certification.group_sizes
    assert sizes["context=loud"] == sizes["sex=f=1"] == sizes["sex=f"] > 0


def test_a_group_that_no_row_has_is_refused(tmp_path: Path) -> None:
    """The values that there are stand in the message."""
    with pytest.raises(DataError, match=r"`of` is `sex=x`, and no row .* \(`sex` there: f, m\)"):
        load(tmp_path, dataclasses.replace(LOUD, of="sex=x"))
