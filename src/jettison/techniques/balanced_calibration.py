"""Balanced calibration: later steps fit on rows in which every group has its share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.domain.splits import FittingData, Labels
from jettison.errors import CandidateFailed

SHARES = ("equal", "reweighed")


class BalancedCalibration:
    """Resamples the fitting rows by group for the steps that follow, and leaves the model alone.

    A small group hardly shows in a few hundred rows: neither in the ranges of int8, nor in the
    curvature that pruning weighs, nor in the loss that recovery minimises. Whatever follows in the
    recipe reads the balanced rows. Settings: `shares` (`equal`: every group the same; `reweighed`:
    group and target made independent, Kamiran and Calders 2012, which needs targets) and `columns`
    (of groups, separated by commas; empty for all).
    """

    name: ClassVar[str] = "balanced_calibration"
    requires: ClassVar[frozenset[str]] = frozenset({"float32"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `shares`, where there is a class to be made independent of."""
        searched = SHARES if model.task == "classification" else SHARES[:1]
        return {
            "shares": Choices(searched, SHARES[0]),
            "columns": Choices(("",), "", others=True),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it keeps the quality of small groups."""
        return Potential(
            1.0,
            1.0,
            "it changes the rows that later steps fit on, not the model: no time, no bytes",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Writes the resampled rows; as many as before.

        Raises:
            CandidateFailed: without groups, with one group only, with a group whose weights are
                all 0, or for `reweighed` without classes as targets.
        """
        from jettison.numerics.balancing import equal_shares, group_cells, resampled, reweighed

        labels = fitting.labels
        columns = tuple(c.strip() for c in str(settings.get("columns", "")).split(",") if c.strip())
        cells = group_cells(labels, columns)
        weights = None if labels is None else labels.weights
        kind = str(settings.get("shares", SHARES[0]))
        if kind == "equal":
            shares = equal_shares(cells, weights)
        elif kind == "reweighed":
            shares = reweighed(cells, _classes(labels), weights)
        else:
            raise CandidateFailed(f"`shares` must be one of {', '.join(SHARES)}; got {kind!r}")
        order = resampled(shares, fitting.rows.n, fitting.seed)
        made = _taken(fitting, order, bench.folder.resolve() / "fitting")
        before, after = np.unique(cells, return_counts=True), cells[order]
        told = ", ".join(
            f"{name} {count} to {int((after == name).sum())}" for name, count in zip(*before)
        )
        change = Change(
            f"fitting rows resampled ({kind}; {len(np.unique(order))} of {fitting.rows.n} are "
            f"different rows): {told}"
        )
        return Applied(model, (change,), made)


def _classes(labels: Labels | None) -> Array:
    targets = None if labels is None else labels.targets
    if targets is None or targets.dtype.kind not in "iu":
        raise CandidateFailed(
            '`shares = "reweighed"` needs fitting rows with classes as targets; use `equal`'
        )
    return targets


def _taken(fitting: FittingData, order: Array, folder: Path) -> FittingData:
    """Writes some fitting rows, with what is known beside them, into a folder."""
    folder.mkdir(parents=True)
    rows = fitting.rows
    for name in (*rows.names, *((LENGTHS,) if rows.pad else ())):
        np.save(column_file(folder, name), np.asarray(rows.column(name))[order], allow_pickle=False)
    told = hashlib.sha256(f"{rows.digest}\0".encode() + order.astype("<i8").tobytes()).hexdigest()
    taken = Rows(str(folder), rows.names, len(order), rows.pad, told)
    labels = fitting.labels
    if labels is None:
        return FittingData(taken, fitting.seed)
    targets = None if labels.targets is None else labels.targets[order]
    groups = {name: values[order] for name, values in labels.groups.items()}
    # Weights went into the draw; counting them again would weigh twice.
    return FittingData.of(taken, fitting.seed, targets, Labels(None, groups))
