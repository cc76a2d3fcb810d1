"""F1 over several classes: reported beside the claims, never a gate (grade C).

A rare class with a handful of rows moves the mean of all classes as much as a frequent one, and no
test of it was shown to hold its error rate here (CERTIFICATION.md section 2.4 asks for a win or loss
per row instead). To gate, require `accuracy` with the class as a group.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.numerics.predictions import class_targets, predicted_classes


class MacroF1:
    """The mean of the F1 of every class that is a target or an answer; each counts the same.

    A row with NaN or infinite scores is missed by its class, and no other class's answer.
    """

    name: ClassVar[str] = "macro_f1"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "reported_only"
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Counts hits, misses and false answers of each class.

        With N_i = 2 TP and D_i = 2 TP + FP + FN of a row, the influence of the row on the F1 of a
        class is (N_i - F1 D_i) / mean(D); a row's part is the value plus the weighted sum of
        these.

        Raises:
            DataError: without targets or rows, or if the output is no classifier's.
        """
        targets = class_targets(evidence, self.name)
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        answers = predicted_classes(output, reference, evidence.labels)
        shares = self._shares(targets, np.union1d(targets, answers[answers >= 0]))
        value, parts = 0.0, np.zeros(len(targets))
        for number, share in shares.items():
            right, guessed = targets == number, answers == number
            hits = 2.0 * (right & guessed)
            base = right.astype(np.float64) + guessed
            own = float(hits.sum() / base.sum())
            value += share * own
            parts += share * (hits - own * base) / base.mean()
        return Scores(value, value + parts)

    def _shares(self, targets: Array, classes: Array) -> dict[int, float]:
        return {int(number): 1.0 / len(classes) for number in classes}


class WeightedF1(MacroF1):
    """The mean of the F1 of every class, each weighted by its share of the targets."""

    name: ClassVar[str] = "weighted_f1"

    def _shares(self, targets: Array, classes: Array) -> dict[int, float]:
        found, counts = np.unique(targets, return_counts=True)
        return dict(zip(found.tolist(), (counts / len(targets)).tolist(), strict=True))
