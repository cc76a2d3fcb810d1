"""The encoder `arrays`: arrays that already are what the model takes, checked and cast safely.

Rows may differ in length where the second dimension of an input is free: they are padded on the
right, and a mask or the lengths are made where the model takes them and the data has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.casting import cast_column, check_finite, check_shape
from jettison.numerics.made_up_inputs import FREE_SIZE, made_up_inputs
from jettison.numerics.ragged_columns import (
    as_numbers,
    cast_ragged,
    column_of,
    holds_arrays,
    padded,
)

MADE = ("mask", "row_lengths")
"""Settings that name an input which is made from the lengths of the rows."""


class ArraysEncoder:
    """Feeds each input from the array of its name; one input also from whatever is at hand.

    Settings:
        columns: the arrays or columns that feed the model, in order; set by `bind`.
        missing: inputs that take NaN as a missing value; elsewhere it is refused.
        free_size: size of free dimensions in made-up inputs.
        padding: fills rows that are shorter than the longest of their batch (0).
        mask: the input that is 1 where a row has entries and 0 where it is padded; set by `bind`.
        row_lengths: the input that is the number of entries of each row; set by `bind`.
    """

    name: ClassVar[str] = "arrays"
    table: ClassVar[str] = "arrays"
    """The table of jettison.toml that sets it."""

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles which arrays feed the model.

        All inputs by name if the names are there. A single input takes the only column, or, when
        it is a matrix as wide as the table, all columns in their order. A mask, and lengths, that
        the data has no column for are made from the lengths of the rows.

        Raises:
            DataError: if it can't be settled; says what is at hand and what the model takes.
        """
        made = _made_inputs(model, columns)
        names = tuple(spec.name for spec in model.inputs if spec.name not in made.values())
        if set(names) <= set(columns):
            chosen = names
        elif len(names) == 1 and (
            len(columns) == 1 or (not made and _is_as_wide(model.inputs[0], len(columns)))
        ):
            chosen = columns
        else:
            wanted = "; ".join(f"`{s.name}` {s.dtype} {s.shape}" for s in model.inputs)
            raise DataError(
                f"the model takes {wanted}; the data has the columns "
                f"{', '.join(f'`{c}`' for c in columns) or '(none)'}: name the arrays like the "
                "inputs, or say in `data.inputs` which columns to use (one input: one array, or as "
                "many number columns as the input is wide)"
            )
        settings = {**encoder.settings, "columns": list(chosen), **made}
        return Encoder.of(
            encoder.kind,
            settings,
            folder=encoder.folder,
            files=encoder.files,
            labels=encoder.labels,
        )

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Casts, shapes and checks the bound arrays; pads rows of different lengths.

        Raises:
            DataError: for wrong dtypes, shapes, NaN or infinite values, and rows without entries;
                says row and column.
        """
        columns = _bound(encoder)
        for column in columns:
            if column not in examples.columns:
                raise DataError(
                    f"the data lacks the column `{column}`, which feeds the model; it has "
                    f"{', '.join(f'`{c}`' for c in examples.columns)}"
                )
        made = {str(encoder.settings[key]): key for key in MADE if key in encoder.settings}
        fed = [spec for spec in model.inputs if spec.name not in made]
        arrays: dict[str, Array] = {}
        ragged: dict[str, list[Array]] = {}
        if len(columns) == len(fed):
            for spec, column in zip(fed, columns, strict=True):
                if _is_ragged(spec) and holds_arrays(examples.columns[column]):
                    where = f"column `{column}`"
                    held = examples.columns[column]
                    ragged[spec.name] = cast_ragged(held, spec, where, examples.files)
                else:
                    arrays[spec.name] = _one(examples, column, spec)
            together = {spec.shape[1] for spec in fed if spec.name in ragged}
            for spec in fed:
                # Equally long rows beside ragged ones: they must be as long, and are padded too.
                if spec.name in arrays and set(spec.shape[1:2]) & together:
                    ragged[spec.name] = list(arrays.pop(spec.name))
        else:
            spec = model.inputs[0]
            flat = dataclasses.replace(spec, shape=spec.shape[:1])
            stacked = [_one(examples, column, flat) for column in columns]
            arrays[spec.name] = np.stack(stacked, axis=1)
        return _Parts(arrays, ragged, made).encoded(encoder, model, examples.n)

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up inputs: normal floats, integers 0 or 1; masks keep all, lengths are whole."""
        size = encoder.settings.get("free_size", FREE_SIZE)
        whole = size if isinstance(size, int) else FREE_SIZE
        arrays = dict(made_up_inputs(model.inputs, n, seed, whole))
        for spec in model.inputs:
            if spec.name in (encoder.settings.get("mask"), encoder.settings.get("row_lengths")):
                arrays[spec.name] = np.full(
                    arrays[spec.name].shape, 1 if len(spec.shape) == 2 else whole, spec.dtype
                )
        return Encoded(arrays)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was read: whole arrays, rows of different lengths, and inputs that are made of these."""

    arrays: dict[str, Array]
    ragged: dict[str, list[Array]]
    made: Mapping[str, str]

    def encoded(self, encoder: Encoder, model: Model, n: int) -> Encoded:
        """Pads what is ragged, makes masks and lengths, and checks every input."""
        lengths = self._lengths(n)
        padding = encoder.settings.get("padding", 0.0)
        fill = float(padding) if isinstance(padding, int | float) else 0.0
        # What is filled in is never attended to, whatever fills the other inputs.
        pad = {name: 0.0 if "mask" in name.lower() else fill for name in self.ragged}
        _check_fill(self.ragged, pad)
        arrays = {**self.arrays, **{name: padded(v, pad[name]) for name, v in self.ragged.items()}}
        for spec in model.inputs:
            if self.made.get(spec.name) == "mask":
                arrays[spec.name] = (np.arange(lengths.max()) < lengths[:, None]).astype(spec.dtype)
                pad |= {spec.name: 0.0} if self.ragged else {}
            elif spec.name in self.made:
                arrays[spec.name] = lengths.astype(spec.dtype).reshape(n, *spec.shape[1:])
        missing = encoder.settings.get("missing")
        allowed = missing if isinstance(missing, list) else []
        for spec in model.inputs:
            where = f"input `{spec.name}`"
            check_shape(arrays[spec.name], spec, n, where)
            check_finite(arrays[spec.name], where, missing_allowed=spec.name in allowed)
            if not arrays[spec.name].size:
                raise DataError(
                    f"{where} has shape {arrays[spec.name].shape}: its rows hold nothing (length "
                    "0), of which no model makes an answer; give rows with entries"
                )
        return Encoded(arrays, pad=pad, lengths=lengths if self.ragged else None)

    def _lengths(self, n: int) -> Array:
        """Entries of each row, shape (n,); inputs that are padded together have the same."""
        first = next(iter(self.ragged), "")
        if not first:
            wide = next((v.shape[1] for v in self.arrays.values() if v.ndim > 1), 1)
            return np.full(n, wide, dtype=np.int64)
        lengths = np.array([len(values) for values in self.ragged[first]], dtype=np.int64)
        for name, rows in self.ragged.items():
            found = np.array([len(values) for values in rows], dtype=np.int64)
            odd = np.flatnonzero(found != lengths)
            if len(odd):
                raise DataError(
                    f"row {odd[0]} has {found[odd[0]]} entries for input `{name}` and "
                    f"{lengths[odd[0]]} for `{first}`; inputs whose rows differ in length are "
                    "padded together, so each row needs as many for both"
                )
        return lengths


def _check_fill(ragged: Mapping[str, list[Array]], pad: Mapping[str, float]) -> None:
    for name, rows in ragged.items():
        kind = rows[0].dtype
        with np.errstate(invalid="ignore"):
            held = float(np.asarray(pad[name]).astype(kind))
        if kind.kind in "iub" and held != pad[name]:
            raise DataError(
                f"`arrays.padding` is {pad[name]:g}, which input `{name}` ({kind}) can't hold: give "
                "a number that it can"
            )


def _made_inputs(model: Model, columns: tuple[str, ...]) -> dict[str, str]:
    """Inputs that the lengths of the rows tell, by what they are: `mask` or `row_lengths`."""
    made: dict[str, str] = {}
    if not any(_is_ragged(spec) and "mask" not in spec.name.lower() for spec in model.inputs):
        return made
    for spec in model.inputs:
        name = spec.name.lower()
        if spec.name in columns or spec.dtype == "str":
            continue
        if "mask" in name and len(spec.shape) == 2 and _is_ragged(spec):
            made["mask"] = spec.name
        elif "len" in name and "int" in spec.dtype and spec.shape[1:] in ((), (1,)):
            made["row_lengths"] = spec.name
    return made


def _is_ragged(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and isinstance(spec.shape[1], str) and spec.dtype != "str"


def _is_as_wide(spec: TensorSpec, count: int) -> bool:
    return len(spec.shape) == 2 and (isinstance(spec.shape[1], str) or spec.shape[1] == count)


def _bound(encoder: Encoder) -> list[str]:
    columns = encoder.settings.get("columns")
    if not isinstance(columns, list) or not columns:
        raise DataError("the encoder was not bound to columns of the data; call `bind` first")
    return [str(column) for column in columns]


def _one(examples: Example, column: str, spec: TensorSpec) -> Array:
    values = examples.columns[column]
    if holds_arrays(values) and spec.dtype != "str":
        values = column_of([as_numbers(value) for value in values.tolist()])
    array = cast_column(values, spec, f"column `{column}`")
    if array.ndim == 1 and len(spec.shape) == 2 and spec.shape[1] in (1, *_free(spec)):
        return array.reshape(-1, 1)
    if array.ndim != len(spec.shape):
        raise DataError(
            f"column `{column}` has shape {array.shape}, but input `{spec.name}` takes "
            f"{len(spec.shape)} dimensions {spec.shape}: reshape it, or name other columns in "
            "`data.inputs`"
        )
    return array


def _free(spec: TensorSpec) -> tuple[int | str, ...]:
    return tuple(size for size in spec.shape[1:] if isinstance(size, str))
