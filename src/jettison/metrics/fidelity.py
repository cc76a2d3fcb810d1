"""Closeness to the original model: quality where there are no labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.predictions import predicted_classes

CLOSE = 0.01
"""Relative distance up to which `within_1_percent` counts a value as the same."""


class Agreement:
    """The fraction of rows that get the same class from the candidate as from the original."""

    name: ClassVar[str] = "agreement"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "binary"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = False
    against_reference: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares classes row by row; a candidate's row that is not finite disagrees.

        Raises:
            DataError: without rows, or where the original's own answers are not finite.
        """
        output, reference = _both(evidence, self.name)
        original = predicted_classes(reference, reference, evidence.labels)
        same = predicted_classes(output, reference, evidence.labels) == original
        if bool(np.any(original < 0)):
            row = int(np.flatnonzero(original < 0)[0])
            raise _not_finite(self.name, row)
        parts = same.astype(np.float64)
        return Scores(float(parts.mean()), parts)


class Cosine:
    """The mean cosine between the candidate's and the original's vector of each row.

    A candidate's vector that is zero or not finite has no direction and counts as -1.
    """

    name: ClassVar[str] = "cosine"
    unit: ClassVar[str] = "cosine"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "bounded_mean"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = False
    against_reference: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str]] = frozenset({"embedding"})

    def score(self, evidence: Evidence) -> Scores:
        """Takes the cosine of each row in double precision; further axes are laid flat.

        Raises:
            DataError: without rows, or where the original's vector is zero or not finite.
        """
        output, reference = _both(evidence, self.name)
        if output.dtype.kind != "f" or reference.dtype.kind != "f":
            raise DataError(f"`cosine` needs vectors of floats; got {output.dtype}")
        ours, theirs = _directions(output), _directions(reference)
        bad = np.flatnonzero(np.isnan(theirs).any(axis=1))
        if len(bad):
            raise _not_finite(self.name, int(bad[0]))
        products: Array = np.einsum("nd,nd->n", ours, theirs)
        cosines: Array = np.clip(np.nan_to_num(products, nan=-1.0), -1.0, 1.0)
        return Scores(float(cosines.mean()), cosines)


class WithinOnePercent:
    """The fraction of rows whose value lies within 1 % of the original's value.

    It is how a regression is certified: 0 or 1 per row, so the exact test applies, where an error
    without a bound has no certified mean. A value of 0 must stay 0.
    """

    name: ClassVar[str] = "within_1_percent"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "binary"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = False
    against_reference: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares values row by row; all values of a row must be close.

        Raises:
            DataError: without rows, for values that are no numbers, or where the original's are
                not finite.
        """
        output, reference = _both(evidence, self.name)
        if output.dtype.kind not in "iuf" or reference.dtype.kind not in "iuf":
            raise DataError(f"`{self.name}` needs numbers; got {output.dtype}")
        ours = output.reshape(len(output), -1).astype(np.float64)
        theirs = reference.reshape(len(reference), -1).astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(theirs).all(axis=1))
        if len(bad):
            raise _not_finite(self.name, int(bad[0]))
        with np.errstate(invalid="ignore"):
            close: Array = np.abs(ours - theirs) <= CLOSE * np.abs(theirs)
        parts: Array = np.all(close, axis=1).astype(np.float64)
        return Scores(float(parts.mean()), parts)


def _both(evidence: Evidence, name: str) -> tuple[Array, Array]:
    output = np.asarray(evidence.outputs[evidence.prediction])
    reference = np.asarray(evidence.reference[evidence.prediction])
    if len(reference) == 0:
        raise DataError(f"`{name}` is undefined: there are no rows")
    if output.shape != reference.shape:
        raise DataError(
            f"`{name}` compares outputs of one shape; the candidate's is {output.shape}, the "
            f"original's {reference.shape}"
        )
    return output, reference


def _directions(vectors: Array) -> Array:
    """Unit vectors, shape (n, d); NaN for a vector without a direction."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    finite = np.isfinite(flat).all(axis=1, keepdims=True)
    flat = np.where(finite, flat, np.nan)
    largest = np.abs(flat).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = flat / largest
        unit: Array = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit


def _not_finite(name: str, row: int) -> DataError:
    return DataError(
        f"`{name}` is undefined: the original model's own answer to row {row} is zero, NaN, "
        "infinite or an unknown class; leave such rows out, or correct the model"
    )
