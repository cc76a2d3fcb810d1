"""Why answers changed: each part of an input is replaced, and both models are asked again.

Occlusion and permutation need no gradients, so that an ONNX file, a forest and a network are looked
at in the same way; models run in workers, as everywhere. Sources: Zeiler and Fergus, "Visualizing
and Understanding Convolutional Networks", 2014, section 4.2 (occlusion); Fisher, Rudin and Dominici,
"All Models are Wrong, but Many are Useful", 2019 (values drawn from other rows).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.assessment.attribution_gradients import with_gradients
from jettison.assessment.attribution_parts import Parted, Row, layout_of, take_apart
from jettison.assessment.attribution_rows import Pair, pair_of, row_of
from jettison.domain.attribution import AttributedRow, Attribution, Contest, Layout, Shares
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.numerics.predictions import (
    NO_CLASS,
    class_probabilities,
    holds_probabilities,
    predicted_classes,
)
from jettison.worker_client import WorkerSession

BACKGROUNDS = 5
"""Other rows whose values stand in for a part; the mean over them is the attribution."""

ROWS = 8
"""Changed rows that are explained, unless another number is asked for."""

METHOD = {
    "text": "Occlusion: each token in turn is replaced by {fill}; its share is what that takes from "
    "the contest.",
    "image": "Occlusion: each patch in turn is filled with the mean colour of the image; its share "
    "is what that takes from the contest.",
    "table": "Permutation: each column in turn gets the value of {count} other selection rows; its "
    "share is what that takes from the contest, on average.",
    "sequence": "Permutation: each stretch in turn gets the values of {count} other selection rows; "
    "its share is what that takes from the contest, on average.",
}

PADDED = (
    "Occlusion: each stretch in turn is filled as padding is, because rows have many lengths; its "
    "share is what that takes from the contest."
)

LIMITS = (
    "Parts are replaced one at a time: what two parts do only together is in the gap, not in a share.",
    "A replaced input may be unlike anything that the models have seen; what they say of it is then "
    "a guess.",
    "Shares tell what the models react to, not what is right, and nothing about rows that are not "
    "shown.",
    "The rows are selection rows: the search looked at them, and nothing here is certified.",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A changed row, taken apart, with the place of its variants among all that are asked."""

    number: int
    parted: Parted
    start: int
    copies: int


def explain_changes(
    folder: Path, *, recipe: str = "", limit: int = ROWS, seed: int = 7
) -> Attribution:
    """Explains the selection rows of a run whose class changed the most.

    Args:
        folder: of the run.
        recipe: beginning of the digest of the recipe to look at; empty for what ships.
        limit: rows at most, those first whose contest moved most.
        seed: of the choice of other rows.

    Raises:
        UsageError: if the run has nothing that could be explained; says why.
        DataError: if its files are gone.
        CandidateFailed: if a model can't be run.
    """
    pair = pair_of(folder, recipe)
    labels = pair.record.model.encoder.labels
    with tempfile.TemporaryDirectory(prefix="explain-", dir=folder) as name:
        place = Path(name)
        before, after = (
            _answers(pair, one, pair.rows, place / str(i))
            for i, one in enumerate((pair.original, pair.candidate))
        )
        old = predicted_classes(before, before, labels)
        new = predicted_classes(after, before, labels)
        changed = np.flatnonzero(old != new)
        both = changed[(old[changed] != NO_CLASS) & (new[changed] != NO_CLASS)]
        moved = _contest(before, before, (old, new), labels)
        moved -= _contest(after, before, (old, new), labels)
        chosen = sorted(both.tolist(), key=lambda row: (-abs(float(moved[row])), row))[:limit]
        layout = layout_of(pair.record.model, tuple(pair.rows.pad))
        cases, variants = _variants(pair, layout, chosen, seed)
        found = Attribution(
            source=pair.record.configuration.model.source,
            recipe=next(
                str(t.recipe) for t in pair.record.trials if t.recipe.digest == pair.candidate.name
            ),
            layout=layout,
            method=_method(layout, cases),
            limits=LIMITS,
            rows=(),
            changed=len(changed),
            n=pair.rows.n,
            seed=seed,
            notes=_without_answer(len(changed) - len(both)),
        )
        if cases:
            asked = _written(variants, pair.rows, place / "variants")
            answers = [
                _answers(pair, one, asked, place / f"variants-{i}")
                for i, one in enumerate((pair.original, pair.candidate))
            ]
            told = _Told(before, (answers[0], answers[1]), old, new, labels, pair.right)
            rows = tuple(_explained(case, told) for case in cases)
            found = with_gradients(
                dataclasses.replace(found, rows=rows),
                (pair.original, pair.candidate),
                [case.parted for case in cases],
                _contests(cases, told),
                (asked, pair.record.configuration.serving, place / "gradients"),
            )
    return found


def _without_answer(count: int) -> tuple[str, ...]:
    """A note about rows in which there is no contest."""
    if not count:
        return ()
    return (
        f"{count:,} of the changed rows can't be explained: there one of the two models gives no "
        "class (its scores are NaN or infinite).",
    )


def _contests(cases: Sequence[_Case], told: _Told) -> list[Contest]:
    """What gradients are asked of; nothing where the original gives labels only."""
    if told.reference.dtype.kind != "f":
        return []
    known = holds_probabilities(told.reference)
    return [
        Contest(
            case.start,
            tuple(range(case.start + 1, case.start + 1 + case.copies)),
            int(told.old[case.number]),
            int(told.new[case.number]),
            known,
        )
        for case in cases
    ]


def _method(layout: Layout, cases: Sequence[_Case]) -> str:
    """What was put in place of the parts, in words."""
    if layout in ("table", "sequence") and any(case.parted.fill is not None for case in cases):
        return PADDED
    count = max((case.copies for case in cases), default=BACKGROUNDS)
    return METHOD[layout].format(count=count, fill="the token for a missing one")


def _answers(pair: Pair, variant: Variant, rows: Rows, folder: Path) -> Array:
    """What a model answers to all rows, in a worker, as it is served."""
    serving = pair.record.configuration.serving
    folder.mkdir(parents=True)
    size = 1 if variant.one_by_one else max(serving.batch_sizes)
    job = SessionJob(variant.model, variant.runtime, rows, serving, variant.one_by_one)
    with WorkerSession(job, folder) as session:
        scored = session.score(rows, folder / "outputs", size)
    answers: Array = np.load(scored.file(variant.model.prediction), allow_pickle=False)
    return answers


def _contest(
    output: Array, reference: Array, pair: tuple[Array, Array], labels: Sequence[str]
) -> Array:
    """Probability of the first class of each pair less that of the second, shape (n,).

    A model that gives labels only has a contest of 1, 0 or -1.
    """
    old, new = pair
    if output.dtype.kind != "f":
        said = predicted_classes(output, reference, labels)
        return np.asarray((said == old).astype(np.float64) - (said == new))
    index = np.arange(len(output))
    chances = class_probabilities(output, reference)
    found: Array = chances[index, old] - chances[index, new]
    return np.nan_to_num(found)


def _variants(
    pair: Pair, layout: Layout, chosen: Sequence[int], seed: int
) -> tuple[list[_Case], list[Row]]:
    """All inputs to ask: of each row itself, then with everything and with each part replaced."""
    rng = np.random.default_rng(seed)
    cases: list[_Case] = []
    variants: list[Row] = []
    for number in chosen:
        row = row_of(pair.rows, number)
        parted = _with_pad(take_apart(pair.record.model, layout, row), pair.rows)
        others = np.delete(np.arange(pair.rows.n), number)
        count = min(BACKGROUNDS, len(others)) if parted.fill is None else 1
        drawn = [row_of(pair.rows, int(i)) for i in rng.choice(others, count, replace=False)]
        cases.append(_Case(number, parted, len(variants), count))
        variants.append(row)
        for group in (parted.parts, *((part,) for part in parted.parts)):
            variants += [_replaced(row, group, other, parted.fill) for other in drawn]
    return cases, variants


def _with_pad(parted: Parted, rows: Rows) -> Parted:
    """Padded inputs have rows of many lengths, so their parts are filled as padding is."""
    name = parted.parts[0].input
    if parted.fill is None and name in rows.pad:
        return dataclasses.replace(parted, fill=rows.pad[name])
    return parted


def _replaced(row: Row, parts: Sequence[Any], other: Row, fill: Array | float | None) -> Row:
    changed = dict(row)
    for part in parts:
        value = changed[part.input]
        source = other[part.input] if fill is None else np.broadcast_to(fill, value.shape)
        # Text has the width of its longest value: a wider one must not be cut.
        kind = np.result_type(value, source) if value.dtype.kind == "U" else value.dtype
        made = np.array(value, dtype=kind)
        made[part.place] = source[part.place]
        changed[part.input] = made
    return changed


def _written(variants: Sequence[Row], like: Rows, folder: Path) -> Rows:
    """Writes rows as the data stage does: padded to the longest, with their true lengths."""
    folder.mkdir(parents=True)
    if like.pad:
        ragged = next(iter(like.pad))
        lengths = np.array([len(row[ragged]) for row in variants], dtype=np.int64)
        np.save(folder / f"{LENGTHS}.npy", lengths)
        longest = int(lengths.max())
    for name in like.names:
        column = [row[name] for row in variants]
        if name in like.pad:
            column = [
                np.pad(
                    value,
                    [(0, longest - len(value)), *[(0, 0)] * (value.ndim - 1)],
                    constant_values=like.pad[name],
                )
                for value in column
            ]
        np.save(column_file(folder, name), np.stack(column), allow_pickle=False)
    return Rows(str(folder), like.names, len(variants), like.pad)


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What both models said, of the selection rows (`reference`, classes) and of all variants."""

    reference: Array
    answers: tuple[Array, Array]
    old: Array
    new: Array
    labels: tuple[str, ...]
    right: Array | None


def _explained(case: _Case, told: _Told) -> AttributedRow:
    old, new = int(told.old[case.number]), int(told.new[case.number])
    before, after = (_shares(case, answer, told, old, new) for answer in told.answers)
    return AttributedRow(
        row=case.number,
        original_class=_name(told.labels, old),
        new_class=_name(told.labels, new),
        original_right=None if told.right is None else bool(told.right[case.number]),
        parts=tuple(part.label for part in case.parted.parts),
        before=before,
        after=after,
        grid=case.parted.grid,
        picture=case.parted.picture,
    )


def _shares(case: _Case, answers: Array, told: _Told, old: int, new: int) -> Shares:
    count = 1 + (1 + len(case.parted.parts)) * case.copies
    mine = answers[case.start : case.start + count]
    classes = np.full(count, old), np.full(count, new)
    contest = _contest(mine, told.reference, classes, told.labels)
    means = contest[1:].reshape(-1, case.copies).mean(axis=1)
    value = float(contest[0])
    return Shares(tuple(float(value - mean) for mean in means[1:]), value, float(means[0]))


def _name(labels: Sequence[str], number: int) -> str:
    return labels[number] if 0 <= number < len(labels) else str(number)
