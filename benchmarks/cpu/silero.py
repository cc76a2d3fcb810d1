"""Silero's detector of speech as a graph whose inputs and outputs have the rows first."""

from __future__ import annotations

from pathlib import Path

GIVEN = Path("/tmp/foreign/x/silero_vad/data/silero_vad_16k_op15.onnx")
"""Of the unpacked wheel `silero-vad`."""

RATE = 16000
CHUNK = 576
"""Samples of one call: 512 new ones and 64 of before."""


def rows_first(path: Path) -> None:
    """Writes the graph with the rate as a constant and the state as (rows, 2, 128)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(GIVEN))
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(RATE, dtype=np.int64), "sr"))
    kept = [value for value in graph.input if value.name == "input"]
    del graph.input[:]
    graph.input.extend(kept)
    kept[0].type.tensor_type.shape.dim[1].dim_value = CHUNK
    shape = ["batch", 2, 128]
    graph.input.append(helper.make_tensor_value_info("state_rows", TensorProto.FLOAT, shape))
    turn = helper.make_node("Transpose", ["state_rows"], ["state"], "turn_in", perm=[1, 0, 2])
    graph.node.insert(0, turn)
    graph.node.append(
        helper.make_node("Transpose", ["stateN"], ["state_after"], "turn_out", perm=[1, 0, 2])
    )
    del graph.output[1:]
    graph.output.append(helper.make_tensor_value_info("state_after", TensorProto.FLOAT, shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
