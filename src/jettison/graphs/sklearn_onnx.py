"""A scikit-learn estimator as an ONNX graph, in the precision that each part really computes in.

skl2onnx writes a whole pipeline in one precision. scikit-learn does not: preprocessing runs in
64 bits, and trees round features to 32 bits just before they compare. Converting a tree pipeline
with 64-bit inputs throughout gives wrong answers (0.1 to 0.2 off in probability on Iris with
skl2onnx 1.20), so there the two parts are converted apart and joined by a cast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from jettison.errors import CandidateFailed
from jettison.graphs.onnx_walk import nodes_of
from jettison.graphs.sklearn_onnx_edits import (
    average_forest,
    made_convertible,
    replace_double_imputers,
    route_missing_values,
)
from jettison.graphs.sklearn_pipeline import EstimatorFacts, flat_steps

Precision = Literal["float32", "float64", "float64 before the trees"]

OPSETS = {"": 17, "ai.onnx.ml": 3}


def precisions_for(estimator: Any, facts: EstimatorFacts) -> tuple[Precision, ...]:
    """The precisions worth trying, cheapest first."""
    from sklearn.pipeline import Pipeline

    if not facts.trees:
        return ("float32", "float64")
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return ("float32", "float64 before the trees")
    return ("float32",)


def convert(estimator: Any, facts: EstimatorFacts, precision: Precision) -> Any:
    """Converts an estimator.

    Args:
        estimator: fitted; not changed.
        facts: of it.
        precision: see `precisions_for`.

    Returns:
        An `onnx.ModelProto` with the inputs of `facts.inputs` (64-bit numbers) and one output named
        like the estimator's answer.

    Raises:
        CandidateFailed: if skl2onnx can't convert it; names the part.
    """
    lean = made_convertible(estimator)
    if precision == "float64 before the trees":
        model = _joined(lean, facts)
    else:
        model = _convert(lean, facts, _initial_types(facts, precision), final=True)
    if precision != "float32":
        replace_double_imputers(model, estimator)
    _keep_answer(model, facts)
    final = flat_steps(estimator)[-1]
    route_missing_values(model, final)
    average_forest(model, final)
    _drop_dead_nodes(model)
    if precision == "float32":
        _take_float64(model)
    _rename_inputs(model, facts)
    return model


def _initial_types(facts: EstimatorFacts, precision: Precision) -> list[tuple[str, Any]]:
    from skl2onnx.common import data_types as kinds

    number = kinds.FloatTensorType if precision == "float32" else kinds.DoubleTensorType
    types = {"float64": number, "int64": kinds.Int64TensorType, "str": kinds.StringTensorType}
    names = facts.columns if facts.as_columns else ("X",)
    return [
        (name, types[spec.dtype]([None, *spec.shape[1:]]))
        for name, spec in zip(names, facts.inputs, strict=True)
    ]


def _convert(
    part: Any, facts: EstimatorFacts, types: Sequence[tuple[str, Any]], *, final: bool
) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    damage = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError)
    failures = (MissingConverter, MissingShapeCalculator, *damage)
    asked = flat_steps(part)[-1]
    for options in _options(facts, final):
        try:
            return convert_sklearn(
                part,
                "jettison",
                list(types),
                options={id(asked): options} if options else None,
                target_opset=OPSETS,
            )
        except NameError:
            # This estimator does not know one of the options: the next set leaves it out.
            continue
        except failures as error:
            raise CandidateFailed(
                f"skl2onnx can't convert this `{type(asked).__name__}`: {_short(error)}"
            ) from error
    raise CandidateFailed(f"skl2onnx knows no options for a `{type(asked).__name__}`")


def _short(error: Exception) -> str:
    """The reason without the attributes that skl2onnx prints whole."""
    text = " ".join(str(error).split())
    text = re.sub(r" and attributes=\{.*\}\.?", "", text)[:300]
    return f"{text} ({error.__cause__})" if error.__cause__ else text


def _options(facts: EstimatorFacts, final: bool) -> tuple[dict[str, bool], ...]:
    if not final or facts.answer == "prediction":
        return ({},)
    if facts.answer == "scores":
        return ({"zipmap": False, "raw_scores": True}, {"raw_scores": True}, {"zipmap": False}, {})
    return ({"zipmap": False}, {})


def _joined(estimator: Any, facts: EstimatorFacts) -> Any:
    import onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.pipeline import Pipeline

    steps = [step for step in estimator.steps if step[1] not in (None, "passthrough")]
    final = steps[-1][1]
    types = _initial_types(facts, "float64 before the trees")
    before = _convert(Pipeline(steps[:-1]), facts, types, final=False)
    features = [("features", FloatTensorType([None, final.n_features_in_]))]
    trees = _convert(final, facts, features, final=True)
    trees = onnx.compose.add_prefix(trees, "trees_", rename_outputs=False)
    source = before.graph.output[0]
    if source.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
        _cast_input(trees, trees.graph.input[0])
    version = max(before.ir_version, trees.ir_version)
    before.ir_version = trees.ir_version = version
    _same_opsets(before, trees)
    return onnx.compose.merge_models(before, trees, io_map=[(source.name, "trees_features")])


def _same_opsets(*models: Any) -> None:
    """Merging wants equal operator sets; the converter lists only those that it used."""
    import onnx

    for model in models:
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in OPSETS.items())


def _take_float64(model: Any) -> None:
    import onnx

    for value in list(model.graph.input):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            _cast_input(model, value)


def _cast_input(model: Any, value: Any) -> None:
    """Makes a 32-bit input take 64-bit numbers."""
    import onnx

    narrow = f"{value.name}_as_float32"
    for node in nodes_of(model):
        for place, name in enumerate(node.input):
            if name == value.name:
                node.input[place] = narrow
    cast = onnx.helper.make_node(
        "Cast", [value.name], [narrow], name=f"{narrow}_cast", to=onnx.TensorProto.FLOAT
    )
    model.graph.node.insert(0, cast)
    value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    if not any(opset.domain == "" for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("", OPSETS[""]))


def _keep_answer(model: Any, facts: EstimatorFacts) -> None:
    """Leaves one output, named like the estimator's answer; the label column costs time."""
    if facts.answer == "label":
        raise CandidateFailed(
            "this classifier gives labels without scores, and converted labels can't be compared; "
            "it stays as it is"
        )
    outputs = [v for v in model.graph.output if v.name.endswith(("probabilities", "variable"))]
    if len(outputs) != 1:
        names = ", ".join(v.name for v in model.graph.output)
        raise CandidateFailed(
            f"the converted graph has the outputs {names}, none of which is the {facts.answer}"
        )
    kept = outputs[0]
    for node in nodes_of(model):
        for place, name in enumerate(node.output):
            if name == kept.name:
                node.output[place] = facts.output.name
        for place, name in enumerate(node.input):
            if name == kept.name:
                node.input[place] = facts.output.name
    kept.name = facts.output.name
    for value in list(model.graph.output):
        if value.name != facts.output.name:
            model.graph.output.remove(value)
    dims = kept.type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    # Where there are two classes, skl2onnx may declare one column and give two.
    dims[1].dim_value = len(facts.labels) or dims[1].dim_value


def _drop_dead_nodes(model: Any) -> None:
    needed = {value.name for value in model.graph.output}
    for node in reversed(list(model.graph.node)):
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            model.graph.node.remove(node)


def _rename_inputs(model: Any, facts: EstimatorFacts) -> None:
    """Gives the inputs the names and order of the scikit-learn model."""
    if len(model.graph.input) != len(facts.inputs):
        raise CandidateFailed(
            f"the converted graph has {len(model.graph.input)} inputs, the model has "
            f"{len(facts.inputs)}"
        )
    renamed = {}
    for value, spec in zip(model.graph.input, facts.inputs, strict=True):
        renamed[value.name] = spec.name
        value.name = spec.name
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in nodes_of(model):
        for place, name in enumerate(node.input):
            if name in renamed:
                node.input[place] = renamed[name]
