"""Rows of a data file, encoded for a model, with what stands beside them; nothing is sealed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.assessment.data_checks import flat_inputs
from jettison.assessment.people import People, group_columns
from jettison.assessment.predictions_file import group_texts
from jettison.domain.assessment import AssessedTask
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import Labels
from jettison.errors import DataError, UsageError
from jettison.pipeline.split import labelling
from jettison.pipeline.split.binding import bind_encoder, fed_columns
from jettison.pipeline.split.encoding import encode_tables, rows_of, take_rows
from jettison.pipeline.split.files import as_read
from jettison.pipeline.split.governance import consenting
from jettison.pipeline.split.labelling import check_columns, class_count, label_rows
from jettison.pipeline.split.loading import storage
from jettison.pipeline.split.raw_keys import raw_digests
from jettison.pipeline.split.reading import read_file
from jettison.trust.row_sets import PREFIX_BYTES, RowSet

WHERE = "data"


@dataclass(frozen=True, slots=True, eq=False)
class RowsAtHand:
    """Rows that a model can answer, in the order of the file.

    Attributes:
        rows: encoded.
        people: groups, targets and weights of the same rows.
        inputs: raw columns that are no target, weight, unit or group, for the checks of the data.
        notes: rows that were left out, and why.
    """

    rows: Rows
    people: People
    inputs: dict[str, Array]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowWishes:
    """How to read rows.

    Attributes:
        section: `data`: source and roles of the columns.
        crossings: of groups.
        positive: class that is the selection; empty for the second of two.
    """

    section: DataSection
    crossings: tuple[tuple[str, ...], ...] = ()
    positive: str = ""


def read_rows(
    wishes: RowWishes, model: Model, folder: Path, hidden: RowSet | None = None
) -> RowsAtHand:
    """Reads and encodes every row of one file, except those under an unopened seal.

    Args:
        wishes: the file, and which column is what.
        model: whose encoder makes the inputs and whose classes the targets belong to.
        folder: for the encoded rows; made.
        hidden: digests of rows that no model may meet before they certify.

    Raises:
        DataError: for anything in the data that can't be used.
    """
    section = wishes.section
    encoded = encode_file(section, model, folder, hidden)
    table = encoded.table
    bare = dataclasses.replace(section, groups=(), unit="")
    labels = label_rows(table, bare, model, section.source)
    groups = group_texts(table, section.groups)
    grouped = labelling.group_columns(section.groups, table.columns)
    apart = (section.target, section.weight, section.unit, *grouped)
    return RowsAtHand(
        encoded.rows,
        people_of(wishes, model, labels, groups),
        flat_inputs({name: table.columns[name] for name in encoded.columns}, apart),
        encoded.notes,
    )


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFile:
    """Rows of a file: encoded, and raw in the same order; the columns that were offered."""

    rows: Rows
    table: Example
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def encode_file(
    section: DataSection, model: Model, folder: Path, hidden: RowSet | None = None
) -> EncodedFile:
    """Encodes every row of one file, except those under an unopened seal; as `read_rows`.

    Rows without the consent that `section` asks for are left out too, as in a run.

    Raises:
        DataError: for anything in the data that can't be used.
    """
    held, governed = consenting(section, {WHERE: read_file(section.source, "source")})
    tables = as_read(held, {WHERE: section.source}, model.encoder.kind, section)
    table = tables[WHERE]
    grouped = labelling.group_columns(section.groups, table.columns)
    check_columns(table, (section.target, *grouped, section.weight), section.source)
    encoder, columns = bind_encoder(section, model, tables)
    with storage(folder):
        pool = encode_tables(encoder, model, tables, folder / "pieces")
        keep = np.ones(table.n, dtype=bool)
        if hidden is not None and hidden.size:
            fed = fed_columns(encoder, columns)
            keep = ~_known_to(hidden, table, (fed, _all_but_answers(table, section)), pool.digests)
        index = np.flatnonzero(keep)
        if not len(index):
            raise DataError(
                f"every row of {section.source} lies under an unopened seal; give --data with rows "
                "that don't certify, or certify first"
            )
        rows = take_rows(pool, index, folder / "rows")
    left_out = (*governed, *_left_out(int((~keep).sum())))
    return EncodedFile(rows, rows_of(table, index), columns, left_out)


def people_of(wishes: RowWishes, model: Model, labels: Labels, groups: dict[str, Array]) -> People:
    """Puts together what stands beside the rows, for the task of a model.

    Raises:
        UsageError: for an embedding or a transcription, or an unknown positive class.
        DataError: for groups that are none.
    """
    if model.task == "embedding":
        raise UsageError(
            "an embedding model makes no decision about anybody, so there is nothing to assess; "
            "assess what decides on its embeddings"
        )
    if model.task == "token-classification":
        raise UsageError(
            "a token classifier decides about words, not about people or things, so rates by group "
            "don't describe it; certify `token_agreement` by group (`optimize` with `groups`)"
        )
    if model.task == "transcription":
        raise UsageError(
            "what a model heard is neither chosen nor refused, so rates by group don't describe it; "
            "certify `wer` by group (`optimize` with `groups`), or assess its errors as "
            "predictions: one row an utterance, the decision «wrong»"
        )
    columns = group_columns(groups, wishes.crossings, wishes.section.source or "the run's data")
    weights = labels.weights
    n = len(columns[0].codes) if weights is None else int((weights > 0).sum())
    if model.task == "regression":
        return People("regression", n, columns, labels.targets, (), 0, weights)
    names = tuple(model.encoder.labels)
    count = max(class_count(model), len(names), 2)
    names = names or tuple(str(k) for k in range(count))
    task: AssessedTask = "binary" if len(names) == 2 else "multi-class"
    positive = 1
    if wishes.positive:
        if wishes.positive not in names:
            raise UsageError(
                f"there is no class `{wishes.positive}`; the model's are {', '.join(names[:12])}"
            )
        positive = names.index(wishes.positive)
    return People(task, n, columns, labels.targets, names, positive, weights)


def _all_but_answers(table: Example, section: DataSection) -> tuple[str, ...]:
    return tuple(name for name in table.columns if name not in (section.target, section.weight))


def _known_to(
    hidden: RowSet, table: Example, keys: tuple[tuple[str, ...], ...], digests: tuple[str, ...]
) -> Array:
    """Which rows have any digest among those of the hidden rows, shape (n,) of bool."""
    # NumPy's fixed-width bytes drop zeros at their end.
    known = {value.rstrip(b"\0") for value in hidden.ravel().tolist()}
    every = np.arange(table.n)
    columns = [list(digests), *(raw_digests(table, fed, every) for fed in keys)]
    met = np.zeros(table.n, dtype=bool)
    for column in columns:
        met |= np.array(
            [
                bool(d) and bytes.fromhex(d[: 2 * PREFIX_BYTES]).rstrip(b"\0") in known
                for d in column
            ]
        )
    return met


def _left_out(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{count:,} rows lie under an unopened seal and were left out: certification data is spent "
        "by use.",
    )
