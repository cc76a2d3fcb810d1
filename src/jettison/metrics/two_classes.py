"""Quality of classifiers of two classes that is no mean over rows: F1 and the area under the ROC.

Both are certified by their influence values (delta method; for the area these are DeLong's
components), which needs enough rows of both classes: at least 200, and more for small margins.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.predictions import class_targets, predicted_classes, two_class_scores


class F1:
    """The harmonic mean of precision and recall of class 1: 2 TP / (2 TP + FP + FN).

    A row with NaN or infinite scores counts as the wrong class.
    """

    name: ClassVar[str] = "f1"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "influence"
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares the class of each row with its target.

        With N = 2 TP and D = 2 TP + FP + FN per row, the influence of a row on N / D is
        (N_i - F1 D_i) / mean(D).

        Raises:
            DataError: without targets, positives or negatives, or if there are more classes.
        """
        positive = _positives(evidence, self.name)
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        classes = predicted_classes(output, reference, evidence.labels)
        _check_classes(classes, self.name)
        guessed = np.where(classes < 0, ~positive, classes == 1)
        numerator = 2.0 * (guessed & positive)
        base = guessed.astype(np.float64) + positive
        value = float(numerator.sum() / base.sum())
        parts = value + (numerator - value * base) / base.mean()
        return Scores(value, parts, positive.astype(np.int64))


class AreaUnderCurve:
    """The chance that a random row of class 1 has a higher score than one of class 0 (ties half).

    A row with NaN or infinite scores is ranked last among its class: behind all of the other.
    """

    name: ClassVar[str] = "auc"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "influence"
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Ranks the rows; O(n log n).

        With m positives of n rows, the influence of a positive is (V - AUC) n / m, where V is the
        share of negatives below it; of a negative likewise (DeLong et al. 1988).

        Raises:
            DataError: without targets, positives, negatives or scores, or for more classes.
        """
        positive = _positives(evidence, self.name)
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        scores = two_class_scores(output, reference)
        scores = np.where(np.isnan(scores), np.where(positive, -np.inf, np.inf), scores)
        beaten = _beaten_shares(scores, positive)
        value = float(beaten[positive].mean())
        shares = np.where(positive, positive.mean(), 1.0 - positive.mean())
        return Scores(value, value + (beaten - value) / shares, positive.astype(np.int64))


def _beaten_shares(scores: Array, positive: Array) -> Array:
    """Of each row the share of the other class on the right side of it (ties half), shape (n,)."""
    among_all = rankdata(scores)
    beaten = np.empty(scores.size)
    ours, theirs = int(positive.sum()), int((~positive).sum())
    beaten[positive] = (among_all[positive] - rankdata(scores[positive])) / theirs
    beaten[~positive] = 1.0 - (among_all[~positive] - rankdata(scores[~positive])) / ours
    return beaten


def _positives(evidence: Evidence, name: str) -> Array:
    targets = class_targets(evidence, name)
    _check_classes(targets, name)
    positive = targets == 1
    if not positive.any() or positive.all():
        missing = "negative (class 0)" if positive.any() else "positive (class 1)"
        raise DataError(f"`{name}` is undefined: no row is {missing}")
    return np.asarray(positive)


def _check_classes(classes: Array, name: str) -> None:
    if int(classes.max(initial=0)) > 1:
        raise DataError(
            f"`{name}` is of two classes, and class {int(classes.max())} occurs; for more classes "
            "require `accuracy`, and name the class as a group to see each"
        )
