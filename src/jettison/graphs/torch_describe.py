"""What a program is for and what it is made of, found by running it and by looking at it.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.torch_capture import OTHER_SIZES, SIZES, answers, made_up
from jettison.graphs.torch_signature import Signature

__all__ = ["described_outputs", "prediction_of", "task_of", "traits_of"]

TASKS = ("classification", "regression", "embedding")
NAMES = ("logits", "scores")
"""Keys of a dictionary under which models give their prediction."""

ATTENTION = "aten.scaled_dot_product_attention.default"


def described_outputs(program: Any, signature: Signature) -> tuple[TensorSpec, ...]:
    """Runs a program at several sizes and names the dimensions of its outputs.

    Raises:
        ModelError: if the rows of an output are not those of the input, or it is not finite.
    """
    fixed = isinstance(signature.inputs[0].shape[0], int)
    rows = (1, 1) if fixed else (2, 3)
    given = made_up(signature.inputs, rows[0], SIZES)
    larger = made_up(signature.inputs, rows[1], OTHER_SIZES)
    free = _free_sizes(signature, given, larger)
    first, other = (answers(program, named, "the program") for named in (given, larger))
    specs = []
    for name, one, two in zip(signature.outputs, first, other, strict=True):
        if one.dim() == 0 or (len(one), len(two)) != rows:
            raise ModelError(
                f"output `{name}` has shape {tuple(one.shape)} for {rows[0]} rows and "
                f"{tuple(two.shape)} for {rows[1]}; its first dimension must be the batch"
            )
        pairs = zip(one.shape[1:], two.shape[1:], strict=True)
        rest = [
            a if a == b else free.get((a, b)) or _own_size(place, name, free.values())
            for place, (a, b) in enumerate(pairs, start=1)
        ]
        dtype = str(one.dtype).removeprefix("torch.")
        specs.append(TensorSpec(name, dtype, (1 if fixed else "batch", *rest)))
    _check_finite(signature, first)
    return tuple(specs)


def _free_sizes(
    signature: Signature, first: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[tuple[int, int], str]:
    """The two sizes of each free dimension of the inputs: an answer with these is as long."""
    found = {
        size: (int(first[spec.name].shape[place]), int(other[spec.name].shape[place]))
        for spec in signature.inputs
        for place, size in enumerate(spec.shape)
        if place and isinstance(size, str)
    }
    return {pair: name for name, pair in found.items()}


def _own_size(place: int, output: str, taken: Collection[str]) -> str:
    """A name for a dimension of an answer that is none of the inputs'."""
    plain = f"size_{place}"
    return plain if plain not in taken else f"{output}_{plain}"


def _check_finite(signature: Signature, outputs: tuple[Any, ...]) -> None:
    for name, values in zip(signature.outputs, outputs, strict=True):
        if values.is_floating_point() and bool(values.isnan().all()):
            raise ModelError(
                f"output `{name}` is NaN throughout for made-up inputs: the weights are damaged, "
                "or were never loaded"
            )


def prediction_of(outputs: tuple[TensorSpec, ...], wanted: str = "") -> TensorSpec:
    """The output that quality reads: the wanted one, the only one, or the only float matrix.

    Of several matrices, the one that is called `logits` or `scores`.

    Raises:
        ModelError: if it can't be told, or none has the wanted name.
    """
    listed = "; ".join(f"`{s.name}` {s.dtype} {list(s.shape)}" for s in outputs)
    named = [s for s in outputs if s.name == wanted]
    if named:
        return named[0]
    if wanted:
        raise ModelError(f"`model.prediction` is `{wanted}`, no output of the model: {listed}")
    if len(outputs) == 1:
        return outputs[0]
    matrices = [s for s in outputs if len(s.shape) == 2 and s.dtype.startswith("float")]
    called = [s for s in matrices if s.name in NAMES]
    if len(matrices) == 1 or len(called) == 1:
        return (called or matrices)[0]
    raise ModelError(
        f"can't tell which output of the model is the prediction: {listed}; name it with "
        "`model.prediction` (--prediction), or let `forward` return one tensor or a dictionary with "
        "the key `logits`"
    )


def task_of(prediction: TensorSpec, stated: str) -> str:
    """The task: as stated where it fits, otherwise read off the shape of the prediction.

    Raises:
        ModelError: for a task that is unknown, or that the shape does not fit.
    """
    rank, numbers = len(prediction.shape), prediction.dtype.startswith("float")
    single = rank == 1 or (rank == 2 and prediction.shape[1] == 1)
    if not numbers:
        fitting = ["classification"] if single else []
    elif rank > 2:
        fitting = ["embedding"]
    else:
        fitting = ["regression", "embedding"] if single else list(TASKS)
    if stated in fitting or (not stated and fitting and (rank <= 2 or not numbers)):
        return stated or fitting[0]
    what = f"output `{prediction.name}` is {prediction.dtype} {list(prediction.shape)}"
    asked = f"the task `{stated}` does not fit" if stated else "the task can't be told from it"
    raise ModelError(
        f"{what}: {asked}; `model.task` may be {' or '.join(fitting) or 'nothing'} here (a "
        "classification has one score per class, (batch, k), a regression one number, an embedding "
        "floats)"
    )


def traits_of(program: Any) -> frozenset[str]:
    """Traits that are found in the layers and operators of a program."""
    kinds = {type(module).__name__ for module in program.modules()}
    floats = {t.dtype for t in program.parameters() if t.is_floating_point()}
    traits = {"torch", "dense"}
    traits |= {"float32"} if floats <= {torch.float32} else {"float16"}
    traits |= {"convolution"} if any("Conv" in kind for kind in kinds) else set()
    traits |= {"matmul"} if "Linear" in kinds else set()
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    return frozenset(traits | ({"attention"} if ATTENTION in called else set()))
