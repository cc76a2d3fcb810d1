"""A threshold of the score for each group, chosen on fitting rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import CandidateFailed

__all__ = ["FEWEST", "RULES", "chosen_thresholds", "moved"]

RULES = ("equal_selection_rates", "reject_option", "equal_true_positive_rates")
"""The first two read no labels."""

FEWEST = 30
"""Rows (or rows of the positive class) of a group below which no threshold is chosen for it."""

ENDS = (0.001, 0.999)
WIDTHS = np.linspace(0.0, 0.45, 91)


def chosen_thresholds(
    rule: str, scores: Array, cells: Array, positive: Array | None, allowed: float
) -> dict[str, float]:
    """Gives each group's threshold: a row is positive where its score lies above it.

    Args:
        rule: `equal_selection_rates` and `equal_true_positive_rates` give each group the rate that
            all rows together have at 0.5 (Hardt et al. 2016, section 3.2); `reject_option` moves
            the threshold of groups with a lower selection rate down and of the others up by the
            same width, the least that brings rates to within `allowed`: whoever lies in between
            gets the answer that favours the group with the lower rate (Kamiran, Karim and Zhang
            2012, section 4.1).
        scores: probability of the positive class, shape (n,).
        cells: group of each row, shape (n,).
        positive: whether a row truly is positive, shape (n,); `None` where that is not known.
        allowed: largest difference of selection rates, for `reject_option`.

    Raises:
        CandidateFailed: for an unknown rule, a rule that needs labels without any, or a group with
            too few rows.
    """
    if rule not in RULES:
        raise CandidateFailed(f"`rule` must be one of {', '.join(RULES)}; got {rule!r}")
    counted = np.ones(len(scores), dtype=bool)
    if rule == "equal_true_positive_rates":
        if positive is None:
            raise CandidateFailed(
                f"`{rule}` needs labels, and the fitting rows have none; use {RULES[0]}"
            )
        counted = np.asarray(positive, dtype=bool)
    names = [str(name) for name in np.unique(cells)]
    for name in names:
        held = int((counted & (cells == name)).sum())
        if held < FEWEST:
            what = "positive fitting rows" if positive is not None and rule == RULES[2] else "rows"
            raise CandidateFailed(
                f"group `{name}` has {held} {what}; at least {FEWEST} are needed to choose a "
                "threshold: raise `data.fitting_rows`"
            )
    if rule == "reject_option":
        return _reject_option(scores, cells, names, allowed)
    rate = float((scores[counted] > 0.5).mean())
    return {
        name: float(np.clip(np.quantile(scores[counted & (cells == name)], 1.0 - rate), *ENDS))
        for name in names
    }


def _reject_option(
    scores: Array, cells: Array, names: list[str], allowed: float
) -> dict[str, float]:
    whole = float((scores > 0.5).mean())
    lower = {name: bool((scores[cells == name] > 0.5).mean() < whole) for name in names}
    for width in WIDTHS:
        made = {name: 0.5 - width if lower[name] else 0.5 + width for name in names}
        rates = [float((scores[cells == name] > made[name]).mean()) for name in names]
        if max(rates) - min(rates) <= allowed:
            return made
    raise CandidateFailed(
        f"no width up to {WIDTHS[-1]:g} brings the selection rates of the groups to within "
        f"{allowed:g}; allow more (`allowed`), or use {RULES[0]}"
    )


def moved(scores: Array, cells: Array, thresholds: Mapping[str, float]) -> Array:
    """Scores after which 0.5 is the threshold of every group; order inside a group stays.

    A group without a threshold keeps its scores.

    >>> moved(np.array([0.3, 0.6]), np.array(["a", "a"]), {"a": 0.3}).round(3).tolist()
    [0.5, 0.714]
    """
    at = np.array([thresholds.get(str(cell), 0.5) for cell in cells])
    lower, upper = 0.5 * scores / at, 0.5 + 0.5 * (scores - at) / (1.0 - at)
    made: Array = np.where(scores > at, upper, lower)
    return made
