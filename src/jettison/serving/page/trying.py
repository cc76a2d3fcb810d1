"""What a person may type to try a model: a text, or one row with an example of each column."""

from __future__ import annotations

import json
import math
from typing import Any

from jettison.domain.model import Model, TensorSpec

LARGEST_ROW = 10_000
"""Numbers that somebody could still type or paste into a page."""

_TEXT_FILES = frozenset({"tokenizer.json", "vocab.txt"})
_TOO_LARGE = (
    "One row of this model holds {size:,} numbers, too many to type here. Ask it with a program: "
    "POST /v2/models/{{name}}/infer."
)


def example(model: Model) -> dict[str, str]:
    """Describes the field to type into.

    Returns:
        `kind`: `text`, `row` (JSON) or `none`; `label`: what to type; `example`: to begin with.
    """
    columns = _columns(model)
    if _TEXT_FILES & set(model.encoder.files):
        if len(columns) <= 1:
            return {"kind": "text", "label": "A text", "example": ""}
        return _row(dict.fromkeys(columns, "a text"))
    size = sum(math.prod(_inner(spec)) for spec in model.inputs)
    if size > LARGEST_ROW:
        return {"kind": "none", "label": _TOO_LARGE.format(size=size), "example": ""}
    if len(columns) == len(model.inputs):
        pairs = zip(columns, model.inputs, strict=True)
        return _row({column: _start(model, column, spec) for column, spec in pairs})
    return _row({column: _start(model, column, None) for column in columns})


def _columns(model: Model) -> list[str]:
    settled = model.encoder.settings.get("columns")
    if isinstance(settled, list) and settled:
        return [str(name) for name in settled]
    return [spec.name for spec in model.inputs]


def _start(model: Model, column: str, spec: TensorSpec | None) -> Any:
    """A value of the right kind: a category that the model knows, a text, or zeros."""
    known = model.encoder.settings.get(f"categories.{column}")
    if isinstance(known, list) and known:
        return known[0]
    if spec is None:
        return 0
    return _filled("" if spec.dtype == "str" else 0, _inner(spec))


def _inner(spec: TensorSpec) -> list[int]:
    """The shape of one row; one where a dimension is free. A column of width 1 is one value."""
    shape = [size if isinstance(size, int) else 1 for size in spec.shape[1:]]
    return [] if shape == [1] else shape


def _filled(value: Any, shape: list[int]) -> Any:
    if not shape:
        return value
    return [_filled(value, shape[1:]) for _ in range(shape[0])]


def _row(values: dict[str, Any]) -> dict[str, str]:
    """One line a column, so that a row of many columns can be read and changed."""
    lines = ",\n".join(f"  {json.dumps(c)}: {json.dumps(v)}" for c, v in values.items())
    return {"kind": "row", "label": "One row, as JSON", "example": f"{{\n{lines}\n}}"}
