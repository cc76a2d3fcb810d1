"""The comparison table for this model: computed here once, shown by terminal, page and card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jettison.domain.recipe import Potential, Recipe, Step
from jettison.domain.run import RunRecord, Trial
from jettison.reporting.findings import (
    Gain,
    QualityChange,
    gain_of,
    prediction,
    quality_of,
    the_cost,
)
from jettison.reporting.standing import Standing, standing_of


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison table.

    Attributes:
        digest: of the recipe; empty where nothing could be tried.
        title: short, for a person; `recipe` is the whole of it.
        predicted: the most that the techniques could gain in speed and size; `None` if unknown.
        reasons: one sentence a technique, why that is the most.
        gain: of the cost; `None` when not measured.
        size_ratio: new bytes / original bytes of the saved files; `None` when not saved.
        size_bytes: of the saved candidate.
        quality: `None` when not measured.
        seconds: that applying and measuring in the search took.
        standing: the verdict, and the words for it.
        tried: how many trials of this kind had this verdict; this is the best of them.
    """

    digest: str
    title: str
    recipe: str
    predicted: Potential | None
    reasons: tuple[str, ...]
    gain: Gain | None
    size_ratio: float | None
    size_bytes: int | None
    quality: QualityChange | None
    seconds: float
    standing: Standing
    tried: int


def compare(record: RunRecord) -> tuple[Row, ...]:
    """Computes the rows: what ships, the finalists, then the best of each kind with each fate.

    A kind is an order of techniques with a runtime. Trials of one kind with the same verdict share
    a row, so that the usual first try that fails is seen beside the one that works.
    """
    titles = _titles(record.trials)
    finalists = _finalist_digests(record)
    rows: dict[tuple[object, ...], Row] = {}
    for trial in record.trials:
        row = _row(record, trial, titles)
        is_finalist = row.digest in finalists
        key = (row.digest,) if is_finalist else (_route(trial.recipe), row.standing.words)
        earlier = rows.get(key)
        if earlier is None:
            rows[key] = row
            continue
        best = row if _gain_value(row) > _gain_value(earlier) else earlier
        rows[key] = dataclasses.replace(best, tried=earlier.tried + 1)
    return tuple(sorted(rows.values(), key=lambda row: (row.standing.rank, -_gain_value(row))))


def every_trial(record: RunRecord) -> tuple[Row, ...]:
    """Computes one row per trial, in the order tried."""
    titles = _titles(record.trials)
    return tuple(_row(record, trial, titles) for trial in record.trials)


def _row(record: RunRecord, trial: Trial, titles: Mapping[str, str]) -> Row:
    artifact = trial.candidate.model.artifact if trial.candidate is not None else None
    original = record.model.artifact.size_bytes
    gain = gain_of(record, trial, the_cost(record))
    quality = quality_of(record, trial)
    predicted, reasons = prediction(record, trial.recipe)
    return Row(
        digest=trial.recipe.digest,
        title=titles[trial.recipe.digest],
        recipe=str(trial.recipe),
        predicted=predicted,
        reasons=reasons,
        gain=gain,
        size_ratio=artifact.size_bytes / original if artifact is not None and original else None,
        size_bytes=artifact.size_bytes if artifact is not None else None,
        quality=quality,
        seconds=trial.seconds,
        standing=standing_of(record, trial, gain, quality),
        tried=1,
    )


def _finalist_digests(record: RunRecord) -> set[str]:
    return {t.recipe for t in record.certificate.order} | set(record.claims) | {record.shipped}


def _gain_value(row: Row) -> float:
    value = row.gain.estimate.value if row.gain is not None else None
    return value if value is not None else 0.0


def _route(recipe: Recipe) -> tuple[str, ...]:
    return tuple(step.name for step in (*recipe.steps, recipe.runtime))


def _titles(trials: Sequence[Trial]) -> dict[str, str]:
    """Names each recipe by its techniques, and by what tells it from others: settings, and the runtime."""
    kinds: dict[tuple[str, ...], list[Recipe]] = {}
    runtimes: dict[tuple[str, ...], set[str]] = {}
    for trial in trials:
        route = _route(trial.recipe)
        kinds.setdefault(route, []).append(trial.recipe)
        runtimes.setdefault(route[:-1], set()).add(route[-1])
    titles: dict[str, str] = {}
    for route, recipes in kinds.items():
        differing = _differing_settings(recipes)
        several = len(runtimes[route[:-1]]) > 1
        for recipe in recipes:
            titles[recipe.digest] = _title(recipe, differing, several=several)
    return titles


def _title(recipe: Recipe, differing: set[tuple[str, str]], *, several: bool) -> str:
    """The title of one recipe; the runtime is told where it, or its settings, make a difference."""
    steps = " + ".join(_words(step, differing) for step in recipe.steps)
    runtime = _words(recipe.runtime, differing)
    if not steps:
        return f"{runtime} only"
    told = several or runtime != _plain(recipe.runtime.name)
    return f"{steps} on {runtime}" if told else steps


def _differing_settings(recipes: Sequence[Recipe]) -> set[tuple[str, str]]:
    seen: dict[tuple[str, str], set[str]] = {}
    for recipe in recipes:
        for step in (*recipe.steps, recipe.runtime):
            for key, value in step.settings.items():
                seen.setdefault((step.name, key), set()).add(repr(value))
    return {key for key, values in seen.items() if len(values) > 1}


def _words(step: Step, differing: set[tuple[str, str]]) -> str:
    inside: list[str] = []
    for key, value in sorted(step.settings.items()):
        if (step.name, key) not in differing:
            continue
        if isinstance(value, bool):
            inside.append(_plain(key) if value else f"no {_plain(key)}")
        else:
            inside.append(f"{_plain(key)} {value}")
    return _plain(step.name) + (f" ({', '.join(inside)})" if inside else "")


def _plain(name: str) -> str:
    return name.replace("_", " ")
