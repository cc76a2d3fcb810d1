"""Scores single rows as certification scored whole sets: through the metric's own plug-in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jettison import registry
from jettison.domain.extension_points import Evidence, QualityMetric
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.pipeline.split.labelling import class_count
from jettison.serving.monitoring.outcomes import Label

LARGEST_CLASS = 1_000_000

UNDEFINED = (DataError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a plug-in raises on rows that it can't score. A fault in one must not reach a caller, whose
answer is right all the same."""

Floats = Array


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """Contributions of rows, shape (n,), both from 0 (the metric's worst value) to 1 (its best).

    Attributes:
        candidate: of the served model.
        original: of the original; `None` where its answers were not given.
        places: which of the rows that were given these are.
    """

    candidate: Floats
    original: Floats | None
    places: Sequence[int]

    @property
    def drops(self) -> Floats:
        """What the served model loses on each row, from -1 to 1.

        Raises:
            ValueError: without the original's answers.
        """
        if self.original is None:
            raise ValueError("a drop needs the original's answers")
        return self.original - self.candidate


class RowScorer:
    """Scores answers of one model by one metric.

    A metric finds out from all rows that it sees whether scores are probabilities or logits; one
    row could mislead it. So a few stored answers of the same model (the bundle's probes) are put
    before the rows, and their own contributions are thrown away.

    Args:
        metric: name of a registered quality metric.
        model: that is served.
        anchors: stored answers, shape (k, ...); no rows where there are none.
    """

    def __init__(self, metric: str, model: Model, anchors: Array) -> None:
        self.metric: QualityMetric = registry.get("metrics", metric)
        self._model = model
        self._anchors = anchors

    @property
    def watchable(self) -> bool:
        """Whether the metric is a mean of bounded contributions, so that rows can be watched."""
        kinds = ("binary", "bounded_mean")
        return self.metric.kind in kinds and math.isfinite(self.range) and self.range > 0

    @property
    def range(self) -> float:
        """Largest difference of two contributions, in the metric's unit."""
        return self.metric.high - self.metric.low

    def value(self, share: float) -> float:
        """A mean from 0 (worst) to 1 (best) in the metric's own unit."""
        if self.metric.better == "higher":
            return self.metric.low + share * self.range
        return self.metric.high - share * self.range

    def score_each(
        self, answers: Array, originals: Array | None, targets: Array | None
    ) -> Iterator[ScoredRows]:
        """Scores rows together, or one by one where one of them spoils it; leaves that one out.

        Args:
            answers: of the served model, shape (n, ...).
            originals: of the original, the same shape; or `None`.
            targets: shape (n,); or `None` where the metric needs none.
        """
        try:
            yield self._score(answers, originals, targets, range(len(answers)))
            return
        except UNDEFINED:
            if len(answers) == 1:
                return
        for place in range(len(answers)):
            row = slice(place, place + 1)
            original = None if originals is None else originals[row]
            target = None if targets is None else targets[row]
            try:
                yield self._score(answers[row], original, target, range(place, place + 1))
            except UNDEFINED:
                continue  # The caller sees that its place is missing, and counts it.

    def _score(
        self, answers: Array, originals: Array | None, targets: Array | None, places: Sequence[int]
    ) -> ScoredRows:
        reference = answers if originals is None else originals
        candidate = self._parts(answers, reference, targets)
        if originals is None:
            return ScoredRows(candidate, None, places)
        if self.metric.against_reference:
            return ScoredRows(candidate, np.ones_like(candidate), places)
        return ScoredRows(candidate, self._parts(originals, originals, targets), places)

    def _parts(self, outputs: Array, reference: Array, targets: Array | None) -> Floats:
        name, count = self._model.prediction, len(self._anchors)
        padded = None
        if targets is not None:
            padded = np.concatenate([np.zeros(count, targets.dtype), targets])
        evidence = Evidence(
            targets=padded,
            outputs={name: self._with_anchors(outputs)},
            reference={name: self._with_anchors(reference)},
            prediction=name,
            labels=self._model.encoder.labels,
        )
        parts = np.asarray(self.metric.score(evidence).contributions, np.float64)[count:]
        if parts.shape != (len(outputs),):
            raise DataError(f"`{self.metric.name}` gave {parts.shape} for {len(outputs)} rows")
        # What is not finite is the worst, as everywhere: a missing number is never a good number.
        gains = (
            parts - self.metric.low if self.metric.better == "higher" else self.metric.high - parts
        )
        shares = np.nan_to_num(gains / self.range, nan=0.0, posinf=0.0, neginf=0.0)
        scored: Floats = np.clip(shares, 0.0, 1.0)
        return scored

    def _with_anchors(self, rows: Array) -> Array:
        return np.concatenate([self._anchors, rows]) if len(self._anchors) else rows


def target_of(label: Label, model: Model) -> int | float | None:
    """Turns a posted label into a target, as the data that certified the model was read.

    Returns:
        A class index or a number; `None` for a label that this model can't have.
    """
    if label is None or model.task not in ("classification", "regression"):
        return None
    if model.task == "regression":
        return None if isinstance(label, str) else float(label)
    labels = model.encoder.labels
    numbered = bool(labels) and all(re.fullmatch(r"-?\d+", one) for one in labels)
    if isinstance(label, float):
        if not label.is_integer():
            return None
        label = int(label)
    if isinstance(label, bool) and not numbered:
        found = _place(labels, (str(label), str(label).lower()))
        label = int(label) if found is None else labels[found]
    if isinstance(label, str) or numbered:
        return _place(labels, (str(int(label) if isinstance(label, bool) else label),))
    return int(label) if 0 <= label < (class_count(model) or LARGEST_CLASS) else None


def _place(labels: Sequence[str], words: Sequence[str]) -> int | None:
    return next((labels.index(word) for word in words if word in labels), None)
