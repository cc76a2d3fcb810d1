"""Quality of classifiers against labels."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.predictions import class_probabilities, class_targets, predicted_classes

EPSILON = 1e-4
"""Floor of a probability: one row can't lose more than log(1 / EPSILON) = 9.2 nats."""
RARE = 1e-6
"""Floor of a probability in a perplexity: vocabularies are larger than sets of classes."""


class Accuracy:
    """The fraction of rows whose answer is right. A row with NaN or infinite scores is wrong."""

    name: ClassVar[str] = "accuracy"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "binary"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares the class of each row with its target.

        Raises:
            DataError: without targets, without rows, or if the output is no classifier's.
        """
        targets = class_targets(evidence, self.name)
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        classes = predicted_classes(output, reference, evidence.labels)
        right = (classes == targets).astype(np.float64)
        return Scores(float(right.mean()), right)


class NegativeLogLikelihood:
    """The mean of -log of the probability given to the target, in nats, floored at `EPSILON`.

    The floor bounds one row at log(1 / EPSILON), which the test of a bounded mean relies on: with
    an unbounded loss a rare catastrophe stays unseen (CERTIFICATION.md section 2.4).
    """

    name: ClassVar[str] = "nll"
    unit: ClassVar[str] = "nats"
    better: ClassVar[Better] = "lower"
    kind: ClassVar[MetricKind] = "bounded_mean"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = math.log(1 / EPSILON)
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Reads probabilities or logits; rows that are not finite lose the most.

        Raises:
            DataError: without targets or rows, for label outputs, or a target without a score.
        """
        losses = _losses(evidence, self.name, EPSILON)
        return Scores(float(losses.mean()), losses)


class Perplexity:
    """The log of the perplexity: the mean of -log of the probability given to the right token.

    A row is one position; name the document as `data.unit`, because the tokens of one document
    are not independent. A perplexity that may grow by a factor of 1 + rho is a log-perplexity
    that may grow by log(1 + rho): that is what `max_drop_relative = rho` means here, and there is
    no ratio to be estimated. Probabilities are floored at `RARE`, which bounds one row at 13.8
    nats.
    """

    name: ClassVar[str] = "perplexity"
    unit: ClassVar[str] = "nats"
    better: ClassVar[Better] = "lower"
    kind: ClassVar[MetricKind] = "bounded_mean"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = math.log(1 / RARE)
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    logarithmic: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Scores:
        """Reads probabilities or logits over the vocabulary, shape (n, words).

        Raises:
            DataError: without targets or rows, for label outputs, or a target without a score.
        """
        losses = _losses(evidence, self.name, RARE)
        return Scores(float(losses.mean()), losses)


def _losses(evidence: Evidence, name: str, floor: float) -> Array:
    """-log of the probability of each row's target, floored; rows not finite lose the most."""
    targets = class_targets(evidence, name)
    output = np.asarray(evidence.outputs[evidence.prediction])
    reference = np.asarray(evidence.reference[evidence.prediction])
    chances = class_probabilities(output, reference)
    if targets.max() >= chances.shape[1]:
        raise DataError(
            f"`{name}` is undefined: a target is class {targets.max()}, but the model gives "
            f"scores for {chances.shape[1]} classes"
        )
    given = chances[np.arange(len(targets)), targets]
    floored = np.clip(np.nan_to_num(given, nan=0.0), floor, 1.0)
    # Clipped again: log(1e-4) may end one bit beyond the bound.
    losses: Array = np.clip(-np.log(floored), 0.0, math.log(1 / floor))
    return losses
