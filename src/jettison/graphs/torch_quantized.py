"""Quantized programs on disk: a float program whose weights are integers, and how to open it.

PyTorch's quantized layers hold packed weights that only pickle knows. So the integers are stored
as plain tensors beside the float program, with what the quantizer had found; opening puts the same
layers together again with the same functions of the library.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from jettison.domain.files import write_atomically
from jettison.errors import ModelError
from jettison.graphs.torch_packing import Packed, stored, unstored
from jettison.graphs.torch_program import PROGRAM, WEIGHTS, described_program, program_of
from jettison.graphs.torch_quantize import as_dynamic, as_static
from jettison.graphs.torch_quantize_weights import as_weight_only

__all__ = ["QUANTIZED", "Quantized", "open_quantized", "save_quantized"]

QUANTIZED = "quantized.json"
VERSION = 1
ORIGIN = "_jettison_quantized_in"

Opener = Callable[[Any, Mapping[str, Packed], Mapping[str, Any]], Any]
METHODS: Mapping[str, Opener] = {
    "static": as_static,
    "dynamic": as_dynamic,
    "weight-only": as_weight_only,
}
"""How a float program and packed weights become a module of quantized layers."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """What a technique hands over to be saved.

    Attributes:
        program: an opened program; its packed weights are not read.
        method: a key of `METHODS`.
        layers: layer -> its weight.
        facts: what the method needs besides, as JSON has it.
    """

    program: Any
    method: str
    layers: Mapping[str, Packed]
    facts: Mapping[str, Any]


def save_quantized(native: Any, folder: Path) -> tuple[str, ...]:
    """Writes a quantized program, or copies one that `open_quantized` gave.

    Raises:
        ModelError: for anything else, or a program that can't be written down.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (PROGRAM, QUANTIZED, WEIGHTS)
    if isinstance(native, Quantized):
        described, tensors = described_program(native.program)
        packed: dict[str, Any] = {}
        for name, layer in native.layers.items():
            del tensors[f"{name}.weight"]
            packed |= stored(name, layer)
        layers = {
            name: {"bits": layer.bits, "shape": list(layer.integers.shape)}
            for name, layer in native.layers.items()
        }
        facts = {
            "version": VERSION,
            "method": native.method,
            "layers": layers,
            "facts": dict(native.facts),
        }
        write_atomically(folder / PROGRAM, _text(described))
        write_atomically(folder / QUANTIZED, _text(facts))
        safetensors.torch.save_file(tensors | packed, str(folder / WEIGHTS))
        return names
    origin = getattr(native, ORIGIN, None)
    if origin is None:
        raise ModelError(
            f"a `{type(native).__name__}` is no quantized program; only what a technique made, or "
            "what was opened, can be saved as one"
        )
    for name in names:
        shutil.copyfile(Path(origin) / name, folder / name)
    return names


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def open_quantized(folder: Path) -> Any:
    """Puts the quantized layers together; named tensors in, a tensor or a tuple out.

    Raises:
        ModelError: if files are missing or damaged, or hold anything but words of the format.
    """
    try:
        program = json.loads((folder / PROGRAM).read_text(encoding="utf-8"))
        held = json.loads((folder / QUANTIZED).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(str(folder / WEIGHTS))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"the quantized program in {folder} can't be read: {error}") from error
    try:
        if held["version"] != VERSION or held["method"] not in METHODS:
            raise ValueError(f"version {held['version']}, method {held['method']!r}")
        packed = {
            name: unstored(name, tensors, layer["bits"], tuple(layer["shape"]))
            for name, layer in held["layers"].items()
        }
        whole = tensors | {f"{name}.weight": layer.weight() for name, layer in packed.items()}
        module = program_of(program, whole, folder / PROGRAM)
        opened = METHODS[held["method"]](module, packed, held["facts"])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder / QUANTIZED} is damaged, or was written by another version of PyTorch "
            f"({type(error).__name__}: {error}); make the model again"
        ) from error
    setattr(opened, ORIGIN, str(folder))
    return opened
