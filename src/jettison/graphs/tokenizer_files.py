"""The tokenizer beside a model: copied, checked, and described as an encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jettison.domain.encoder import Encoder, Setting
from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import read_json

__all__ = [
    "DEFAULT_LENGTH",
    "TOKENIZER",
    "copy_files",
    "lower_case",
    "optional_json",
    "padding_id",
    "text_encoder",
    "token_limit",
]

DEFAULT_LENGTH = 256
"""Tokens; longer texts are rare, and cost grows faster than length."""

TOKENIZER = "tokenizer.json"

TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
"""Inputs that a tokenizer makes; a model that takes these and no other is a text model."""

NO_LIMIT = 1e9
"""transformers writes 1e30 where a tokenizer has no limit."""


def text_encoder(
    origin: Path,
    folder: Path,
    inputs: tuple[TensorSpec, ...],
    max_length: int,
    labels: tuple[str, ...] = (),
) -> Encoder | None:
    """Describes the tokenizer.json in `origin` as the encoder of a graph with text inputs.

    Args:
        origin: the folder that the graph lies in.
        folder: gets a copy of tokenizer.json.
        inputs: of the graph.
        max_length: tokens a text is cut to; 0 for 256, or the tokenizer's limit if that is less.
        labels: class names in score order.

    Returns:
        `None` where the inputs are not `input_ids` (with `attention_mask`, `token_type_ids`) of
        int64 and of any length, or where there is no tokenizer.json.

    Raises:
        ModelError: if the tokenizer can't be read, or `max_length` is beyond its limit.
    """
    names = {spec.name for spec in inputs}
    free = all(s.dtype == "int64" and [str, str] == [type(d) for d in s.shape] for s in inputs)
    if not ("input_ids" in names <= TEXT_INPUTS and free and (origin / TOKENIZER).is_file()):
        return None
    limit = token_limit(origin)
    if max_length < 0 or max_length == 1 or (limit and max_length > limit):
        raise ModelError(
            f"max_length must be from 2 to {limit or 'any length'} tokens for the tokenizer in "
            f"{origin}; got {max_length}"
        )
    copy_files(origin, (TOKENIZER,), folder)
    length = max_length or min(v for v in (DEFAULT_LENGTH, limit) if v)
    settings: dict[str, Setting] = {
        "max_length": length,
        "pad_id": padding_id(origin, folder / TOKENIZER, 0),
    }
    return Encoder.of("tokenizer", settings, folder=folder, files=(TOKENIZER,), labels=labels)


def token_limit(origin: Path) -> int:
    """The most tokens that tokenizer_config.json allows; 0 if it does not say."""
    limit = optional_json(origin / "tokenizer_config.json").get("model_max_length")
    return int(limit) if isinstance(limit, int | float) and 0 < limit < NO_LIMIT else 0


def padding_id(origin: Path, path: Path, default: int) -> int:
    """Finds the id of the padding token.

    Args:
        origin: folder with special_tokens_map.json or tokenizer_config.json, if there are any.
        path: of the tokenizer.json, which is checked by reading it.
        default: where none of these files names a padding token.

    Raises:
        ModelError: if the tokenizer can't be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises a bare Exception for every bad file
        raise ModelError(f"{origin / TOKENIZER} is not a readable tokenizer: {error}") from error
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        token = optional_json(origin / name).get("pad_token")
        text = token.get("content") if isinstance(token, dict) else token
        number = tokenizer.token_to_id(str(text)) if text else None
        if number is not None:
            return int(number)
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    return default


def lower_case(path: Path) -> None:
    """Lets a tokenizer.json lower-case each text first, where it does not do so by itself."""
    held = read_json(path)
    whole = held.get("normalizer") or {"type": "Sequence", "normalizers": []}
    parts = whole["normalizers"] if whole["type"] == "Sequence" else [whole]
    if not any(part["type"] == "Lowercase" or part.get("lowercase") for part in parts):
        held["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *parts]}
        path.write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")


def optional_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; an absent file is an empty one."""
    held = read_json(path) if path.is_file() else {}
    return held if isinstance(held, dict) else {}


def copy_files(origin: Path, names: tuple[str, ...], folder: Path) -> None:
    """Copies files; not links, because the user may go on to change the original.

    Raises:
        ModelError: if one can't be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            shutil.copyfile(origin / name, folder / name)
        except OSError as error:
            raise ModelError(f"{origin / name} can't be copied to {folder}: {error}") from error
