"""The three uses of data as three unrelated classes, so that mixing them is a type error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from jettison.domain.contexts import CONTEXT
from jettison.domain.encoder import Encoder
from jettison.domain.rows import Array, Rows

TARGETS, GROUPS = "_targets", "_groups"


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known about rows beside the inputs.

    Attributes:
        targets: shape (n,): class index (int64) or value (float64); `None` without labels.
        groups: per declared column, shape (n,) of str.
        units: shape (n,) of str, or `None` when each row is its own unit.
        weights: shape (n,) of float64, or `None` for equal weights.
        contexts: shape (n,) of str, or `None` without contexts: empty for a row as it came, else
            the context of which it is a changed copy.
    """

    targets: Array | None
    groups: Mapping[str, Array] = field(default_factory=dict)
    units: Array | None = None
    weights: Array | None = None
    contexts: Array | None = None

    def as_they_came(self, n: int) -> Array:
        """The rows that are no copies in a context, as a mask of shape (n,): the whole."""
        return np.ones(n, dtype=bool) if self.contexts is None else self.contexts == ""

    def membership(self) -> dict[str, Array]:
        """Gives each group's rows as a boolean mask, keyed `column=value`, in sorted order.

        A copy in a context belongs to that context and to nothing else: it would count its row
        twice in the groups of that row.
        """
        masks: dict[str, Array] = {}
        for column in sorted(self.groups):
            values = self.groups[column]
            whole = self.as_they_came(len(values))
            for value in np.unique(values[whole]):
                masks[f"{column}={value}"] = (values == value) & whole
        if self.contexts is not None:
            for name in np.unique(self.contexts[self.contexts != ""]):
                masks[f"{CONTEXT}={name}"] = self.contexts == name
        return dict(sorted(masks.items()))


@dataclass(frozen=True, slots=True)
class FittingData:
    """Calibration rows: ranges and curvature. A technique may read all of it.

    Attributes:
        rows: encoded rows, as many as `data.fitting_rows` allows (512).
        seed: of every random choice that a technique makes.
        target_digest: SHA-256 of the right answers that lie beside the rows; empty without any.
        group_digest: SHA-256 of the groups and weights that lie beside the rows; empty without.
    """

    rows: Rows
    seed: int = 0
    target_digest: str = ""
    group_digest: str = ""

    @property
    def labels(self) -> Labels | None:
        """What is known beside the inputs, or `None`: every technique must do without as well.

        Targets may be there without groups, and groups without targets.
        """
        if not self.target_digest and not self.group_digest:
            return None
        folder, n = Path(self.rows.folder), self.rows.n
        targets = None
        if self.target_digest:
            targets = np.load(folder / f"{TARGETS}.npy", allow_pickle=False)[:n]
        if not self.group_digest:
            return Labels(targets)
        with np.load(folder / f"{GROUPS}.npz", allow_pickle=False) as told:
            names = [str(name) for name in told["columns"]]
            groups = {name: told[f"group_{place}"][:n] for place, name in enumerate(names)}
            weights = told["weights"][:n] if "weights" in told else None
        return Labels(targets, groups, weights=weights)

    @classmethod
    def of(
        cls, rows: Rows, seed: int, targets: Array | None, labels: Labels | None = None
    ) -> FittingData:
        """Puts the right answers, groups and weights beside the rows, each as far as it is known.

        Args:
            rows: whose folder they go to.
            seed: of every random choice.
            targets: shape (n,) of int64 or float64.
            labels: groups and weights of the same rows; nothing else of it is kept.
        """
        folder, told, groups = Path(rows.folder), "", ""
        if targets is not None:
            np.save(folder / f"{TARGETS}.npy", targets)
            told = hashlib.sha256(np.ascontiguousarray(targets).tobytes()).hexdigest()
        if labels is not None and (labels.groups or labels.weights is not None):
            names = sorted(labels.groups)
            arrays = {
                f"group_{place}": np.asarray(labels.groups[name], np.str_)
                for place, name in enumerate(names)
            }
            if labels.weights is not None:
                arrays["weights"] = np.asarray(labels.weights, np.float64)
            whole = hashlib.sha256(repr(names).encode())
            for name in sorted(arrays):
                whole.update(f"{name}{arrays[name].dtype.str}".encode() + arrays[name].tobytes())
            arrays["columns"] = np.array(names, np.str_)
            np.savez(folder / f"{GROUPS}.npz", **cast(Any, arrays))
            groups = whole.hexdigest()
        return cls(rows, seed, told, groups)


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
        n: number of sealed rows, copies in contexts not counted.
        units: number of distinct units (equal to `n` when none is declared).
        group_sizes: rows per group, keyed `column=value`; contexts are groups of copies.
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
