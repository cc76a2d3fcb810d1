"""How unlike a request is to the rows that were known: one score a row, and a threshold with a bound.

Numbers are taken as they are, or projected to fewer axes by a seeded Gaussian matrix (distances
survive it: Johnson and Lindenstrauss, 1984); whole numbers of long inputs (ids, bytes) and texts give
how rare they are, as the mean surprise under their frequencies. On these features the score is the
Mahalanobis distance from the known rows (Lee et al., "A Simple Unified Framework for Detecting
Out-of-Distribution Samples", 2018, without classes), with a covariance shrunk towards its diagonal.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import special

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.errors import DataError

AXES = 32
"""Features that the numbers of one input give at most."""

SHRINKAGE = 0.1
MASK = "attention_mask"
"""Where an input of this name is 0, a row is padded, and ids there say nothing."""

FAR = 1e6
"""A value this many deviations away counts as this far: infinities must not turn into NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """A fitted score.

    Attributes:
        inputs: name and NumPy dtype of each input that it reads, in order.
        centre, spread: of each feature among the fitting rows, shape (k,).
        inverse: of the shrunk correlation matrix, shape (k, k).
        projections: input -> matrix, for inputs of more than `AXES` numbers.
        rarity: input -> value -> surprise in nats; values never met have that under the key "".
        threshold: scores above it are refused.
        rate: refused share that is not exceeded, with `confidence`, for rows like the `n` selection
            rows.
        confidence, n: of that bound.
    """

    inputs: tuple[tuple[str, str], ...]
    centre: Array
    spread: Array
    inverse: Array
    projections: Mapping[str, Array] = field(default_factory=dict)
    rarity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    threshold: float = np.inf
    rate: float = 0.0
    confidence: float = 0.0
    n: int = 0

    def score(self, batch: Batch) -> Array:
        """Distance of each row from what was known, shape (n,).

        Raises:
            DataError: if rows hold another number of values than those that were known.
        """
        features = _features(
            batch, [name for name, _ in self.inputs], self.projections, self.rarity
        )
        if features.shape[1] != len(self.centre):
            raise DataError(
                f"rows give {features.shape[1]} features, and those that were known gave "
                f"{len(self.centre)}: they are of another length"
            )
        far = np.clip(np.nan_to_num((features - self.centre) / self.spread, nan=0.0), -FAR, FAR)
        squares = np.einsum("ij,jk,ik->i", far, self.inverse, far)
        found: Array = np.sqrt(np.maximum(squares, 0.0) / len(self.centre))
        return found


def fit_novelty(batches: Sequence[Batch], seed: int) -> Novelty:
    """Fits the score to known rows.

    Args:
        batches: of fitting rows; inputs of every dtype.
        seed: of the projections.

    Raises:
        DataError: if rows of numbers differ in length.
    """
    first = batches[0]
    rng = np.random.default_rng(seed)
    inputs = tuple((name, str(first[name].dtype.kind)) for name in first if name != MASK)
    rarity: dict[str, dict[str, float]] = {}
    projections: dict[str, Array] = {}
    for name, _ in inputs:
        if _counted(first[name]):
            rarity[name] = _surprise(batches, name)
        else:
            width = _one_width(batches, name)
            if width > AXES:
                projections[name] = rng.normal(size=(width, AXES)) / np.sqrt(width)
    names = [name for name, _ in inputs]
    features = np.concatenate([_features(b, names, projections, rarity) for b in batches])
    centre = np.nanmean(features, axis=0)
    spread = np.nanstd(features, axis=0)
    # A feature that never moved: any move is far, but not infinitely so.
    spread = np.where(
        spread > 1e-9 * np.maximum(np.abs(centre), 1.0),
        spread,
        np.maximum(np.abs(centre), 1.0) * 1e-3,
    )
    scaled = np.nan_to_num((features - centre) / spread)
    correlation = scaled.T @ scaled / len(scaled)
    shrunk = (1 - SHRINKAGE) * correlation + SHRINKAGE * np.eye(len(centre))
    return Novelty(inputs, centre, spread, np.linalg.inv(shrunk), projections, rarity)


def certified_threshold(scores: Array, rate: float, confidence: float) -> float:
    """The lowest score above which, with confidence, at most `rate` of rows like these lie.

    The k-th smallest of n scores bounds the share above it whatever the distribution: it is at most
    `rate` with probability 1 - I(1 - rate; k, n - k + 1) (Wilks, 1941; order statistics of uniforms).

    Args:
        scores: of n rows that the fit has not seen, shape (n,).
        rate, confidence: of the bound, between 0 and 1.

    Raises:
        DataError: if n is too small for any threshold; says how many rows are needed.

    >>> certified_threshold(np.arange(1, 1001), 0.02, 0.95)
    988.0
    """
    n = len(scores)
    places = np.arange(1, n + 1)
    doubt = special.betainc(places, n - places + 1, 1.0 - rate)
    enough = np.flatnonzero(doubt <= 1.0 - confidence)
    if not len(enough):
        needed = int(np.ceil(np.log(1.0 - confidence) / np.log(1.0 - rate)))
        raise DataError(
            f"{n} selection rows can't show that at most {rate:g} are refused with confidence "
            f"{confidence:g}: at least {needed} are needed; give more rows or a larger rate"
        )
    return float(np.sort(scores)[enough[0]])


def save_novelty(fitted: Novelty, path: Path, about: Mapping[str, Any]) -> None:
    """Writes a fitted score into an `.npz` file without pickle; `about` is kept beside it."""
    index = {
        "about": dict(about),
        "inputs": fitted.inputs,
        "projections": list(fitted.projections),
        "rarity": fitted.rarity,
        "threshold": fitted.threshold,
        "rate": fitted.rate,
        "confidence": fitted.confidence,
        "n": fitted.n,
    }
    arrays: dict[str, Array] = {
        "index": np.array(json.dumps(index, sort_keys=True)),
        "centre": fitted.centre,
        "spread": fitted.spread,
        "inverse": fitted.inverse,
    }
    for place, matrix in enumerate(fitted.projections.values()):
        arrays[f"projection_{place}"] = matrix
    buffer = io.BytesIO()
    np.savez(buffer, **cast(Any, arrays))
    write_atomically(path, buffer.getvalue())


def load_novelty(path: Path) -> tuple[Novelty, Mapping[str, Any]]:
    """Reads a fitted score, and what it is about.

    Raises:
        DataError: if the file is none.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            index = json.loads(str(arrays["index"]))
            projections = {
                name: arrays[f"projection_{place}"]
                for place, name in enumerate(index["projections"])
            }
            fitted = Novelty(
                tuple((str(name), str(kind)) for name, kind in index["inputs"]),
                arrays["centre"],
                arrays["spread"],
                arrays["inverse"],
                projections,
                index["rarity"],
                float(index["threshold"]),
                float(index["rate"]),
                float(index["confidence"]),
                int(index["n"]),
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} can't be read as what `jettison fit-guardrail` writes: {error}"
        ) from error
    return fitted, index["about"]


def _one_width(batches: Sequence[Batch], name: str) -> int:
    widths = {int(np.prod(batch[name].shape[1:])) for batch in batches}
    if len(widths) > 1:
        raise DataError(
            f"rows of the input `{name}` hold {min(widths)} to {max(widths)} numbers, and how unlike "
            "they are is told for rows of one length only; give rows of one length"
        )
    return widths.pop()


def _counted(values: Array) -> bool:
    """Whether an input is counted by value: texts, and whole numbers of more than one a row."""
    whole = values.dtype.kind in "iub" and int(np.prod(values.shape[1:])) > 1
    return values.dtype.kind in "UO" or whole


def _surprise(batches: Sequence[Batch], name: str) -> dict[str, float]:
    """-log of each value's frequency among the known rows; of what was never met under ""."""
    counts: dict[str, int] = {}
    for batch in batches:
        values = batch[name][_kept(batch, name)]
        distinct, found = np.unique(values.astype(str), return_counts=True)
        for value, count in zip(distinct.tolist(), found.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + int(count)
    # One more of each, and one of everything unmet (Laplace).
    whole = sum(counts.values()) + len(counts) + 1
    surprise = {value: float(-np.log((n + 1) / whole)) for value, n in counts.items()}
    return {**surprise, "": float(np.log(whole))} if "" not in surprise else surprise


def _kept(batch: Batch, name: str) -> Array:
    """Which values count: all, or those that are not padding."""
    values = batch[name]
    mask = batch.get(MASK)
    if mask is not None and mask.shape == values.shape:
        kept: Array = mask != 0
        return kept
    return np.ones(values.shape, dtype=bool)


def _features(
    batch: Batch,
    names: Sequence[str],
    projections: Mapping[str, Array],
    rarity: Mapping[str, Mapping[str, float]],
) -> Array:
    columns: list[Array] = []
    for name in names:
        values = batch[name]
        if name in rarity:
            columns.append(_rareness(batch, name, rarity[name]))
            continue
        flat = values.reshape(len(values), -1).astype(np.float64)
        if name in projections and len(projections[name]) != flat.shape[1]:
            raise DataError(
                f"rows of the input `{name}` hold {flat.shape[1]} numbers, and those that were known "
                f"hold {len(projections[name])}"
            )
        columns.append(flat @ projections[name] if name in projections else flat)
    return np.concatenate(columns, axis=1)


def _rareness(batch: Batch, name: str, known: Mapping[str, float]) -> Array:
    """Mean and largest surprise of each row's values, shape (n, 2)."""
    values, kept = batch[name], _kept(batch, name)
    distinct, places = np.unique(values.astype(str), return_inverse=True)
    unmet = known.get("", 0.0)
    told = np.array([known.get(value, unmet) for value in distinct.tolist()])
    surprise = told[places].reshape(len(values), -1)
    keep = kept.reshape(len(values), -1)
    count = np.maximum(keep.sum(axis=1), 1)
    mean = np.where(keep, surprise, 0.0).sum(axis=1) / count
    return np.stack([mean, np.where(keep, surprise, 0.0).max(axis=1, initial=0.0)], axis=1)
