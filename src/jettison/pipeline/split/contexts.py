"""Copies of selection and sealed rows in each declared context, encoded behind the other rows."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison import registry
from jettison.domain.contexts import Context
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.outer_points import Taken, Transformation
from jettison.domain.ranges import describe, within
from jettison.domain.record import Settings
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.pipeline.split.division import Division, place
from jettison.pipeline.split.encoding import CHUNK, Pool, extended, rows_of

COPIED = ("selection", "certification")
"""Uses whose rows get copies. Fitting rows get none: a context is tested, not learned."""

KINDS: Mapping[Taken, str] = {
    "image": "images (encoded files, or uint8 pixels of shape (n, h, w) or (n, h, w, channels))",
    "text": "text",
    "signal": "signals (numbers of shape (n, t) or more axes)",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Rows and their copies.

    Attributes:
        pool: with the copies behind all other rows.
        division: each use's rows as they came, then its copies.
        sources: per use, the row that each row of `division` is made of (itself, or its original).
        contexts: per use, the context of each row; empty texts for rows as they came. Without any
            context, `None`.
        notes: one sentence for each context.
    """

    pool: Pool
    division: Division
    sources: Mapping[str, Array]
    contexts: Mapping[str, Array | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """How raw rows reach the model: its encoder bound to columns, of which `fed` are read."""

    encoder: Encoder
    model: Model
    fed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Rows before any context, and whom they come from.

    Attributes:
        tables: raw rows by use (or `source`), in the order in which rows are numbered.
        pool: all of them, encoded.
        division: of their numbers.
        units: per row, or `None` when each row is its own unit.
        seed: of the run.
        groups: per declared column, the group of each row.
    """

    tables: Mapping[str, Example]
    pool: Pool
    division: Division
    units: Sequence[str] | None
    seed: int
    groups: Mapping[str, Array] = dataclasses.field(default_factory=dict)


def with_contexts(contexts: Sequence[Context], rows: Unchanged, reader: Reader) -> Spread:
    """Makes and encodes the copies.

    A copy is seeded by run, context and row, so neither the order of the rows nor the other
    contexts matter. Which units get one (`share`) hangs on seed and unit alone, never on labels.

    Raises:
        DataError: if a transformation does not fit the columns, a setting is not allowed, or a
            context takes no row of a use or changes none at all.
    """
    pool, notes = rows.pool, []
    index = {use: [getattr(rows.division, use)] for use in COPIED}
    sources = {use: [getattr(rows.division, use)] for use in COPIED}
    names = {use: [np.full(len(getattr(rows.division, use)), "", dtype=object)] for use in COPIED}
    for context in contexts:
        maker = _Maker.of(context, rows, reader)
        same = made = 0
        for use in COPIED:
            taken = maker.chosen(use)
            first = len(pool.digests)
            pool = extended(pool, reader.encoder, reader.model, maker.tables(use, taken))
            index[use].append(np.arange(first, first + len(taken)))
            sources[use].append(taken)
            names[use].append(np.full(len(taken), context.name, dtype=object))
            made += len(taken)
            same += sum(
                pool.digests[first + at] == pool.digests[int(row)] for at, row in enumerate(taken)
            )
        notes.append(_note(context, made, same))
    joined = {use: np.concatenate(parts) for use, parts in index.items()}
    return Spread(
        pool,
        dataclasses.replace(
            rows.division, selection=joined["selection"], certification=joined["certification"]
        ),
        {"fitting": rows.division.fitting}
        | {use: np.concatenate(parts) for use, parts in sources.items()},
        {
            use: np.concatenate(parts).astype(np.str_) if contexts else None
            for use, parts in names.items()
        },
        tuple(notes),
    )


def _note(context: Context, made: int, same: int) -> str:
    if made and same == made:
        raise DataError(
            f"context `{context.name}`: `{context.transform}` changes none of {made} rows; give it "
            "stronger settings, or columns that feed the model"
        )
    tail = f"; {same:,} of them are encoded as the rows that they are copies of" if same else ""
    return (
        f"Context `{context.name}`: {made:,} selection and sealed rows have a copy changed by "
        f"`{context.transform}`{tail}."
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the copies of one context."""

    context: Context
    transform: Transformation
    settings: Settings
    columns: tuple[str, ...]
    rows: Unchanged

    @classmethod
    def of(cls, context: Context, rows: Unchanged, reader: Reader) -> _Maker:
        transform = registry.get("transformations", context.transform)
        settings = _settings(context, transform)
        table = next(t for use, t in rows.tables.items() if use != "fitting")
        columns = _columns(context, transform, table, reader.fed)
        return cls(context, transform, settings, columns, rows)

    def chosen(self, use: str) -> Array:
        """Of a use's rows those that get a copy: all, those of a group, or of a share of the units.

        Raises:
            DataError: if that takes none, for the context would then be tested nowhere.
        """
        index: Array = getattr(self.rows.division, use)
        if self.context.of and len(index):
            index = self._of_group(index, use)
        if self.context.share >= 1.0 or not len(index):
            return index
        units = self.rows.units
        keys = [self.rows.pool.digests[int(r)] if units is None else units[int(r)] for r in index]
        name = self.context.name
        spots = np.array([place(self.rows.seed, f"context\0{name}\0{key}") for key in keys])
        taken = index[spots < self.context.share]
        if not len(taken):
            raise DataError(
                f"context `{name}`: `share` = {self.context.share:g} takes none of the "
                f"{len(set(keys))} {'rows' if units is None else 'units'} for {use}, so the "
                "context would be tested nowhere; give a larger `share`, or more data"
            )
        return taken

    def _of_group(self, index: Array, use: str) -> Array:
        of = self.context.of
        # The longest: a column may be called `sex=f` beside one called `sex`.
        column = max((name for name in self.rows.groups if of.startswith(f"{name}=")), key=len)
        values = self.rows.groups[column][index]
        taken: Array = index[values == of.removeprefix(f"{column}=")]
        if not len(taken):
            raise DataError(
                f"context `{self.context.name}`: `of` is `{self.context.of}`, and no row for {use} "
                f"has it (`{column}` there: {', '.join(np.unique(values).tolist()[:8])})"
            )
        return taken

    def tables(self, use: str, index: Array) -> Iterator[tuple[str, Example]]:
        """The changed raw rows, a few at a time: memory does not grow with the file."""
        name, start = use, 0
        for known, other in self.rows.tables.items():
            if known in ("source", use):
                name = known
                break
            start += other.n
        for begin in range(0, len(index), CHUNK):
            some = index[begin : begin + CHUNK]
            raw = rows_of(self.rows.tables[name], some - start)
            yield f"{name}` in context `{self.context.name}", self._changed(raw, some)

    def _changed(self, raw: Example, index: Array) -> Example:
        columns: dict[str, Array] = dict(raw.columns)
        kept: dict[str, list[Any]] = {name: [] for name in self.columns}
        for at, row in enumerate(index):
            random = self._random(int(row))
            for name in self.columns:
                kept[name].append(self._value(raw.columns[name][at], name, random))
        for name, values in kept.items():
            columns[name] = _column_like(raw.columns[name], values)
        return Example(columns, raw.n)

    def _value(self, value: Any, column: str, random: np.random.Generator) -> Any:
        if value is None:
            return None
        given = np.asarray(value, np.float64) if self.transform.takes == "signal" else value
        try:
            return self.transform.apply(given, self.settings, random)
        except DataError as error:
            raise DataError(
                f"context `{self.context.name}`: `{self.context.transform}` of column `{column}`: "
                f"{error}"
            ) from error

    def _random(self, row: int) -> np.random.Generator:
        told = f"{self.rows.seed}\0{self.context.name}\0{self.rows.pool.digests[row]}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(told.encode()).digest()[:16]))


def _settings(context: Context, transform: Transformation) -> Settings:
    allowed = transform.settings()
    where = f"context `{context.name}`"
    for key, value in context.settings.items():
        if key not in allowed:
            raise DataError(
                f"{where}: `{key}` is not a setting of `{context.transform}` "
                f"(allowed: {', '.join(f'`{name}`' for name in allowed) or 'none'})"
            )
        if not within(allowed[key], value):
            raise DataError(
                f"{where}: `{key}` of `{context.transform}` must be {describe(allowed[key])}; got "
                f"{value!r}"
            )
    return {key: context.settings.get(key, allowed[key].default) for key in allowed}


def _columns(
    context: Context, transform: Transformation, table: Example, fed: Sequence[str]
) -> tuple[str, ...]:
    where = f"context `{context.name}`"
    wanted = context.columns or tuple(fed)
    unknown = [name for name in wanted if name not in table.columns]
    if unknown:
        raise DataError(
            f"{where}: there is no column {', '.join(f'`{name}`' for name in unknown)}; the data "
            f"has {', '.join(f'`{name}`' for name in table.columns)}"
        )
    fitting = [name for name in wanted if transform.takes in _kinds(table.columns[name])]
    if not fitting or (context.columns and len(fitting) < len(wanted)):
        shown = ", ".join(f"`{name}` ({_told(table.columns[name])})" for name in wanted[:8])
        raise DataError(
            f"{where}: `{context.transform}` changes {KINDS[transform.takes]}, and the columns "
            f"that it would change are {shown}; choose a transformation for these, or name other "
            "`columns`"
        )
    return tuple(fitting)


def _kinds(column: Array) -> set[Taken]:
    found: set[Taken] = set()
    if column.dtype.kind == "O":
        first = next((value for value in column.ravel() if value is not None), None)
        found |= {"image"} if isinstance(first, bytes) else set()
        found |= {"text"} if isinstance(first, str) else set()
        return found
    if column.dtype == np.uint8 and (
        column.ndim == 3 or (column.ndim == 4 and column.shape[3] in (1, 3))
    ):
        found.add("image")
    if column.dtype.kind in "iuf" and column.ndim >= 2 and column[0].size > 1:
        found.add("signal")
    return found


def _told(column: Array) -> str:
    kinds = sorted(_kinds(column))
    return " or ".join(kinds) if kinds else f"{column.dtype} of shape {column.shape}"


def _column_like(column: Array, values: list[Any]) -> Array:
    """The values as a column of the same dtype; whole numbers are rounded and cut to its ends."""
    if column.dtype.kind == "O":
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made
    stacked = np.stack(values)
    if column.dtype.kind in "iu" and stacked.dtype.kind == "f":
        ends = np.iinfo(column.dtype)
        stacked = np.clip(np.rint(stacked), ends.min, ends.max)
    return stacked.astype(column.dtype)
