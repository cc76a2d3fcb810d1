"""The encoder `tokenizer`: text through the model's own tokenizer.json."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import DataError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Model input -> attribute of an encoding of the `tokenizers` package."""

BATCH = 4096
"""Texts encoded at once, so that memory does not grow with the file."""

OPEN = 16
"""Tokenizers that are kept open."""


class TokenizerEncoder:
    """Text columns -> token ids, mask and segment ids, padded on the right.

    Settings: `max_length` (tokens, special ones included), `pad_id`, `columns` (one text column,
    or two that are encoded as a pair) and `prompt` (put in front of each text), written by the loader
    and completed by `bind`.
    """

    name: ClassVar[str] = "tokenizer"
    packages: ClassVar[tuple[str, ...]] = ("tokenizers",)

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles the text column, or the two columns of a pair.

        Columns that the settings name already stay; otherwise one column is the text, and two
        are a pair (whoever offers two says that they are one).

        Raises:
            DataError: if none or more than two columns are left, or a named one is missing.
        """
        named = _columns(encoder)
        missing = [name for name in named if name not in columns]
        if missing:
            raise DataError(
                f"the text column `{missing[0]}` is not in the data; it has {_listed(columns)}"
            )
        chosen = named or columns
        if not 1 <= len(chosen) <= 2:
            raise DataError(
                "the model takes one text column, or two for pairs of texts; left are "
                f'{_listed(columns)}: name them, for example data.inputs = ["text"]'
            )
        return Encoder.of(
            encoder.kind,
            {**encoder.settings, "columns": list(chosen)},
            folder=encoder.folder,
            files=encoder.files,
            labels=encoder.labels,
        )

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Encodes texts; too long ones are cut to `max_length`, as the tokenizer would.

        Raises:
            DataError: for a missing column, or a value that is not text; says row and column.
        """
        columns = _columns(encoder)
        if not columns:
            raise DataError("no text column was chosen; bind the encoder to a table first")
        prompt = str(encoder.settings.get("prompt", ""))
        texts = [[prompt + text for text in _texts(examples, name)] for name in columns]
        tokenizer = _tokenizer(encoder)
        rows: dict[str, list[Array]] = {name: [] for name in _inputs(model)}
        for start in range(0, examples.n, BATCH):
            parts = [column[start : start + BATCH] for column in texts]
            batch = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
            for encoding in tokenizer.encode_batch(batch):
                for name, values in rows.items():
                    values.append(np.asarray(getattr(encoding, FIELDS[name]), dtype=np.int64))
        return _padded(rows, examples.n, _pads(encoder, model))

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up token ids at lengths from an eighth to the whole of `max_length`."""
        rng = np.random.default_rng(seed)
        longest = _whole(encoder, "max_length")
        size = _tokenizer(encoder).get_vocab_size()
        choices = sorted({max(2, longest // part) for part in (8, 4, 2, 1)})
        rows: dict[str, list[Array]] = {name: [] for name in _inputs(model)}
        for length in rng.choice(choices, size=n):
            made = {
                "input_ids": rng.integers(0, size, length, dtype=np.int64),
                "attention_mask": np.ones(length, dtype=np.int64),
                "token_type_ids": np.zeros(length, dtype=np.int64),
            }
            for name, values in rows.items():
                values.append(made[name])
        return _padded(rows, n, _pads(encoder, model))


def _columns(encoder: Encoder) -> tuple[str, ...]:
    named = encoder.settings.get("columns", [])
    return tuple(str(name) for name in named) if isinstance(named, Sequence) else ()


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns) or "no column"


def _whole(encoder: Encoder, key: str) -> int:
    value = encoder.settings.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ModelError(f"the tokenizer's setting `{key}` must be a whole number; got {value!r}")
    return value


def _inputs(model: Model) -> tuple[str, ...]:
    unknown = [spec.name for spec in model.inputs if spec.name not in FIELDS]
    if unknown:
        raise ModelError(f"the model takes `{unknown[0]}`; a tokenizer makes {', '.join(FIELDS)}")
    return tuple(spec.name for spec in model.inputs)


def _pads(encoder: Encoder, model: Model) -> Mapping[str, float]:
    pad_id = _whole(encoder, "pad_id")
    return {name: float(pad_id if name == "input_ids" else 0) for name in _inputs(model)}


def _texts(examples: Example, name: str) -> list[str]:
    if name not in examples.columns:
        raise DataError(
            f"the text column `{name}` is not in the data; it has {_listed([*examples.columns])}"
        )
    values: list[Any] = list(examples.columns[name])
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(
                f"row {row} of column `{name}` must be text (an empty text is allowed); "
                f"got {value!r} ({type(value).__name__}): drop or fill such rows"
            )
    return [str(value) for value in values]


def _tokenizer(encoder: Encoder) -> Tokenizer:
    path = Path(encoder.folder) / encoder.files[0]
    return _opened(path, encoder.digest or _stamp(path), _whole(encoder, "max_length"))


@functools.lru_cache(maxsize=OPEN)
def _opened(path: Path, content: str, longest: int) -> Tokenizer:
    """Opens a tokenizer once for each content: reading it takes longer than encoding a few texts.

    A server goes on with what it opened, even where another bundle has taken the folder since.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises a bare Exception for every bad file
        raise ModelError(f"{path} is not a tokenizer that can be read: {error}") from error
    # The file may ask for a fixed length, as MiniLM's does; padding is the batch's business.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=longest)
    return tokenizer


def _stamp(path: Path) -> str:
    """Stands for the content of a file that nobody hashed."""
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"{path} is not a tokenizer that can be read: {error}") from error
    return f"{found.st_mtime_ns} {found.st_size}"


def _padded(rows: Mapping[str, list[Array]], n: int, pad: Mapping[str, float]) -> Encoded:
    lengths = np.array([len(values) for values in next(iter(rows.values()))], dtype=np.int64)
    if len(lengths) and not lengths.all():
        raise DataError(
            f"row {int(np.argmin(lengths))} has no token (length 0): its text is empty and the "
            "tokenizer adds none, so the model has nothing to answer; drop or fill such rows"
        )
    longest = max(1, int(lengths.max(initial=0)))
    arrays: dict[str, Array] = {}
    for name, values in rows.items():
        filled = np.full((n, longest), int(pad[name]), dtype=np.int64)
        for place, row in enumerate(values):
            filled[place, : len(row)] = row
        arrays[name] = filled
    return Encoded(arrays, pad=dict(pad), lengths=lengths)
