"""Certification on rows that stay where they are: sites send counts, one judge sums them up.

A paired test of a metric of 0 and 1 reads a row only through four counts: both models right, only the
original right, only the candidate right, neither. So the counts of each cell (rows that share every
group) are all that the judge needs, and the claims are those of the pooled rows, digit for digit.
Nothing here is secret: who sums the counts sees each site's. A sum that hides them is another layer
(SecAgg+ in flower, for one), and takes the same vectors of whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.trust.outcomes import GroupColumn, Outcomes, Rules

BOTH, ONLY_BASELINE, ONLY_CANDIDATE, NEITHER = range(4)
KINDS = 4

Cell = tuple[str, ...]
"""A group of each column, in the order of the columns: `("sex=Female", "site=north")`."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteCounts:
    """What one site, or a sum of sites, tells.

    Attributes:
        rules: what is judged, and how; every site must have the same.
        cells: what the counts are about; none of them need have a row at a site.
        counts: shape (candidates, metrics, cells, 4) of int64, in the order of the rules.
    """

    rules: Rules
    cells: tuple[Cell, ...]
    counts: Array


def count_site(outcomes: Outcomes, cells: Sequence[Cell]) -> SiteCounts:
    """Counts the rows of one site.

    Args:
        outcomes: of the site's own sealed rows, which stay there.
        cells: that all sites agreed on.

    Raises:
        DataError: for metrics or values that are not 0 or 1, units, weights or contexts (their
            tests need more than counts), a candidate that did not run, or a row in no cell.
    """
    rules = outcomes.rules
    _check(outcomes)
    place = {cell: number for number, cell in enumerate(cells)}
    names = list(zip(*(np.array(c.names)[c.codes].tolist() for c in outcomes.groups), strict=True))
    found = names or [()] * outcomes.n
    strange = next((cell for cell in found if cell not in place), None)
    if strange is not None:
        raise DataError(
            f"a row is in {strange}, which is none of the {len(cells)} cells that were agreed on"
        )
    rows = np.array([place[cell] for cell in found], dtype=np.int64)
    counts = np.zeros((len(rules.members), len(rules.metrics), len(cells), KINDS), dtype=np.int64)
    for number, member in enumerate(rules.members):
        for which, metric in enumerate(rules.metrics):
            before = outcomes.baseline[metric].astype(np.int64)
            after = outcomes.candidates[member.recipe][metric].astype(np.int64)
            # 1, 1 -> BOTH; 1, 0 -> ONLY_BASELINE; 0, 1 -> ONLY_CANDIDATE; 0, 0 -> NEITHER
            kind = 2 * (1 - before) + (1 - after)
            flat = np.bincount(rows * KINDS + kind, minlength=len(cells) * KINDS)
            counts[number, which] = flat.reshape(len(cells), KINDS)
    return SiteCounts(rules, tuple(cells), counts)


def summed(sites: Sequence[SiteCounts]) -> SiteCounts:
    """Adds the counts of several sites; a cell that a site doesn't count has no row there.

    Raises:
        DataError: if they judge otherwise, or count cells of other columns.
    """
    first = sites[0]
    kinds = {column_names(cell) for cell in first.cells}
    for number, site in enumerate(sites):
        if site.rules != first.rules or {column_names(cell) for cell in site.cells} != kinds:
            raise DataError(
                f"site {number + 1} has other rules or columns than site 1; all must fix the same "
                "requirements, order of testing and groups before anybody opens a seal"
            )
    cells = tuple(dict.fromkeys(cell for site in sites for cell in site.cells))
    place = {cell: number for number, cell in enumerate(cells)}
    counts = np.zeros((*first.counts.shape[:2], len(cells), KINDS), dtype=np.int64)
    for site in sites:
        counts[:, :, [place[cell] for cell in site.cells]] += site.counts
    return SiteCounts(first.rules, cells, counts)


def column_names(cell: Cell) -> tuple[str, ...]:
    """The columns of a cell, in order.

    >>> column_names(("sex=Female", "site=north"))
    ('sex', 'site')
    """
    return tuple(group.partition("=")[0] for group in cell)


def pooled(told: SiteCounts) -> Outcomes:
    """Rows that have these counts, in place of those that nobody sends; judge them as any others.

    Raises:
        DataError: for counts that no rows have: below 0, or an original that is right in another
            number of rows for one candidate than for another.
    """
    counts = told.counts
    sizes = counts.sum(axis=-1)
    right = counts[..., BOTH] + counts[..., ONLY_BASELINE]
    if (counts < 0).any() or (sizes != sizes[:1, :1]).any() or (right != right[:1]).any():
        raise DataError("the counts contradict each other: they are not of one set of rows")
    cells = sizes[0, 0]
    metrics = tuple(told.rules.metrics)
    baseline = {m: _stacked(right[0, w], cells) for w, m in enumerate(metrics)}
    candidates: dict[str, Mapping[str, Array]] = {
        member.recipe: {m: _candidate(counts[number, w]) for w, m in enumerate(metrics)}
        for number, member in enumerate(told.rules.members)
    }
    groups = []
    filled = [cell for cell, size in zip(told.cells, cells, strict=True) if size]
    for column in range(len(told.cells[0])):
        # A value without a row at any site is none of the pooled rows' groups.
        names = tuple(dict.fromkeys(cell[column] for cell in filled))
        codes = np.array([names.index(cell[column]) for cell in filled], dtype=np.int32)
        groups.append(GroupColumn(names, np.repeat(codes, cells[cells > 0])))
    return Outcomes(told.rules, int(cells.sum()), baseline, candidates, {}, tuple(groups))


def _stacked(right: Array, sizes: Array) -> Array:
    """In each cell the rows that are right come first, shape (n,)."""
    pattern = np.tile([1.0, 0.0], len(sizes))
    return np.repeat(pattern, np.stack([right, sizes - right], axis=1).ravel())


def _candidate(counts: Array) -> Array:
    """In the order of the original's rows: right, wrong; then right, wrong where it is wrong."""
    pattern = np.tile([1.0, 0.0, 1.0, 0.0], len(counts))
    order = [BOTH, ONLY_BASELINE, ONLY_CANDIDATE, NEITHER]
    return np.repeat(pattern, counts[:, order].ravel())


def _check(outcomes: Outcomes) -> None:
    others = [m for m, facts in outcomes.rules.metrics.items() if facts.kind != "binary"]
    if others:
        raise DataError(
            f"`{others[0]}` is no metric of 0 and 1, so counts do not carry its test; require one "
            "such as accuracy or agreement"
        )
    beside = {"units": outcomes.units, "weights": outcomes.weights, "contexts": outcomes.copies}
    given = [name for name, values in beside.items() if values is not None]
    if given or outcomes.unlabelled is not None:
        raise DataError(
            f"rows with {given[0] if given else 'unknown labels'} can't be judged from counts; the "
            "test needs to know more of each row"
        )
    absent = [m.recipe[:12] for m in outcomes.rules.members if m.recipe not in outcomes.candidates]
    if absent:
        raise DataError(
            f"{absent[0]} has no outcomes here; every site runs the whole shortlist, because no "
            "site knows where the sequence ends"
        )
    for values in (outcomes.baseline, *outcomes.candidates.values()):
        odd = [m for m in outcomes.rules.metrics if not np.isin(values[m], (0.0, 1.0)).all()]
        if odd:
            raise DataError(
                f"`{odd[0]}` has rows that are neither 0 nor 1 (or have no number) in a model's "
                "outcomes; counts can't carry those rows"
            )
