"""The three uses of data as three unrelated classes, so that mixing them is a type error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.rows import Array, Rows

TARGETS = "_targets"


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known about rows beside the inputs.

    Attributes:
        targets: shape (n,): class index (int64) or value (float64); `None` without labels.
        groups: per declared column, shape (n,) of str.
        units: shape (n,) of str, or `None` when each row is its own unit.
        weights: shape (n,) of float64, or `None` for equal weights.
    """

    targets: Array | None
    groups: Mapping[str, Array] = field(default_factory=dict)
    units: Array | None = None
    weights: Array | None = None

    def membership(self) -> dict[str, Array]:
        """Gives each group's rows as a boolean mask, keyed `column=value`, in sorted order."""
        masks: dict[str, Array] = {}
        for column in sorted(self.groups):
            values = self.groups[column]
            for value in np.unique(values):
                masks[f"{column}={value}"] = values == value
        return masks


@dataclass(frozen=True, slots=True)
class FittingData:
    """Calibration rows: ranges and curvature. A technique may read all of it.

    Attributes:
        rows: encoded rows, as many as `data.fitting_rows` allows (512).
        seed: of every random choice that a technique makes.
        target_digest: SHA-256 of the right answers that lie beside the rows; empty without any.
    """

    rows: Rows
    seed: int = 0
    target_digest: str = ""

    @property
    def labels(self) -> Labels | None:
        """The right answers, shape (n,), or `None`: every technique must do without as well."""
        if not self.target_digest:
            return None
        path = Path(self.rows.folder) / f"{TARGETS}.npy"
        return Labels(np.load(path, allow_pickle=False)[: self.rows.n])

    @classmethod
    def of(cls, rows: Rows, seed: int, targets: Array | None) -> FittingData:
        """Puts the right answers, shape (n,) of int64 or float64, beside the rows."""
        if targets is None:
            return cls(rows, seed)
        np.save(Path(rows.folder) / f"{TARGETS}.npy", targets)
        told = hashlib.sha256(np.ascontiguousarray(targets).tobytes()).hexdigest()
        return cls(rows, seed, told)


@dataclass(frozen=True, slots=True)
class SelectionSet:
    """Rows that the search may look at as often as it likes."""

    rows: Rows
    labels: Labels


@dataclass(frozen=True, slots=True)
class CertificationSet:
    """Rows that are seen once. It tells how many they are; only the ledger opens it.

    Attributes:
        folder: where the sealed rows and labels lie. `jettison.trust.seal` alone reads them,
            against a look that the ledger has charged.
        n: number of sealed rows.
        units: number of distinct units (equal to `n` when none is declared).
        group_sizes: rows per group, keyed `column=value`.
        digest: SHA-256 over the digests of the sealed rows.
        labelled: whether targets lie with the rows.
        weighted: whether weights lie with the rows.
        group_units: distinct units per group, keyed like `group_sizes`.
    """

    folder: str
    n: int
    units: int
    group_sizes: Mapping[str, int]
    digest: str
    labelled: bool
    weighted: bool = False
    group_units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Splits:
    """All data of a run.

    Attributes:
        fitting, selection, certification: the three uses; `selection` and `certification` are
            `None` for a run without data.
        seed: that divided one pot of rows.
        digest: SHA-256 over the digests of all rows and how they were divided.
        duplicates: rows whose encoded inputs repeat an earlier row; kept once.
        notes: what the reader did that a person should know, one sentence each.
        encoder: the model's encoder as bound to the columns of the data, which ships with it;
            `None` for a run without data.
        raw: folder with a few raw examples (`jettison.domain.raw_examples`), or empty.
    """

    fitting: FittingData
    selection: SelectionSet | None
    certification: CertificationSet | None
    seed: int
    digest: str
    duplicates: int = 0
    notes: tuple[str, ...] = ()
    encoder: Encoder | None = None
    raw: str = ""
