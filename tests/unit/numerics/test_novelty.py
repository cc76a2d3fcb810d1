"""How unlike a row is to what was known: the score's order, and the bound of its limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from jettison.domain.rows import Array, Batch
from jettison.errors import DataError
from jettison.numerics.novelty import (
    certified_threshold,
    fit_novelty,
    load_novelty,
    save_novelty,
)

RNG = np.random.default_rng(3)


def correlated(n: int) -> Array:
    """Two columns that move together."""
    x = RNG.normal(size=n)
    return np.stack([x, x + 0.1 * RNG.normal(size=n)], axis=1).astype(np.float32)


def test_a_row_against_the_correlation_is_further_than_one_along_it() -> None:
    """(2, -2) breaks what the columns have in common; (2, 2) does not."""
    fitted = fit_novelty([{"x": correlated(500)}], 0)
    along, against = fitted.score({"x": np.array([[2.0, 2.0], [2.0, -2.0]], np.float32)})
    assert against > 2 * along


def test_rare_and_unmet_texts_are_further() -> None:
    """A category of 1 % is further than one of 99 %, and one never met is the furthest."""
    jobs = np.array(["clerk"] * 99 + ["pilot"]).reshape(-1, 1)
    fitted = fit_novelty([{"job": jobs}], 0)
    usual, rare, unmet = fitted.score({"job": np.array([["clerk"], ["pilot"], ["xyzzy"]])})
    assert usual < rare < unmet


def test_ids_of_padding_say_nothing() -> None:
    """The same text has the same score however it is padded, and strange ids raise it."""
    ids = RNG.integers(1, 20, size=(200, 6))
    fitted = fit_novelty([{"input_ids": ids, "attention_mask": np.ones_like(ids)}], 0)
    row = ids[:1]
    padded = np.concatenate([row, np.full((1, 5), 999)], axis=1)
    mask = np.concatenate([np.ones_like(row), np.zeros((1, 5), np.int64)], axis=1)
    plain = fitted.score({"input_ids": row, "attention_mask": np.ones_like(row)})
    assert fitted.score({"input_ids": padded, "attention_mask": mask}) == pytest.approx(plain)
    strange = np.full_like(row, 777)
    assert fitted.score({"input_ids": strange, "attention_mask": np.ones_like(row)}) > 2 * plain


def test_long_inputs_are_projected_and_noise_is_found() -> None:
    """An image of another contrast is further than one of the fitted kind."""
    smooth = np.repeat(RNG.normal(size=(300, 1, 8, 1)), 8, axis=3).astype(np.float32)
    fitted = fit_novelty([{"image": smooth[:200]}], 0)
    assert fitted.projections["image"].shape == (64, 32)
    known = fitted.score({"image": smooth[200:]})
    noise = fitted.score({"image": RNG.normal(size=(50, 1, 8, 8)).astype(np.float32) * 3})
    assert noise.min() > np.quantile(known, 0.95)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_values_beyond_all_bounds_have_a_finite_score(value: float) -> None:
    """Infinities don't turn into NaN, which would compare as not above the limit."""
    fitted = fit_novelty([{"x": correlated(100)}], 0)
    score = fitted.score({"x": np.array([[value, 0.0]], np.float32)})
    assert np.isfinite(score).all()
    if not np.isnan(value):
        assert score[0] > 1000


def test_a_constant_column_that_moves_is_far() -> None:
    """What never changed among the known rows is suspicious when it does."""
    x = np.concatenate([correlated(100), np.full((100, 1), 5.0, np.float32)], axis=1)
    fitted = fit_novelty([{"x": x}], 0)
    moved = x[:1].copy()
    moved[0, 2] = 6.0
    assert fitted.score({"x": moved})[0] > 20 * fitted.score({"x": x[:1]})[0]


def test_a_saved_score_is_the_same(tmp_path: Path) -> None:
    """The file gives the same scores, limit and facts back; another file is refused."""
    batch: Batch = {
        "x": RNG.normal(size=(50, 40)).astype(np.float32),
        "job": np.array(["a", "b"] * 25).reshape(-1, 1),
    }
    fitted = fit_novelty([batch], 1)
    save_novelty(fitted, tmp_path / "n.npz", {"encoder": "e"})
    again, about = load_novelty(tmp_path / "n.npz")
    np.testing.assert_array_equal(again.score(batch), fitted.score(batch))
    assert about == {"encoder": "e"}
    assert again.inputs == fitted.inputs
    (tmp_path / "n.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="can't be read"):
        load_novelty(tmp_path / "n.npz")


@pytest.mark.parametrize(("n", "rate"), [(59, 0.05), (149, 0.02), (400, 0.02), (1000, 0.01)])
def test_the_limit_is_the_lowest_with_its_bound(n: int, rate: float) -> None:
    """By the binomial distribution itself: this order statistic has the confidence, one lower hasn't.

    The share above the k-th smallest exceeds the rate if at least k of n rows fall into the lower
    1 - rate of the distribution.
    """
    k = int(certified_threshold(np.arange(1, n + 1), rate, 0.95))
    assert stats.binom.sf(k - 1, n, 1 - rate) <= 0.05 + 1e-12
    assert k == 1 or stats.binom.sf(k - 2, n, 1 - rate) > 0.05


def test_too_few_rows_are_refused_with_the_number_needed() -> None:
    """58 rows can't bound 5 %; 59 can."""
    with pytest.raises(DataError, match="at least 59 are needed"):
        certified_threshold(np.arange(58), 0.05, 0.95)
    assert certified_threshold(np.arange(59), 0.05, 0.95) == 58


def test_the_bound_holds_as_often_as_told() -> None:
    """In 4,000 seeded draws of 400 rows the true share above the limit exceeds 2 % in at most 5 %.

    Three standard errors are allowed: 6.1 %. The bound is not idle: it is exceeded in over 2 %.
    """
    rng = np.random.default_rng(11)
    place = int(certified_threshold(np.arange(400), 0.02, 0.95))
    limits = np.sort(rng.random((4000, 400)), axis=1)[:, place]
    exceeded = float((1.0 - limits > 0.02).mean())
    assert 0.02 < exceeded <= 0.061


def test_rows_of_other_lengths_are_refused() -> None:
    """Numbers have a likeness at one length only; another length is said, and no traceback."""
    rng = np.random.default_rng(0)
    short, long = ({"x": rng.normal(size=(20, width))} for width in (50, 60))
    with pytest.raises(DataError, match="hold 50 to 60 numbers"):
        fit_novelty([short, long], 0)
    with pytest.raises(DataError, match="hold 60 numbers, and those that were known hold 50"):
        fit_novelty([short], 0).score(long)
    few = {"x": rng.normal(size=(20, 3))}
    with pytest.raises(DataError, match="of another length"):
        fit_novelty([few], 0).score({"x": rng.normal(size=(2, 4))})
