"""The same parts by gradients, for those of two models that have any."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.assessment.attribution_parts import Parted
from jettison.domain.attribution import Attribution, Contest, Shares, TellsGradients
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import AttributeJob, Variant
from jettison.domain.rows import Array, Rows
from jettison.errors import CandidateFailed, MissingDependency
from jettison.worker_client import run_attribute

METHOD = (
    "Integrated gradients (captum): the contest's gradient along the straight way from the row with "
    "everything replaced to the row itself; tokens at their embeddings. Here the gap is only the "
    "error of the integral."
)


def with_gradients(
    found: Attribution,
    variants: tuple[Variant, Variant],
    parted: Sequence[Parted],
    contests: Sequence[Contest],
    asked: tuple[Rows, ServingProfile, Path],
) -> Attribution:
    """Adds the shares by gradients of the models that have any, and says why another has none.

    Args:
        found: rows explained by replacement, in the order of `parted` and `contests`.
        variants: the original and the new model.
        parted: each row, taken apart.
        contests: of each row, by numbers of the rows in `asked`.
        asked: all rows asked, how they are served, and an empty folder.
    """
    if not contests:
        return found
    notes: list[str] = list(found.notes)
    sides: list[list[tuple[float, ...]] | None] = []
    for title, variant in zip(("the original", "the new model"), variants, strict=True):
        try:
            sides.append(_parts(variant, parted, contests, asked))
        except (CandidateFailed, MissingDependency) as failure:
            notes.append(f"No gradients of {title}: {failure}.")
            sides.append(None)
    if all(side is None for side in sides):
        return dataclasses.replace(found, notes=tuple(notes))
    rows = tuple(
        dataclasses.replace(
            row,
            before_gradients=_shares(row.before, sides[0], place),
            after_gradients=_shares(row.after, sides[1], place),
        )
        for place, row in enumerate(found.rows)
    )
    return dataclasses.replace(found, rows=rows, notes=tuple(notes), gradients=METHOD)


def _shares(known: Shares, side: Sequence[tuple[float, ...]] | None, place: int) -> Shares | None:
    if side is None:
        return None
    return Shares(side[place], known.value, known.emptied)


def _parts(
    variant: Variant,
    parted: Sequence[Parted],
    contests: Sequence[Contest],
    asked: tuple[Rows, ServingProfile, Path],
) -> list[tuple[float, ...]]:
    """What each part of each row adds up to."""
    runtime = registry.get("runtimes", variant.runtime.name)
    if not isinstance(runtime, TellsGradients):
        raise CandidateFailed(f"the runtime `{runtime.name}` gives none")
    rows, serving, folder = asked
    place = folder / variant.name[:16]
    place.mkdir(parents=True)
    answer = run_attribute(
        AttributeJob(variant.model, variant.runtime, serving, rows, tuple(contests), str(place))
    )
    arrays: dict[str, Array] = {
        name: np.load(answer.file(name), allow_pickle=False) for name in answer.inputs
    }
    return [_sums(one, arrays, number) for number, one in enumerate(parted)]


def _sums(parted: Parted, arrays: dict[str, Array], number: int) -> tuple[float, ...]:
    """A part of an input that never moved has no share."""
    return tuple(
        float(arrays[part.input][number][part.place].sum()) if part.input in arrays else 0.0
        for part in parted.parts
    )
