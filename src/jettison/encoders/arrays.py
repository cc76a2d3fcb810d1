"""The encoder `arrays`: arrays that already are what the model takes, checked and cast safely."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.casting import cast_column, check_finite, check_shape
from jettison.numerics.made_up_inputs import FREE_SIZE, made_up_inputs


class ArraysEncoder:
    """Feeds each input from the array of its name; one input also from whatever is at hand.

    Settings:
        columns: the arrays or columns that feed the model, in order; set by `bind`.
        missing: inputs that take NaN as a missing value; elsewhere it is refused.
        free_size: size of free dimensions in made-up inputs.
    """

    name: ClassVar[str] = "arrays"

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles which arrays feed the model.

        All inputs by name if the names are there. A single input takes the only column, or, when
        it is a matrix as wide as the table, all columns in their order.

        Raises:
            DataError: if it can't be settled; says what is at hand and what the model takes.
        """
        names = tuple(spec.name for spec in model.inputs)
        if set(names) <= set(columns):
            chosen = names
        elif len(names) == 1 and (len(columns) == 1 or _is_as_wide(model.inputs[0], len(columns))):
            chosen = columns
        else:
            wanted = "; ".join(f"`{s.name}` {s.dtype} {s.shape}" for s in model.inputs)
            raise DataError(
                f"the model takes {wanted}; the data has the columns "
                f"{', '.join(f'`{c}`' for c in columns) or '(none)'}: name the arrays like the "
                "inputs, or say in `data.inputs` which columns to use (one input: one array, or as "
                "many number columns as the input is wide)"
            )
        settings = {**encoder.settings, "columns": list(chosen)}
        return Encoder.of(
            encoder.kind,
            settings,
            folder=encoder.folder,
            files=encoder.files,
            labels=encoder.labels,
        )

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Casts, shapes and checks the bound arrays.

        Raises:
            DataError: for wrong dtypes, shapes, NaN or infinite values; says row and column.
        """
        columns = _bound(encoder)
        for column in columns:
            if column not in examples.columns:
                raise DataError(
                    f"the data lacks the column `{column}`, which feeds the model; it has "
                    f"{', '.join(f'`{c}`' for c in examples.columns)}"
                )
        arrays: dict[str, Array] = {}
        if len(columns) == len(model.inputs):
            for spec, column in zip(model.inputs, columns, strict=True):
                arrays[spec.name] = _one(examples, column, spec)
        else:
            spec = model.inputs[0]
            flat = dataclasses.replace(spec, shape=spec.shape[:1])
            stacked = [_one(examples, column, flat) for column in columns]
            arrays[spec.name] = np.stack(stacked, axis=1)
        missing = encoder.settings.get("missing")
        allowed = missing if isinstance(missing, list) else []
        for spec in model.inputs:
            where = f"input `{spec.name}`"
            check_shape(arrays[spec.name], spec, examples.n, where)
            check_finite(arrays[spec.name], where, missing_allowed=spec.name in allowed)
        return Encoded(arrays)

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up inputs: normal floats, integers 0 or 1."""
        size = encoder.settings.get("free_size", FREE_SIZE)
        return Encoded(
            made_up_inputs(model.inputs, n, seed, size if isinstance(size, int) else FREE_SIZE)
        )


def _is_as_wide(spec: TensorSpec, count: int) -> bool:
    return len(spec.shape) == 2 and (isinstance(spec.shape[1], str) or spec.shape[1] == count)


def _bound(encoder: Encoder) -> list[str]:
    columns = encoder.settings.get("columns")
    if not isinstance(columns, list) or not columns:
        raise DataError("the encoder was not bound to columns of the data; call `bind` first")
    return [str(column) for column in columns]


def _one(examples: Example, column: str, spec: TensorSpec) -> Array:
    array = cast_column(examples.columns[column], spec, f"column `{column}`")
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
