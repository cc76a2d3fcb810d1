"""The parts of an input that are replaced one by one: tokens, columns, patches, stretches.

What the parts are follows from the inputs alone: padded ids with a tokenizer are text, one value a
row (or one matrix with named columns) a table, an array of three axes a row an image; anything else
is a sequence that is cut into stretches.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.attribution import Layout
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import MissingDependency, UsageError

STRETCHES = 32
"""Parts of a long input at most; each costs one run of both models a row."""

PATCHES = 8
"""Patches along each side of an image at most."""

SPECIAL = ("[MASK]", "<mask>", "[UNK]", "<unk>")
"""Tokens that stand for a removed one, the best first."""

Row = Mapping[str, Array]
"""One encoded row: input -> array without the batch axis, padding cut off."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a row: what a person reads, and which values of which input it holds."""

    label: str
    input: str
    place: Any


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """A row taken apart.

    Attributes:
        parts: in reading order.
        fill: what replaces the values of an input; `None` takes them from other rows.
        grid: rows and columns of patches, for an image.
        picture: PNG in base64, for an image.
    """

    parts: tuple[Part, ...]
    fill: Array | float | None = None
    grid: tuple[int, int] | None = None
    picture: str = ""


def layout_of(model: Model, ragged: Sequence[str]) -> Layout:
    """What kind of parts the inputs of a model have; `ragged` names those that are padded."""
    if ragged and "tokenizer.json" in model.encoder.files:
        return "text"
    columns = model.encoder.settings.get("columns")
    shapes = [spec.shape[1:] for spec in model.inputs]
    single = all(shape in ((), (1,)) for shape in shapes)
    named = len(shapes) == 1 and len(shapes[0]) == 1 and isinstance(columns, list)
    if single or (named and model.encoder.kind != "arrays"):
        return "table"
    return "image" if len(shapes) == 1 and len(shapes[0]) == 3 else "sequence"


def take_apart(model: Model, layout: Layout, row: Row) -> Parted:
    """Takes a row apart.

    Raises:
        UsageError: if there is nothing to take apart.
        MissingDependency: if `tokenizers` is missing for tokens, or pillow for an image.
    """
    parted = _WAYS[layout](model, row)
    if not parted.parts:
        raise UsageError("the rows have no part that could be replaced: every token is special")
    return parted


def _text(model: Model, row: Row) -> Parted:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependency(
            "tokens can't be read without the package tokenizers: pip install 'jettison[data]'"
        ) from error
    tokenizer = Tokenizer.from_file(str(Path(model.encoder.folder) / "tokenizer.json"))
    ids = row["input_ids"]
    added = {
        number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
    }
    found = [n for name in SPECIAL if (n := tokenizer.token_to_id(name)) is not None]
    pad = model.encoder.settings.get("pad_id", 0)
    fill = found[0] if found else float(pad if isinstance(pad, int | float) else 0)
    parts = tuple(
        Part(tokenizer.id_to_token(int(token)) or str(token), "input_ids", place)
        for place, token in enumerate(ids.tolist())
        if int(token) not in added
    )
    return Parted(parts, fill)


def _table(model: Model, row: Row) -> Parted:
    columns = model.encoder.settings.get("columns")
    names = [str(name) for name in columns] if isinstance(columns, list) else []
    if len(model.inputs) == 1 and row[model.inputs[0].name].size > 1:
        spec = model.inputs[0]
        values = row[spec.name]
        names = names if len(names) == values.size else [f"column {i}" for i in range(values.size)]
        found: list[tuple[str, str, Any, Any]] = [
            (n, spec.name, place, values[place]) for place, n in enumerate(names)
        ]
    else:
        inputs = [spec.name for spec in model.inputs]
        names = names if len(names) == len(inputs) else inputs
        found = [(n, i, ..., row[i].reshape(-1)[0]) for n, i in zip(names, inputs, strict=True)]
    return Parted(tuple(Part(f"{n} = {_shown(v)}", i, place) for n, i, place, v in found))


def _shown(value: Any) -> str:
    return f"{float(value):.6g}" if isinstance(value, int | float | np.number) else str(value)


def _image(model: Model, row: Row) -> Parted:
    name = model.inputs[0].name
    pixels = row[name]
    # Channels are the shortest axis: (channels, height, width), or last as TensorFlow has them.
    last = pixels.shape[2] < pixels.shape[0]
    height, width = pixels.shape[:2] if last else pixels.shape[1:]
    down, across = (np.array_split(np.arange(size), min(PATCHES, size)) for size in (height, width))
    parts = []
    for rows in down:
        for columns in across:
            place = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            label = f"rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]}"
            parts.append(Part(label, name, place if last else (slice(None), *place)))
    mean = pixels.mean(axis=(0, 1) if last else (1, 2), keepdims=True)
    picture = _png(pixels if last else np.moveaxis(pixels, 0, -1))
    return Parted(
        tuple(parts), np.broadcast_to(mean, pixels.shape), (len(down), len(across)), picture
    )


def _png(pixels: Array) -> str:
    """The image as the model got it, stretched to full contrast: shape (height, width, channels)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency(
            "images can't be drawn without the package pillow: pip install 'jettison[data]'"
        ) from error
    low, high = float(pixels.min()), float(pixels.max())
    scaled = ((pixels - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    shown = scaled if scaled.shape[2] == 3 else scaled[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _sequence(model: Model, row: Row) -> Parted:
    each = max(1, STRETCHES // len(model.inputs))
    parts = []
    for spec in model.inputs:
        length = row[spec.name].shape[0] if row[spec.name].ndim else 1
        for places in np.array_split(np.arange(length), min(each, length)):
            first, end = int(places[0]), int(places[-1]) + 1
            where = f"{first}" if end - first == 1 else f"{first} to {end - 1}"
            place = slice(first, end) if row[spec.name].ndim else ...
            parts.append(Part(f"{spec.name} {where}", spec.name, place))
    return Parted(tuple(parts))


_WAYS = {"text": _text, "table": _table, "image": _image, "sequence": _sequence}
