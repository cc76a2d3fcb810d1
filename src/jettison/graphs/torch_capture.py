"""From any PyTorch module to a program of real layers and plain operators, checked by running.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.torch_lift import Exported, lift
from jettison.graphs.torch_signature import Signature
from jettison.numerics.made_up_inputs import made_up_inputs

__all__ = ["answers", "capture", "exported_of", "first_line", "made_up"]

SIZES = (29, 37, 31, 41, 43)
"""Free dimensions of the example, one each: equal sizes would be taken for one dimension."""

OTHER_SIZES = (23, 17, 19, 13, 11)
"""The same dimensions where the program is compared with the module."""

TOLERANCE = 1e-5
"""Largest difference allowed, relative to the largest answer (at least 1)."""

WEIGHTS = frozenset({InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR})


def capture(module: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[str, ...] = ()) -> Any:
    """Exports a module with `torch.export` and gives it real layers.

    The module itself is not changed; it is switched to eval mode and back.

    Args:
        module: on the CPU; called with the named inputs.
        inputs: the free dimensions of these are free in the program too.
        outputs: their names; found out if empty.

    Returns:
        An `fx.GraphModule` that shares the tensors of `module`, with its `Signature` in `meta`.

    Raises:
        ModelError: if it can't be exported, answers with anything but tensors, or answers
            differently as a program.
    """
    _refuse_other_devices(module)
    fixed = isinstance(inputs[0].shape[0], int)
    with _eval_mode(module):
        example = made_up(inputs, 1 if fixed else 2, SIZES)
        expected = answers(module, example, "the model")
        program = _export(module, inputs, example)
        names = outputs or output_names(program.call_spec.out_spec)
        if len(names) != len(expected):
            raise ModelError(f"the model gives {len(expected)} tensors; {len(names)} were named")
        signature = Signature(tuple(inputs), tuple(names))
        made = lift(exported_of(program), signature)
        for rows, sizes in ((1, SIZES), (1 if fixed else 3, OTHER_SIZES)):
            _check_same(module, made, made_up(inputs, rows, sizes))
    return made


def made_up(
    inputs: tuple[TensorSpec, ...], rows: int, sizes: tuple[int, ...] = SIZES
) -> dict[str, Any]:
    """Makes tensors for every input; free dimensions of one name have one size."""
    free = dict.fromkeys(s for i in inputs for s in i.shape[1:] if isinstance(s, str))
    size_of = {name: sizes[place % len(sizes)] for place, name in enumerate(free)}
    fixed = tuple(
        dataclasses.replace(
            spec, shape=(rows, *(size_of[s] if isinstance(s, str) else s for s in spec.shape[1:]))
        )
        for spec in inputs
    )
    arrays = made_up_inputs(fixed, rows, seed=rows)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def answers(module: Any, named: Mapping[str, Any], what: str) -> tuple[Any, ...]:
    """Runs a module and gives its tensors in order.

    Raises:
        ModelError: if it can't run on these inputs, or gives anything but tensors.
    """
    try:
        with torch.inference_mode():
            answer = module(**named)
    except Exception as error:  # whatever the code of a model raises
        shapes = ", ".join(f"`{k}` {v.dtype} {tuple(v.shape)}" for k, v in named.items())
        raise ModelError(
            f"{what} can't run on {shapes}: {first_line(error)}; state its inputs in "
            "`model.inputs` as its `forward` takes them"
        ) from error
    flat = [value for value in pytree.tree_leaves(answer) if value is not None]
    if not flat or not all(isinstance(value, torch.Tensor) for value in flat):
        kinds = ", ".join(sorted({type(value).__name__ for value in flat})) or "nothing"
        raise ModelError(f"{what} must answer with tensors; it answers with {kinds}")
    return tuple(flat)


def output_names(spec: Any) -> tuple[str, ...]:
    """Names the outputs: keys of a dict, otherwise `output`, or `output_0`, `output_1`, ..."""
    keys = spec.context if isinstance(spec.context, list) else None
    children = spec.children() if callable(getattr(spec, "children", None)) else ()
    if spec.type is not None and issubclass(spec.type, Mapping) and keys is not None:
        flat = all(child.is_leaf() for child in children)
        if flat and all(isinstance(key, str) and key.isidentifier() for key in keys):
            return tuple(keys)
    count = spec.num_leaves
    return ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))


def exported_of(program: Any) -> Exported:
    """Reads an `ExportedProgram` of this process."""
    weights: dict[str, str] = {}
    inputs: list[str] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind in WEIGHTS:
            weights[spec.arg.name] = spec.target
        elif spec.kind is InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        else:
            raise ModelError(
                f"the model holds `{spec.target}`, which is no tensor ({spec.kind.name}); "
                "jettison takes models whose state is tensors"
            )
    held = {**program.state_dict, **program.constants}
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return Exported(
        graph=program.graph,
        inputs=tuple(inputs),
        weights=weights,
        tensors={n: t for n, t in held.items() if isinstance(t, torch.Tensor)},
        paths={node.name: _innermost(node) for node in calls},
        ranks={
            node.name: node.meta["val"].dim()
            for node in program.graph.nodes
            if isinstance(node.meta.get("val"), torch.Tensor)
        },
        branches={
            name: child.graph
            for name, child in program.graph_module.named_children()
            if hasattr(child, "graph")
        },
    )


def _innermost(node: Any) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def _export(module: Any, inputs: tuple[TensorSpec, ...], example: Mapping[str, Any]) -> Any:
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {
        spec.name: {place: dynamic for place, s in enumerate(spec.shape) if isinstance(s, str)}
        for spec in inputs
    }
    # Its warnings are about tracing in general; what they warn of is checked by running.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(
                module, (), kwargs=dict(example), dynamic_shapes=shapes, strict=False
            )
        except Exception as error:  # torch.export raises whatever the model's code runs into
            raise ModelError(
                f"torch.export of PyTorch {torch.__version__} can't express "
                f"`{type(module).__name__}` with "
                f"{'; '.join(f'`{s.name}` {s.dtype} {list(s.shape)}' for s in inputs)}: "
                f"{_reason(error)}. Write a size that the model fixes as a number in "
                "`model.inputs`, or export the model to ONNX yourself and give that file"
            ) from error


def _check_same(module: Any, made: Any, named: Mapping[str, Any]) -> None:
    before = answers(module, named, "the model")
    after = answers(made, named, "the exported program")
    where = ", ".join(f"`{name}` {tuple(value.shape)}" for name, value in named.items())
    for first, second in zip(before, after, strict=True):
        if first.shape != second.shape:
            raise ModelError(
                f"exported, the model answers {where} with shape {tuple(second.shape)} instead "
                f"of {tuple(first.shape)}; state sizes that it fixes as numbers in `model.inputs`"
            )
        if not first.numel():
            continue
        apart = (first.double() - second.double()).abs().nan_to_num(0.0).max().item()
        allowed = TOLERANCE * max(1.0, first.double().abs().nan_to_num(0.0).max().item())
        if not apart <= allowed or bool((first.isnan() != second.isnan()).any()):
            raise ModelError(
                f"exported, the model answers {where} differently by {apart:.1e} (allowed: "
                f"{allowed:.0e}); it may draw random numbers, or depend on sizes"
            )


def _refuse_other_devices(module: Any) -> None:
    tensors = [*module.parameters(), *module.buffers()]
    if other := next((t.device for t in tensors if t.device.type != "cpu"), None):
        raise ModelError(
            f"a weight of the model lies on `{other}`; move the model first: `module.cpu()`"
        )


@contextlib.contextmanager
def _eval_mode(module: Any) -> Iterator[None]:
    """Switches every submodule to eval mode, and each back to what it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def first_line(error: BaseException) -> str:
    """Gives the first line of what an exception says, or its name."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _reason(error: BaseException) -> str:
    lines = [line.strip(" -") for line in str(error).strip().splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("For more", "Suggested", "The error"))]
    return " ".join(kept[:2])[:400] or type(error).__name__
