"""The files of a Hugging Face folder: which there are, and whether they are whole and safe.

Reads JSON and the headers of safetensors only; imports neither torch nor transformers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.errors import ModelError

__all__ = [
    "CLASSIFIER",
    "CONFIG",
    "IMAGES",
    "TOKENS",
    "SafetensorsSummary",
    "head_of",
    "model_files",
    "read_config",
    "read_json",
    "summarise_safetensors",
    "weight_files",
]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CLASSIFIER = "ForSequenceClassification"
TOKENS = "ForTokenClassification"
IMAGES = "ForImageClassification"
HEADS = (CLASSIFIER, TOKENS, IMAGES)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LARGEST_HEADER = 100_000_000
"""Bytes; the limit that the safetensors format itself sets."""


@dataclass(frozen=True, slots=True)
class SafetensorsSummary:
    """What the headers say: stored types (`F32`, ...) and the number of weights of each."""

    weights: dict[str, int]

    @property
    def floats(self) -> frozenset[str]:
        """The floating-point types that are stored."""
        return frozenset(kind for kind in self.weights if kind.startswith(("F", "BF")))


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ModelError: if it is missing, unreadable, not text or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read as JSON: {error}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """Reads config.json, which must be an object."""
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise ModelError(f"{folder / CONFIG} must hold a JSON object; it holds {type(config)}")
    return config


def head_of(config: dict[str, Any]) -> str:
    """The ending of the architecture's name that says what its head does; empty without one."""
    names = [str(name) for name in config.get("architectures") or ()]
    return next((head for head in HEADS for name in names if name.endswith(head)), "")


def weight_files(folder: Path) -> tuple[str, ...]:
    """The safetensors files of a folder, with their index where there are several.

    Raises:
        ModelError: if there are none, or the index names a file outside of the folder.
    """
    if (folder / WEIGHTS).exists():
        return (WEIGHTS,)
    if (folder / INDEX).exists():
        index = read_json(folder / INDEX)
        parts = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(parts, dict) or not parts:
            raise ModelError(f"{folder / INDEX} has no `weight_map`; save the model again")
        names = sorted({str(name) for name in parts.values()})
        for name in names:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise ModelError(f"{folder / INDEX} names `{name}`: not a file of this folder")
        return (*names, INDEX)
    pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} holds its weights as a pickle ({', '.join(pickles[:3])}), and opening a "
            "pickle runs code from it; convert it where you trust it: "
            f"`transformers.AutoModel.from_pretrained({str(folder)!r})"
            '.save_pretrained("converted", safe_serialization=True)` with the class named in '
            "config.json, and copy the tokenizer files beside it"
        )
    raise ModelError(
        f"{folder} has no {WEIGHTS}; save the model with "
        "`model.save_pretrained(folder, safe_serialization=True)`"
    )


def model_files(folder: Path) -> tuple[str, ...]:
    """The files of a folder that belong to the model, the config first."""
    extras = ["modules.json"] if (folder / "modules.json").exists() else []
    pooling = sorted(str(p.relative_to(folder)) for p in folder.glob("*_Pooling/config.json"))
    extras += ["preprocessor_config.json"] if head_of(read_config(folder)) == IMAGES else []
    return (CONFIG, *weight_files(folder), *extras, *pooling)


def summarise_safetensors(paths: Iterator[Path]) -> SafetensorsSummary:
    """Checks that files are whole, and counts their weights by stored type.

    Raises:
        ModelError: for a file that is empty, truncated, too long, or not safetensors.
    """
    weights: dict[str, int] = {}
    for path in paths:
        for tensor in _header(path).values():
            count = 1
            for size in tensor["shape"]:
                count *= int(size)
            weights[tensor["dtype"]] = weights.get(tensor["dtype"], 0) + count
    return SafetensorsSummary(weights)


def _header(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ModelError(f"{path} is missing, though the index beside it names it")
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise ModelError(
                f"{path} ({size} bytes) does not start with the header of a safetensors file: "
                "it is truncated or of another kind; copy or download it again"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw)
        tensors = {k: v for k, v in header.items() if k != "__metadata__"}
        end = max((int(t["data_offsets"][1]) for t in tensors.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelError(f"{path} has a damaged header: {error}; copy it again") from error
    if size != 8 + length + end:
        raise ModelError(
            f"{path} has {size} bytes where its header announces {8 + length + end}: it is "
            "truncated or was changed; copy or download it again"
        )
    return tensors
