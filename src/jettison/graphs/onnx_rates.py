"""How fast ONNX Runtime multiplies large matrices of each kind of number on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jettison.domain.rates import FLOAT, HALF, INTEGER, Rate
from jettison.domain.rows import Array

SIDE = 768
"""Rows and columns: large enough that starting a kernel costs nothing, and small enough that the
operands stay in the caches (2.4 MB each in float32)."""


def product_rates(options: Callable[[], Any]) -> dict[str, Rate]:
    """Multiply-accumulates per second of one square product.

    Args:
        options: makes session options, with the threads to use.

    Returns:
        Kind -> rate. A kind without a kernel on this machine is left out.
    """
    from onnx import TensorProto

    rng = np.random.default_rng(0)
    left = rng.integers(-20, 20, (SIDE, SIDE))
    right = rng.integers(-20, 20, (SIDE, SIDE))
    found: dict[str, tuple[Array, Array, str, int]] = {
        FLOAT: (left.astype(np.float32), right.astype(np.float32), "MatMul", TensorProto.FLOAT),
        HALF: (left.astype(np.float16), right.astype(np.float16), "MatMul", TensorProto.FLOAT16),
        INTEGER: (
            (left + 20).astype(np.uint8),
            right.astype(np.int8),
            "MatMulInteger",
            TensorProto.INT32,
        ),
    }
    rates = {}
    for kind, (a, b, operator, answer) in found.items():
        rate = _rate(_graph(operator, a, b, answer), a, options())
        if rate is not None:
            rates[kind] = rate
    return rates


def _graph(operator: str, a: Array, b: Array, answer: int) -> bytes:
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(a.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", kind, a.shape)],
        [helper.make_tensor_value_info("y", answer, (SIDE, SIDE))],
        [numpy_helper.from_array(b, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return made


def _rate(graph: bytes, a: Array, options: Any) -> Rate | None:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - onnxruntime's own classes have no narrower root
        return None  # No kernel for this kind of number: that is the answer.
    feed = {"a": a}
    return Rate.reached(lambda: session.run(None, feed), SIDE**3)
