"""What each variant lost on rows that nothing was fitted on, judged by jettison's own test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cpu.margins import MARGINS, SHORT
from benchmarks.cpu.records import Built, Judged, Subject, answers
from benchmarks.cpu.speech import words_right
from jettison.domain.jobs import Variant
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.pipeline import measure
from jettison.statistics.paired import Paired
from jettison.statistics.verdicts import judge


def quality_of(metric: str, answer: Array, reference: Array, targets: Array | None) -> Array:
    """What each row contributes: 1 or 0, a cosine, or a share of words, shape (n,)."""
    if metric == "cosine" or targets is None:
        # In double precision: a cosine above 1 is no cosine.
        flat, other = (v.reshape(len(v), -1).astype(np.float64) for v in (answer, reference))
        size = np.linalg.norm(flat, axis=1) * np.linalg.norm(other, axis=1)
        cosine: Array = (flat * other).sum(axis=1) / np.maximum(size, 1e-12)
        return np.clip(cosine, -1.0, 1.0)
    if metric == "words":
        return words_right(answer, targets)
    scores = answer.reshape(len(answer), -1)
    if answer.dtype.kind in "USO" or scores.shape[1] == 1:
        found: Array = (scores[:, 0] == targets).astype(float)
        return found
    # Classes with names have their scores in the order of the names.
    classes = np.unique(targets) if targets.dtype.kind in "US" else np.arange(scores.shape[1])
    right: Array = (classes[scores.argmax(axis=1)] == targets).astype(float)
    return right


def judged(
    subject: Subject, built: Sequence[Built], ranking: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, Judged], tuple[Built, ...]]:
    """Judges every variant; one that can't be run becomes a row that says why.

    Where `SHORT` asks for it and `ranking` is known, peers are judged from the fastest on until one
    holds for each set of timed rows: a slower one is not the best, whatever it lost.
    """
    folder = subject.folder / "scores"
    found: dict[str, Judged] = {}
    failed: dict[str, str] = {}
    base: Array | None = None
    reference: Array | None = None
    targets = None if subject.metric in {"cosine", ""} else answers(subject.tested)
    short = SHORT and bool(ranking)
    with measure.Sessions(subject.tested, subject.serving, folder) as workers:
        for one in _awaited(built, ranking, found, failed) if short else built:
            if one.variant is None:
                continue
            try:
                answer = _answers(one.variant, subject, workers, folder / one.name)
            except CandidateFailed as failure:
                failed[one.name] = str(failure)[:300]
                continue
            reference = answer if reference is None else reference
            if not subject.metric:
                continue
            each = quality_of(subject.metric, answer, reference, targets)
            base = each if base is None else base
            found[one.name] = told = _verdict(subject, base, each)
            print(f"  {one.name:45} {told.value:.4f} {told.drop:+.4f} {told.verdict}", flush=True)
    usable = [
        dataclasses.replace(b, variant=None, note=failed[b.name]) if b.name in failed else b
        for b in built
    ]
    return found, tuple(usable)


def _awaited(
    built: Sequence[Built],
    ranking: Mapping[str, Mapping[str, float]],
    found: Mapping[str, Judged],
    failed: Mapping[str, str],
) -> Iterator[Built]:
    """The original first, jettison's, and peers as long as none that is faster holds."""
    yield from (b for b in built if b.owner in {"original", "jettison"})
    others = {b.name: b for b in built if b.owner in {"float", "peer"}}
    for speeds in ranking.values():
        for name in sorted(others.keys() & speeds.keys(), key=lambda one: -speeds[one]):
            if name not in found and name not in failed:
                yield others[name]
            if meets(found, name):
                break


def _answers(variant: Variant, subject: Subject, workers: measure.Sessions, folder: Path) -> Array:
    """What a variant answers to the tested rows; kept, and read back when asked again."""
    kept = folder / f"{variant.model.artifact.digest[:32]}.npy"
    if not kept.exists():
        outputs = measure.score_rows(variant, subject.tested, workers, folder)
        workers.end(variant)
        np.save(kept, np.asarray(outputs[variant.model.prediction]))
    answer: Array = np.load(kept)
    return answer


def _verdict(subject: Subject, base: Array, each: Array) -> Judged:
    against = subject.metric == "cosine"
    paired = Paired(
        np.ones_like(each) if against else base,
        each,
        "binary" if subject.metric == "accuracy" else "bounded_mean",
        low=-1.0 if against else 0.0,
        against_reference=against,
    )
    said = judge(paired, MARGINS[subject.name])
    drop = float(said.estimate if said.estimate is not None else np.nan)
    return Judged(float(each.mean()), drop, said.bound, said.verdict, len(each))


def meets(judgement: Mapping[str, Judged], name: str) -> bool:
    """Whether a variant is shown to lose less than the margin; true where nothing is judged."""
    return not judgement or (name in judgement and judgement[name].verdict == "held")
