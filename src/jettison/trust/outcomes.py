"""What the sealed rows said, row by row: enough to compute every verdict again.

Saved as one `.npz` without pickle: contributions of the baseline and of each candidate tested, in
order, with groups, units (as numbers, no names) and weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from jettison.domain.certificate import Requirement
from jettison.domain.contexts import CONTEXT
from jettison.domain.extension_points import MetricKind, QualityMetric
from jettison.domain.files import write_atomically
from jettison.domain.measurement import Better
from jettison.domain.record import from_json, to_json, to_plain
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import CheckFailed


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What picks the test of a metric, as its plug-in told when it was scored.

    Attributes:
        kind, better, against_reference: as in `QualityMetric`.
        low, high: bounds of a contribution; `None` where there is none.
    """

    kind: MetricKind
    better: Better
    low: float | None
    high: float | None
    against_reference: bool

    @classmethod
    def of(cls, metric: QualityMetric) -> MetricFacts:
        """Reads them off a plug-in."""
        bounds = [value if np.isfinite(value) else None for value in (metric.low, metric.high)]
        return cls(metric.kind, metric.better, bounds[0], bounds[1], metric.against_reference)


@dataclass(frozen=True, slots=True)
class Member:
    """Exactly what stands at one place of the order of testing (or is the baseline).

    Attributes:
        recipe: its digest; empty for the baseline.
        artifact, encoder: digests of the files.
        runtime: in words; one_by_one: run row by row.
    """

    recipe: str
    artifact: str
    encoder: str
    runtime: str
    one_by_one: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that is fixed before the seal opens; its digest stands in the ledger.

    Attributes:
        requirements: as asked.
        metrics: by name.
        gating: metric -> groups that gate.
        listed: metric -> groups that were to gate, but can't pass with the rows at hand, and are
            listed as not certified (`on_undecided = "ship_listed"`).
        on_undecided: as asked.
        baseline: the original.
        members: the shortlist in the order of testing.
        reported: metrics that are shown beside the claims; no test is made of them.
        share: of each requirement's error rate that this look may spend; 1 where rows are looked
            at once.
    """

    requirements: tuple[Requirement, ...]
    metrics: Mapping[str, MetricFacts]
    gating: Mapping[str, tuple[str, ...]]
    listed: Mapping[str, tuple[str, ...]]
    on_undecided: Literal["fail", "ship_listed"]
    baseline: Member
    members: tuple[Member, ...]
    reported: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def digest(self) -> str:
        """SHA-256 of all of it; what came later counts only where it is used.

        So the order of testing of an older bundle has the digest that its ledger recorded.
        """
        plain = to_plain(self)
        for name, unused in (("reported", []), ("share", 1.0)):
            if plain[name] == unused:
                del plain[name]
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def order(self) -> tuple[str, ...]:
        """Recipe digests in the order of testing."""
        return tuple(member.recipe for member in self.members)


@dataclass(frozen=True, slots=True, eq=False)
class GroupColumn:
    """One column of groups: `names[codes[i]]` is the group of row i, as `column=value`.

    A code of -1 is in no group of the column: a copy in a context, or in the column of contexts
    a row as it came.
    """

    names: tuple[str, ...]
    codes: Array


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Contributions of all rows.

    Attributes:
        rules: how to judge them.
        n: rows.
        baseline: metric -> contributions, shape (n,), or (n, k) as in `RowParts`.
        candidates: recipe -> metric -> contributions; only those that were tested and ran.
        failures: recipe (or `baseline`) -> why it has no contributions.
        groups, units, weights: of the rows.
        copies: rows that are changed copies in a context, shape (n,) of bool; `None` without
            contexts. They count in their context and nowhere else.
        unlabelled: rows that nobody labelled because both models have the same part in every
            metric whatever the label, shape (n,) of bool; `None` where all are labelled. Only the
            difference of these rows is known (it is 0), not the parts themselves.
        strata: metric -> class of each row, shape (n,) of int64, for metrics that need enough
            rows of each.
    """

    rules: Rules
    n: int
    baseline: Mapping[str, Array]
    candidates: Mapping[str, Mapping[str, Array]]
    failures: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[GroupColumn, ...] = ()
    units: Array | None = None
    weights: Array | None = None
    copies: Array | None = None
    unlabelled: Array | None = None
    strata: Mapping[str, Array] = field(default_factory=dict)

    def whole(self) -> Array:
        """Rows that the overall claim is about, shape (n,): all that are no copies."""
        return np.ones(self.n, dtype=bool) if self.copies is None else ~self.copies

    def masks(self) -> dict[str, Array]:
        """Rows of each group, as boolean masks of shape (n,), by `column=value`."""
        return {
            name: column.codes == code
            for column in self.groups
            for code, name in enumerate(column.names)
        }


@dataclass(frozen=True, slots=True)
class _Index:
    """The part of the file that is text."""

    rules: Rules
    n: int
    tested: tuple[str, ...]
    failures: Mapping[str, str]
    group_names: tuple[tuple[str, ...], ...]
    format_version: int = 1


def describe_rows(labels: Labels) -> tuple[tuple[GroupColumn, ...], Array | None]:
    """Turns groups and units into numbers; names of units are left out of the record."""
    columns: list[GroupColumn] = []
    for column in sorted(labels.groups):
        belongs = np.asarray(labels.groups[column], np.str_)
        columns.append(_group_column(column, belongs, labels.as_they_came(len(belongs))))
    if labels.contexts is not None:
        contexts = np.asarray(labels.contexts, np.str_)
        columns.append(_group_column(CONTEXT, contexts, contexts != ""))
    units = None
    if labels.units is not None:
        units = np.unique(np.asarray(labels.units, np.str_), return_inverse=True)[1]
    return tuple(columns), units


def _group_column(column: str, belongs: Array, there: Array) -> GroupColumn:
    """Numbers the values of the rows that are `there`; the others get -1."""
    values, numbers = np.unique(belongs[there], return_inverse=True)
    codes = np.full(len(belongs), -1, dtype=np.int32)
    codes[there] = numbers
    return GroupColumn(tuple(f"{column}={value}" for value in values), codes)


def save_outcomes(outcomes: Outcomes, path: Path) -> None:
    """Writes outcomes into an `.npz` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, outcome_bytes(outcomes))


def outcome_bytes(outcomes: Outcomes) -> bytes:
    """The bytes of the `.npz` file of outcomes."""
    tested = tuple(outcomes.candidates)
    index = _Index(
        outcomes.rules,
        outcomes.n,
        tested,
        outcomes.failures,
        tuple(column.names for column in outcomes.groups),
    )
    arrays: dict[str, Array] = {"index": np.array(to_json(index), dtype=np.str_)}
    arrays.update({f"baseline.{name}": values for name, values in outcomes.baseline.items()})
    arrays.update({f"strata.{name}": values for name, values in outcomes.strata.items()})
    for place, recipe in enumerate(tested):
        for name, values in outcomes.candidates[recipe].items():
            arrays[f"candidate_{place}.{name}"] = values
    for place, column in enumerate(outcomes.groups):
        arrays[f"groups_{place}"] = column.codes
    for name in ("units", "weights", "copies", "unlabelled"):
        if getattr(outcomes, name) is not None:
            arrays[name] = getattr(outcomes, name)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **cast(Any, arrays))
    return buffer.getvalue()


def load_outcomes(path: Path) -> Outcomes:
    """Reads outcomes back.

    Raises:
        CheckFailed: if the file is not what `save_outcomes` writes.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            index = from_json(_Index, str(arrays["index"]))
            baseline = _metrics(arrays, "baseline.")
            strata = _metrics(arrays, "strata.")
            candidates = {
                recipe: _metrics(arrays, f"candidate_{place}.")
                for place, recipe in enumerate(index.tested)
            }
            groups = tuple(
                GroupColumn(names, arrays[f"groups_{place}"])
                for place, names in enumerate(index.group_names)
            )
            units, weights = arrays.get("units"), arrays.get("weights")
            copies, unlabelled = arrays.get("copies"), arrays.get("unlabelled")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckFailed(f"the outcomes {path} can't be read: {error}") from error
    known = (index.rules, index.n, baseline, candidates, index.failures)
    return Outcomes(*known, groups, units, weights, copies, unlabelled, strata)


def _metrics(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
