"""What a person should know about the data: copies, leaks, small groups, undeclared units."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from jettison.domain.configuration import DataSection
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.domain.splits import CertificationSet, Labels
from jettison.numerics.ragged_columns import holds_arrays
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.labelling import group_columns, missing_rows, text_of

TINY_GROUP = 59
"""Rows below which no margin up to 5 % can hold at 95 % (CERTIFICATION section 1, point 5)."""

MANY_GROUPS = 50

_ID_LIKE = re.compile(
    r"(^|[_\s-])(id|uuid|guid|user|author|patient|customer|client|session|speaker|subject|"
    r"device|account|person|student|employee|document|doc|file|url|household|family|recording|"
    r"encounter|visit|batch|case)([_\s-]?(id|no|nr|number|key|name))?$",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9_.:/#-]{4,}")
"""A value such as `doc-0012`, a hash or a path: text without blanks that holds a digit."""

FEWEST_CODES = 20
"""Values below which a column of codes is rather a category (`A11` to `A14` of a questionnaire)."""


def notes_about(
    section: DataSection,
    tables: Mapping[str, Example],
    division: Division,
    labels: Labels,
    certification: CertificationSet | None,
) -> tuple[str, ...]:
    """One sentence for each thing that was done, or that looks odd but is allowed."""
    return (
        *_left_out(division, section.fitting_rows),
        *_targets(division, labels, certification),
        *_groups(labels, certification),
        *_undeclared_units(section, tables),
    )


def cut_texts(encoder: Encoder, lengths: Array | None) -> Iterator[str]:
    """Says how many texts are as long as what is kept: what comes after it, neither model reads."""
    longest = encoder.settings.get("max_length")
    if not isinstance(longest, int) or lengths is None:
        return
    full = int((lengths >= longest).sum())
    if full:
        yield (
            f"{full:,} of {len(lengths):,} texts have {longest} tokens or more, and only the first "
            f"{longest} are read, by the original too; `max_length` in `model` says how many are kept."
        )


def _left_out(division: Division, most: int) -> Iterator[str]:
    if division.copies:
        yield (
            f"{division.copies} rows for certification repeat the encoded inputs of another and "
            "were left out; each is kept once."
        )
    if division.leaks:
        yield (
            f"{division.leaks} rows were left out because their inputs or their unit also stand "
            "in a split that is used earlier."
        )
    if division.cut:
        yield (f"{division.cut} fitting rows beyond the {most} of `fitting_rows` were left out.")


def _targets(
    division: Division, labels: Labels, certification: CertificationSet | None
) -> Iterator[str]:
    if labels.targets is None or labels.targets.dtype.kind != "i":
        return
    known = [division.selection]
    if certification is None or certification.labelled:
        known.append(division.certification)
    used = labels.targets[np.concatenate(known)]
    values, counts = np.unique(used, return_counts=True)
    if values[0] == 1:
        yield (
            "The smallest target is class 1 and class 0 never occurs; if your labels count from "
            "1, subtract 1."
        )
    if counts.max() / len(used) > 0.99:
        yield (
            f"{counts.max() / len(used):.1%} of the rows have the same target; accuracy says "
            "little about the others."
        )


def _groups(labels: Labels, certification: CertificationSet | None) -> Iterator[str]:
    for name, values in labels.groups.items():
        count = len(set(values.tolist()) - {""})
        if count > MANY_GROUPS:
            yield (
                f"The group column `{name}` has {count} values; each must hold for itself, and "
                "each needs rows."
            )
    if certification is None:
        return
    masks = {f"{c}={v}" for c, values in labels.groups.items() for v in set(values.tolist()) if v}
    sizes = {name: certification.group_sizes.get(name, 0) for name in sorted(masks)}
    tiny = [f"`{name}` ({n})" for name, n in sizes.items() if n < TINY_GROUP]
    if tiny:
        yield (
            f"{len(tiny)} {'group has' if len(tiny) == 1 else 'groups have'} fewer than {TINY_GROUP} sealed rows, too few for any margin "
            f"up to 5 %: {', '.join(tiny[:10])}"
            + (f" and {len(tiny) - 10} more." if len(tiny) > 10 else ".")
        )


def _undeclared_units(section: DataSection, tables: Mapping[str, Example]) -> Iterator[str]:
    if section.unit:
        return
    for use, table in tables.items():
        grouped = group_columns(section.groups, table.columns)
        known = {section.target, section.weight, *grouped, *section.inputs}
        for name, column in table.columns.items():
            if name in known or use == "fitting":
                continue
            repeats = _repeats(column)
            if repeats and (_ID_LIKE.search(name) or _of_codes(column)):
                yield (
                    f"The column `{name}` of `{use}` looks like it says whom a row comes from, "
                    f"and {repeats} rows repeat an earlier value; rows of one unit are not "
                    f'independent: declare unit = "{name}" in `data` if that is so.'
                )


def _of_codes(column: Array) -> bool:
    """Whether the values of a column look like names of something, whatever the column is called."""
    if column.dtype.kind != "O":
        return False
    values = {str(value) for value in column.tolist()}
    return len(values) >= FEWEST_CODES and all(map(_CODE.fullmatch, values))


def _repeats(column: Array) -> int:
    """Rows that repeat an earlier value of an id-like column; 0 where it is no identifier."""
    if (
        column.ndim != 1
        or column.dtype.kind not in "iuO"
        or holds_arrays(column)
        or len(missing_rows(column))
    ):
        return 0
    values = text_of(column)
    return len(values) - len(set(values.tolist()))
