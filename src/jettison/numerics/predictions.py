"""What a classifier's output says: classes and probabilities, whatever form it has.

The form (probabilities or logits) is read from the original's output and applied to both models,
so that a candidate can't be read differently from what it is compared with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from jettison.domain.extension_points import Evidence
from jettison.domain.rows import Array
from jettison.errors import DataError

NO_CLASS = -1
"""Stands for the answer of a row with NaN or infinite scores: it is never right."""

_SUM_TOLERANCE = 1e-2
"""Half-precision probabilities of many classes add up to 1 only about."""


def predicted_classes(output: Array, reference: Array, labels: Sequence[str]) -> Array:
    """Gives the class index of each row.

    A matrix of scores gives the largest (the first of equal ones). One score per row is a
    two-class model: class 1 above 0.5 where the original's scores all lie from 0 to 1, otherwise
    above 0. Whole numbers and texts are the answers themselves; where all `labels` are whole
    numbers, or the answers are texts, they are looked up among the labels.

    Args:
        output: of the model to read, shape (n, k), (n, 1) or (n,).
        reference: of the original, the same shape.
        labels: class names in score order; may be empty.

    Returns:
        Shape (n,) of int64; `NO_CLASS` for a row without finite scores or with an unknown label.

    Raises:
        DataError: if the output is no answer of a classifier.
    """
    if output.dtype.kind in "iubUSO":
        return _named_classes(_flat(output), labels)
    scores = _scores(output)
    finite = np.all(np.isfinite(scores), axis=1)
    if scores.shape[1] == 1:
        classes = (scores[:, 0] > _threshold(_scores(reference))).astype(np.int64)
    else:
        classes = np.argmax(scores, axis=1).astype(np.int64)
    return np.where(finite, classes, NO_CLASS)


def class_probabilities(output: Array, reference: Array) -> Array:
    """Gives probabilities, shape (n, k), k at least 2; NaN in rows without finite scores.

    The output holds probabilities where the original's is nowhere negative and each row adds up
    to 1 (one score per row: lies from 0 to 1); otherwise logits, through softmax (sigmoid).

    Raises:
        DataError: if the output holds class labels only, which have no probabilities.
    """
    if output.dtype.kind != "f":
        raise DataError(
            "the model's output holds class labels and no probabilities, so no log-likelihood can "
            "be found; require `accuracy` or `agreement`, or let the model give its scores"
        )
    scores = _scores(output)
    scores = np.where(np.isfinite(scores).all(axis=1, keepdims=True), scores, np.nan)
    if scores.shape[1] == 1:
        chance = (
            scores
            if holds_probabilities(reference)
            else 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        )
        return np.hstack([1 - chance, chance])
    if holds_probabilities(reference):
        return scores
    with np.errstate(invalid="ignore", over="ignore"):
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        made: Array = raised / raised.sum(axis=1, keepdims=True)
    return made


def holds_probabilities(reference: Array) -> bool:
    """Whether scores are probabilities: nowhere negative and adding up to 1, or one from 0 to 1.

    Args:
        reference: scores of the original, shape (n, k), (n, 1) or (n,).

    Raises:
        DataError: if these are no scores.
    """
    scores = _scores(reference)
    if scores.shape[1] == 1:
        return _threshold(scores) == 0.5
    known = scores[np.all(np.isfinite(scores), axis=1)]
    adds_up = np.abs(known.sum(axis=1) - 1.0) <= _SUM_TOLERANCE
    return bool(len(known) and np.all(known >= 0) and np.all(adds_up))


def class_targets(evidence: Evidence, name: str) -> Array:
    """Gives the class index of the right answer of each row, shape (n,).

    Raises:
        DataError: without targets or rows, or if they are no class indices; names the metric.
    """
    targets = evidence.targets
    if targets is None:
        raise DataError(
            f"`{name}` needs the right answers: name their column as `target` in `data`, or "
            "require `agreement`, which compares with the original"
        )
    if len(targets) == 0:
        raise DataError(f"`{name}` is undefined: there are no rows")
    if targets.dtype.kind not in "iu" or targets.min() < 0:
        raise DataError(
            f"`{name}` needs targets that are class indices from 0; got {targets.dtype} from "
            f"{targets.min()}"
        )
    return targets


def two_class_scores(output: Array, reference: Array) -> Array:
    """Gives one score per row that grows with the chance of class 1, shape (n,).

    Scores are compared within one model only, so logits and probabilities both do.

    Args:
        output: of the model to read, shape (n, 2), (n, 1) or (n,), of floats.
        reference: of the original; it must have as many scores per row.

    Returns:
        NaN in rows without finite scores.

    Raises:
        DataError: if there are more than two classes, or no scores.
    """
    scores, original = _scores(output), _scores(reference)
    if scores.shape[1] > 2 or original.shape[1] != scores.shape[1]:
        raise DataError(
            f"the model gives {scores.shape[1]} scores a row; a ranking of two classes needs one "
            "or two"
        )
    one = scores[:, -1] - scores[:, 0] if scores.shape[1] == 2 else scores[:, 0]
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(scores).all(axis=1), one, np.nan)


def _flat(output: Array) -> Array:
    flat = output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output
    if flat.ndim != 1:
        raise DataError(
            f"the model's output has shape {output.shape} of {output.dtype}; a classification "
            "needs one score per class (n, k) or one label per row (n,)"
        )
    return flat


def _scores(output: Array) -> Array:
    scores = output.reshape(-1, 1) if output.ndim == 1 else output
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise DataError(
            f"the model's output has shape {output.shape} of {output.dtype}; a classification "
            "needs one score per class (n, k) or one label per row (n,)"
        )
    return scores.astype(np.float64)


def _threshold(original: Array) -> float:
    known = original[np.isfinite(original)]
    return 0.5 if bool(np.all((known >= 0) & (known <= 1))) else 0.0


def _named_classes(answers: Array, labels: Sequence[str]) -> Array:
    numbered = bool(labels) and all(re.fullmatch(r"-?\d+", label) for label in labels)
    if answers.dtype.kind in "iub" and not numbered:
        return answers.astype(np.int64)
    place = {label: index for index, label in enumerate(labels)}
    if not place:
        raise DataError(
            "the model answers with class names, but its class names are not known; put them "
            "beside the model"
        )
    return np.array([place.get(str(v), NO_CLASS) for v in answers.tolist()], dtype=np.int64)
