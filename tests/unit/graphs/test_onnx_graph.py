"""Reading ONNX graphs: traits, specifications, names and costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from jettison.demo import find_network
from jettison.errors import ModelError
from jettison.graphs.onnx_graph import (
    class_labels,
    ensure_node_names,
    node_costs,
    tensor_specs,
    traits_of,
)
from jettison.graphs.onnx_walk import nodes_of

BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 4] x, bool flag) => (float[batch, 2] y) {
  y = If (flag) <
    then_branch = t () => (float[batch, 2] a) { w = Constant <value: tensor = float[4, 2] {1, 1, 1, 1, 1, 1, 1, 1}> ()
 a = MatMul (x, w) },
    else_branch = e () => (float[batch, 2] b) { v = Constant <value: tensor = float[4, 2] {2, 2, 2, 2, 2, 2, 2, 2}> ()
 b = MatMul (x, v) }
  >
}
"""

ATTENTION = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 5, 8] x) => (float[batch, 5, 8] y)
<float[8, 8] w, float scale = {2.5}>
{
  q = MatMul (x, w)
  k = Transpose <perm = [0, 2, 1]> (x)
  s = MatMul (q, k)
  d = Div (s, scale)
  p = Softmax <axis = -1> (d)
  y = MatMul (p, x)
}
"""


def written(text: str, path: Path, **weights: np.ndarray) -> Path:
    """Writes a graph given as text; weights replace initializers of their name."""
    model = parser.parse_model(text)
    for name, values in weights.items():
        kept = [t for t in model.graph.initializer if t.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, numpy_helper.from_array(values, name)])
    onnx.save(model, path)
    return path


def test_traits_of_real_convolutions(shared_data: Path) -> None:
    """The MNIST network is a fixed-batch float32 graph of convolutions and one product."""
    assert traits_of(shared_data / "models" / "mnist-cnn-cntk.onnx") == {
        *("onnx", "standard-operators", "float32", "convolution", "matmul", "fixed-batch")
    }


def test_transposed_convolutions_are_convolutions(tmp_path: Path) -> None:
    """Their weights may be stored in 8 bits as those of others, where they are constants."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, 4, 6, 6] x, float[4, 8, 3, 3] other) => (float[batch, 8, 8, 8] y)
    <float[4, 8, 3, 3] w> { y = ConvTranspose (x, WEIGHT) }
    """
    held = np.ones((4, 8, 3, 3), np.float32)
    for name, found in (("w", True), ("other", False)):
        path = written(text.replace("WEIGHT", name), tmp_path / f"{name}.onnx", w=held)
        assert ("convolution" in traits_of(path)) is found


def test_attention_is_found_and_classifiers_are_not_attention(tmp_path: Path) -> None:
    """Products around a softmax are attention; a softmax at the end of Magika is not."""
    found = traits_of(written(ATTENTION, tmp_path / "a.onnx", w=np.ones((8, 8), np.float32)))
    assert "attention" in found
    assert "attention" not in traits_of(find_network().model)


def test_standard_operators_are_the_default_domain(tmp_path: Path) -> None:
    """An operator of ai.onnx.ml takes the trait `standard-operators` away."""
    text = """
    <ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
    g (float[batch, 4] x) => (float[batch, 4] y) { y = ai.onnx.ml.Normalizer <norm = "L2"> (x) }
    """
    assert traits_of(written(text, tmp_path / "n.onnx")) == {"onnx"}


def test_weights_in_branches_are_found(tmp_path: Path) -> None:
    """Constants inside the branches of an If count as weights, and their products as products."""
    path = written(BRANCHES, tmp_path / "if.onnx")
    assert "matmul" in traits_of(path)
    costs = node_costs(path)
    assert [c.parameters for c in costs.values() if c.operator == "MatMul"] == [8, 8]


def test_old_graphs_list_weights_as_inputs(shared_data: Path) -> None:
    """An initializer that is listed among the inputs is no input."""
    inputs, outputs = tensor_specs(shared_data / "models" / "mnist-cnn-cntk.onnx")
    assert [(s.name, s.dtype, s.shape) for s in inputs] == [("Input3", "float32", (1, 1, 28, 28))]
    assert [s.shape for s in outputs] == [(1, 10)]


def test_costs_of_real_convolutions(shared_data: Path) -> None:
    """Multiply-accumulates are those of the layer sizes, worked out by hand."""
    costs = node_costs(shared_data / "models" / "mnist-cnn-cntk.onnx")
    assert costs["Convolution28"].macs == 8 * 28 * 28 * 1 * 5 * 5
    assert costs["Convolution110"].macs == 16 * 14 * 14 * 8 * 5 * 5
    assert costs["Times212"].macs == 256 * 10
    assert costs["Convolution110"].parameters == 16 * 8 * 5 * 5
    assert costs["Convolution110"].bytes == 4 * 16 * 8 * 5 * 5


def test_costs_of_free_dimensions(shared_data: Path) -> None:
    """A free length leaves the count unknown until a shape is given."""
    path = shared_data / "speech" / "fsdd-digits-ctc.onnx"
    assert node_costs(path)["/c1/Conv"].macs is None
    assert node_costs(path, {"logmel": (1, 64, 40)})["/c1/Conv"].macs


def test_costs_behind_computed_shapes(tmp_path: Path) -> None:
    """Shapes that the graph computes from its input are carried out, so products are counted."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, length, 8] x) => (float[batch, length, 4] y)
    <float[2, 4] w, int64[1] zero = {0}, int64[1] one = {1}, int64[2] tail = {4, 2}>
    {
      s = Shape (x)
      b = Gather (s, zero)
      l = Gather (s, one)
      t = Concat <axis = 0> (b, l, tail)
      r = Reshape (x, t)
      p = MatMul (r, w)
      y = ReduceSum <keepdims = 0> (p)
    }
    """
    path = written(text, tmp_path / "s.onnx", w=np.ones((2, 4), np.float32))
    costs = node_costs(path, {"x": (1, 6, 8)})
    assert [c.macs for c in costs.values() if c.operator == "MatMul"] == [6 * 4 * 2 * 4]
    assert [c.macs for c in node_costs(path).values() if c.operator == "MatMul"] == [None]


def test_a_reshaped_weight_belongs_to_its_reader(shared_data: Path) -> None:
    """The weight that is reshaped before it is multiplied counts for the product."""
    costs = node_costs(shared_data / "models" / "mnist-cnn-cntk.onnx")
    assert costs["Times212"].parameters == 256 * 10
    assert costs["Times212_reshape1"].parameters == 0


def test_costs_cover_the_file(shared_data: Path) -> None:
    """The bytes of all nodes together are nearly the whole file."""
    path = find_network().model
    total = sum(cost.bytes for cost in node_costs(path).values())
    assert 0.98 < total / path.stat().st_size <= 1.0


def test_every_node_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """Unnamed and doubly named nodes get names that depend on the graph alone."""
    one, two = (parser.parse_model(ATTENTION) for _ in range(2))
    one.graph.node[0].name = two.graph.node[0].name = "same"
    one.graph.node[1].name = two.graph.node[1].name = "same"
    assert ensure_node_names(one) == 5
    ensure_node_names(two)
    names = [node.name for node in nodes_of(one)]
    assert len(set(names)) == len(names) == 6
    assert names == [node.name for node in nodes_of(two)]
    assert ensure_node_names(one) == 0


def test_a_sequence_is_no_tensor(tmp_path: Path) -> None:
    """An output that is a sequence is refused with the way to export without it."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, 4] x) => (seq(float[batch, 4]) y) { y = SequenceConstruct (x) }
    """
    with pytest.raises(ModelError, match=r"`y` of .* is a sequence, not a tensor; export"):
        tensor_specs(written(text, tmp_path / "s.onnx"))


def test_class_labels_are_read_from_the_graph() -> None:
    """Classifiers of ai.onnx.ml carry their class names."""
    node = onnx.helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_strings=["no", "yes"],
        coefficients=[1.0, 2.0],
    )
    graph = onnx.helper.make_graph([node], "g", [], [])
    assert class_labels(onnx.helper.make_model(graph)) == ("no", "yes")


def test_a_label_that_is_no_text_is_shown_escaped() -> None:
    """Labels in an old encoding are told apart, and are no failure inside."""
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a"])
    node.attribute[0].strings.append(b"Stra\xdfe")
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    assert class_labels(model) == ("a", r"Stra\xdfe")
