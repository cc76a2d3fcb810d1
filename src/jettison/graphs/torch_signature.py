"""What goes into a PyTorch module and comes out: names, dtypes and shapes, as text and as types.

    image: float32[batch, 3, 32, 32]

A number is a fixed size, a word a free one; the first dimension is the batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError

__all__ = ["DTYPES", "Signature", "parse_inputs", "signature_of"]

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")

_SPEC = re.compile(r"\s*(\w+)\s*:\s*(\w+)\s*\[([^\]]*)\]\s*")
_FORM = "`name: dtype[batch, size, ...]`, for example `image: float32[batch, 3, 32, 32]`"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs of a module in the order of its `forward`, and the names of its outputs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def parse_inputs(texts: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Reads inputs that are written as `image: float32[batch, 3, 32, 32]`.

    Raises:
        ModelError: for anything else; shows the form.
    """
    specs = tuple(_parse(text) for text in texts)
    names = [spec.name for spec in specs]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ModelError(f"the input `{twice}` is stated twice in `model.inputs`; state it once")
    return specs


def _parse(text: str) -> TensorSpec:
    found = _SPEC.fullmatch(text)
    if found is None:
        raise ModelError(f"`{text}` in `model.inputs` is not understood; write {_FORM}")
    name, dtype, inside = found.groups()
    if not name.isidentifier() or iskeyword(name):
        raise ModelError(
            f"`{name}` in `model.inputs` can't be the name of an argument of `forward`"
        )
    if dtype not in DTYPES:
        raise ModelError(
            f"input `{name}` has dtype `{dtype}` in `model.inputs`; allowed: {', '.join(DTYPES)}"
        )
    sizes = [part.strip() for part in inside.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{0,8}|[A-Za-z_]\w*", size) for size in sizes):
        raise ModelError(
            f"the shape of input `{name}` in `model.inputs` must be words (free) and numbers from "
            f"1 up (fixed); got [{inside}]; write {_FORM}"
        )
    shape = tuple(int(size) if size.isdigit() else size for size in sizes)
    if isinstance(shape[0], int):
        raise ModelError(
            f"the first dimension of input `{name}` in `model.inputs` is {shape[0]}, but it is the "
            f"batch, whose size is free: write a word, as in {_FORM}"
        )
    return TensorSpec(name, dtype, shape)


def signature_of(module: Any) -> Signature:
    """Gives the signature that an opened program carries, or that a module states itself.

    Raises:
        ModelError: if the module has none.
    """
    meta = getattr(module, "meta", None)
    found = meta.get("signature") if isinstance(meta, dict) else None
    found = found or getattr(module, "signature", None)
    if not isinstance(found, Signature):
        raise ModelError(
            f"a `{type(module).__name__}` says nothing about its inputs: set its attribute "
            "`signature` to a `jettison.graphs.torch_signature.Signature` before it is saved"
        )
    return found
