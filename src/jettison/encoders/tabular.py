"""The encoder `tabular`: columns of a table, text included, in the order that the model takes."""

from __future__ import annotations

import difflib
import re
from typing import ClassVar

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.casting import cast_column, check_finite
from jettison.numerics.made_up_inputs import made_up_inputs


class TabularEncoder:
    """Feeds a model from a table: one matrix of numbers, or one input per column.

    A missing number (NaN) is let through where the model takes it, and refused elsewhere. A
    missing text is always refused: models have no word for it.

    Settings:
        layout: `matrix` (one input of shape (n, k)) or `columns` (k inputs of shape (n, 1)).
        columns: the columns in the order of the inputs; settled by `bind` if the model has none.
        missing: inputs that take NaN as a missing value.
        categories.NAME: the values that the model knows, by column or input name.
        strict: columns or inputs in which an unknown value is an error.
    """

    name: ClassVar[str] = "tabular"

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles which columns feed the model.

        The ones that the model was fitted on, by name (exporters write `_` for characters such as
        `-`: such a name finds its column if only one fits); or all that are at hand, if they are
        as many as the model takes; or a single one, if it is an array as wide as the model.

        Raises:
            DataError: if a column is missing, or the number does not fit.
        """
        wanted = _strings(encoder, "columns")
        if not wanted:
            width = _width(model)
            if len(columns) not in (1, width):
                raise DataError(
                    f"the model takes {width} columns in the order of its training, but does not "
                    f"know their names; the data has {len(columns)}: "
                    f"{', '.join(f'`{c}`' for c in columns) or '(none)'}. List the {width} columns "
                    "in order in `data.inputs`, or name one array of that width there"
                )
            wanted = list(columns)
        wanted = [_at_hand(column, columns) for column in wanted]
        absent = [column for column in wanted if column not in columns]
        if absent:
            raise DataError(
                f"the model takes columns that the data lacks: {_near(absent, columns)}; the data "
                f"has {', '.join(f'`{c}`' for c in columns) or '(none)'}. Name them as they were "
                "when the model was fitted, and leave them out of `target`, `unit` and `weight`"
            )
        return Encoder.of(
            encoder.kind,
            {**encoder.settings, "columns": wanted},
            folder=encoder.folder,
            files=encoder.files,
            labels=encoder.labels,
        )

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Casts and checks the columns.

        Raises:
            DataError: for text where numbers are wanted and the reverse, missing or infinite
                values, and categories that the model does not know; says row and column.
        """
        columns = _strings(encoder, "columns")
        for column in columns:
            if column not in examples.columns:
                raise DataError(
                    f"the data lacks the column `{column}`, which feeds the model; it has "
                    f"{', '.join(f'`{c}`' for c in examples.columns)}"
                )
        width = _width(model)
        if len(columns) == 1 and width > 1:
            examples = _taken_apart(examples, columns[0], width)
            columns = list(examples.columns)
        allowed = set(_strings(encoder, "missing"))
        if encoder.settings.get("layout") == "matrix":
            spec = model.inputs[0]
            cells = [_cells(examples, column, spec, spec.name in allowed) for column in columns]
            return Encoded({spec.name: np.stack(cells, axis=1)})
        arrays: dict[str, Array] = {}
        strict = set(_strings(encoder, "strict"))
        for spec, column in zip(model.inputs, columns, strict=True):
            cells_of = _cells(examples, column, spec, spec.name in allowed)
            if strict & {spec.name, column}:
                _check_known(cells_of, column, _categories(encoder, spec.name, column))
            arrays[spec.name] = cells_of.reshape(-1, 1)
        return Encoded(arrays)

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up rows: normal numbers, and text among the known categories."""
        known: dict[str, list[str]] = {}
        if encoder.settings.get("layout") == "columns":
            for spec, column in zip(model.inputs, _strings(encoder, "columns"), strict=True):
                known[spec.name] = _categories(encoder, spec.name, column)
        return Encoded(made_up_inputs(model.inputs, n, seed, categories=known))


def _categories(encoder: Encoder, *names: str) -> list[str]:
    """The known values of a column: kept under its input's name or its own."""
    return next((v for n in names if (v := _strings(encoder, f"categories.{n}"))), [])


def _strings(encoder: Encoder, key: str) -> list[str]:
    value = encoder.settings.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _width(model: Model) -> int:
    if len(model.inputs) > 1:
        return len(model.inputs)
    size = model.inputs[0].shape[-1]
    return size if isinstance(size, int) else 0


def _taken_apart(examples: Example, column: str, width: int) -> Example:
    """The columns of an array that holds all that the model takes."""
    array = examples.columns[column]
    if array.shape != (examples.n, width):
        raise DataError(
            f"column `{column}` has shape {array.shape}, but the model takes {width} columns in the "
            f"order of its training: give an array of shape ({examples.n}, {width}), or list the "
            "columns in `data.inputs`"
        )
    return Example({f"{column}[{place}]": array[:, place] for place in range(width)}, examples.n)


def _at_hand(column: str, columns: tuple[str, ...]) -> str:
    if column in columns:
        return column
    alike = [c for c in columns if re.sub(r"\W", "_", c) == re.sub(r"\W", "_", column)]
    return alike[0] if len(alike) == 1 else column


def _near(absent: list[str], columns: tuple[str, ...]) -> str:
    told = []
    for column in absent:
        near = difflib.get_close_matches(column, columns, n=1)
        told.append(f"`{column}`" + (f" (did you mean `{near[0]}`?)" if near else ""))
    return ", ".join(told)


def _cells(examples: Example, column: str, spec: TensorSpec, missing_allowed: bool) -> Array:
    where = f"column `{column}`"
    values = cast_column(examples.columns[column], spec, where)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (examples.n,):
        raise DataError(
            f"{where} has shape {values.shape}, but a table column holds one value per row "
            f"({examples.n},): split it into columns of its own"
        )
    check_finite(values, where, missing_allowed=missing_allowed)
    return values


def _check_known(values: Array, column: str, known: list[str]) -> None:
    unknown = ~np.isin(values, known)
    if known and unknown.any():
        row = int(np.argmax(unknown))
        shown = ", ".join(f"`{k}`" for k in known[:10]) + (", ..." if len(known) > 10 else "")
        raise DataError(
            f"column `{column}` has `{values[row]}` at row {row}, a category that the model was not "
            f"fitted on and refuses (known: {shown}): drop these rows, or fit the model with "
            "handle_unknown='ignore'"
        )
