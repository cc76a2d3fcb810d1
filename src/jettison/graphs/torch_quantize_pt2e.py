"""Static 8-bit programs by torchao's PT2E for the compiler: integers and how they are rounded.

The result is an ordinary program: weights are integers in the file, and operators of PyTorch take
them to floats and activations to integers and back. Run as they are they only imitate 8 bits;
compiled they become 8-bit kernels.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import fx

from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.torch_capture import first_line, made_up
from jettison.graphs.torch_quantize_piece import rows_at_once, watch
from jettison.graphs.torchao_import import import_torchao

__all__ = ["count_rounded", "quantized"]

PT2E = "torchao.quantization.pt2e"
WEIGHTS = "quantized_decomposed.dequantize_per_channel.default"


def quantized(
    program: Any,
    spared: Collection[str],
    fitting: FittingData,
    rows: int,
    *,
    reduce_range: bool,
) -> Any:
    """Gives the program with rounded weights and activations.

    Args:
        program: an opened program, norms folded.
        spared: layers that stay in float.
        fitting: rows for the ranges.
        rows: at most so many of them.
        reduce_range: activations use 7 of the 8 bits.

    Raises:
        CandidateFailed: if torchao can't follow the program; quotes its reason.
    """
    library = import_torchao(f"{PT2E}.quantize_pt2e")
    chosen = import_torchao(f"{PT2E}.quantizer.x86_inductor_quantizer")
    quantizer = chosen.X86InductorQuantizer()
    quantizer.set_global(
        chosen.get_default_x86_inductor_quantization_config(reduce_range=reduce_range)
    )
    for name in spared:
        quantizer.set_module_name_qconfig(name, None)
    signature = program.meta["signature"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            prepared = library.prepare_pt2e(_exported(program), quantizer)
        except Exception as error:
            raise CandidateFailed(_why(error)) from error
        watch(prepared, fitting, rows, rows_at_once(program))
        try:
            made = _plain(library.convert_pt2e(prepared))
        except Exception as error:
            raise CandidateFailed(_why(error)) from error
    made.meta = {"signature": signature}
    return made


def count_rounded(program: Any) -> int:
    """How many weights of a program are integers."""
    return sum(str(node.target) == WEIGHTS for node in program.graph.nodes)


def _exported(program: Any) -> Any:
    inputs = program.meta["signature"].inputs
    free = torch.export.Dim.DYNAMIC
    shapes = {
        spec.name: {place: free for place, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in inputs
    }
    fixed = isinstance(inputs[0].shape[0], int)
    example = made_up(inputs, 1 if fixed else 2)
    return torch.export.export(program, (), kwargs=example, dynamic_shapes=shapes).module()


def _plain(module: Any) -> Any:
    """Takes away what export adds for Python: checks of sizes, trees of arguments."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and not node.users:
            graph.erase_node(node)
    graph.set_codegen(fx.graph.CodeGen())
    result = graph.output_node()
    answers = result.args[0]
    if isinstance(answers, list | tuple) and len(answers) == 1:
        result.args = (answers[0],)
    return fx.GraphModule(module, graph, class_name="Program")


def _why(error: Exception) -> str:
    return (
        f"torchao's quantizer for inductor can't follow this program ({type(error).__name__}: "
        f"{first_line(error)[:300]})"
    )
