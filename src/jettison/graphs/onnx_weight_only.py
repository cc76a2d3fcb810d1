"""Weights of an ONNX graph in 8 or 4 bits by ONNX Runtime's quantizer; sums stay in float."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.errors import CandidateFailed
from jettison.graphs.onnx_walk import nodes_of

BITS = (8, 4)
BLOCKS = (32, 16, 64, 128, 256)
ACCURACY_LEVELS = (0, 1, 4)
"""How sums are computed: as the runtime chooses, in float32, or from activations that are rounded
to 8 bits in blocks."""

RUNS_AS = {"MatMulNBits": "MatMul", "GatherBlockQuantized": "Gather"}
"""Operator of the result -> what it was."""

PACKED = ("Gather", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Packing:
    """How weights are stored.

    Attributes:
        bits: of a weight, 8 or 4.
        block: weights along the input channels that share a scale.
        symmetric: no zero points: integers are signed around 0.
        accuracy_level: one of `ACCURACY_LEVELS`.
        tables: also look-up tables, in 4 bits.
        spared: names of operators that stay in float.
    """

    bits: int
    block: int
    symmetric: bool
    accuracy_level: int
    tables: bool = False
    spared: tuple[str, ...] = ()

    def told(self) -> str:
        """Says «one scale for 32 weights, with zero points»."""
        zero = "no zero points" if self.symmetric else "with zero points"
        words = [f"one scale for {self.block} weights", zero]
        if self.accuracy_level == ACCURACY_LEVELS[-1]:
            words.append("activations rounded to 8 bits in blocks")
        if self.spared:
            words.append(f"left in float: {', '.join(self.spared)}")
        return ", ".join(words)


def pack(graph: Path, packing: Packing, layers: Collection[str]) -> Any:
    """Gives a graph whose constant matrices are stored in few bits.

    Args:
        graph: a prepared graph; read whole.
        packing: how.
        layers: names of the operators that may be packed: the quantizer fails on a table that is
            no matrix of floats.

    Returns:
        An `onnx.ModelProto` with its weights in memory.

    Raises:
        CandidateFailed: if the quantizer fails; quotes its reason.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = onnx.load(graph)
    left = [
        node.name
        for node in model.graph.node
        if node.op_type in PACKED and (node.name not in layers or node.name in packing.spared)
    ]
    # Gemm is taken apart into MatMul and Add, and the MatMul gets this name.
    left += [f"{name}_MatMul" for name in left]
    ONNXModel(model).replace_gemm_with_matmul()
    if packing.tables:
        _part_tables(model, left)
    model = _packed(model, packing, packing.bits, "MatMul", left)
    if packing.tables:
        opsets = [(opset.domain, opset.version) for opset in model.opset_import]
        # Its kernel has no other number of bits.
        model = _packed(model, packing, 4, "Gather", left)
        # The quantizer writes 21 over the version of the operator set, but leaves all operators as
        # they are. Tensors of 4 bits need a recent file format, not a recent operator set.
        for opset in model.opset_import:
            opset.version = dict(opsets).get(opset.domain, opset.version)
    del model.graph.value_info[:]
    return model


def _part_tables(model: Any, left: Collection[str]) -> None:
    """Gives look-ups of a matrix that a product reads as well a table of their own.

    The quantizer calls the scales of both by the same name.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    matrices = {node.input[1] for node in products if node.input[1] in stored}
    for node in model.graph.node:
        shared = node.op_type == "Gather" and node.input[0] in matrices
        if not shared or node.name in left:
            continue
        name = f"{node.input[0]}_table"
        if name not in stored:
            copy = model.graph.initializer.add()
            copy.CopyFrom(stored[node.input[0]])
            copy.name = name
            stored[name] = copy
        node.input[0] = name


def _packed(model: Any, packing: Packing, bits: int, operator: str, left: Sequence[str]) -> Any:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    with _explained():
        quantizer = MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=packing.block,
            is_symmetric=packing.symmetric,
            accuracy_level=packing.accuracy_level,
            nodes_to_exclude=list(left),
            op_types_to_quantize=(operator,),
        )
        quantizer.process()
        quantizer.model.topological_sort()
    return quantizer.model.model


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what the library raises into one reason, and keeps its remarks on each node quiet.

    Raises:
        CandidateFailed: for whatever it raised.
    """
    library = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError)
    logger = logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except library as error:
        raise CandidateFailed(
            f"onnxruntime's weight quantizer can't handle this graph: {type(error).__name__}: "
            f"{error}"
        ) from error
    finally:
        logger.setLevel(level)


def count_packed(model: Any) -> dict[str, int]:
    """Operator type of the float graph -> how many are stored in few bits, branches included."""
    kinds = (RUNS_AS.get(node.op_type, "") for node in nodes_of(model))
    return dict(Counter(kind for kind in kinds if kind))


def matrices(layers: Collection[Any], light: Any, *, tables: bool) -> tuple[Any, ...]:
    """Of the quantizable layers, those that can be packed: a matrix, or a table that is shared.

    Args:
        layers: as `quantizable_layers` gives them.
        light: the graph that they are of.
        tables: whether look-up tables count.
    """
    ranks = {tensor.name: len(tensor.dims) for tensor in light.graph.initializer}
    kinds = {"MatMul", "Gemm"} | ({"Gather"} if tables else set())
    return tuple(
        layer
        for layer in layers
        if layer.operator in kinds and all(ranks[name] == 2 for name in layer.weights)
    )
