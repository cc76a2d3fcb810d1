"""Repairs of graphs that skl2onnx writes, where onnxruntime can't run them or rounds otherwise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from jettison.graphs.sklearn_store import parts_of


def made_convertible(estimator: Any) -> Any:
    """Copies a pipeline without what skl2onnx refuses although it does not touch the answers.

    Imputers of text columns have nothing to do: the encoder refuses a missing text, because an
    ONNX tensor has no word for it. `flatten_transform` of a vote shapes `transform`, not
    `predict_proba`. Fitted parts are shared, not copied.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import VotingClassifier
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        steps = [(n, made_convertible(s)) for n, s in estimator.steps if not _is_idle(s)]
        return Pipeline(steps or [("nothing", "passthrough")])
    if isinstance(estimator, ColumnTransformer):
        changed = copy.copy(estimator)
        changed.transformers_ = [
            (n, part if isinstance(part, str) else made_convertible(part), columns)
            for n, part, columns in estimator.transformers_
        ]
        return changed
    if isinstance(estimator, VotingClassifier):
        changed = copy.copy(estimator)
        changed.flatten_transform = False
        return changed
    return estimator


def _is_idle(step: Any) -> bool:
    from sklearn.impute import SimpleImputer

    return (
        isinstance(step, SimpleImputer)
        and not step.add_indicator
        and np.asarray(step.statistics_).dtype.kind in "OUS"
    )


def replace_double_imputers(model: Any, estimator: Any) -> None:
    """Replaces `Imputer`, which onnxruntime has for 32 bits only, by `IsNaN` and `Where`.

    Args:
        model: an `onnx.ModelProto` computing in 64 bits, changed in place.
        estimator: it was made from; the fill values are taken from it in full precision.
    """
    import onnx
    from sklearn.impute import SimpleImputer

    helper = onnx.helper
    # A ColumnTransformer keeps the imputers that it was given, not fitted, beside the fitted ones.
    fills = [getattr(i, "statistics_", None) for i in parts_of(estimator, SimpleImputer)]
    numbers = [np.asarray(f) for f in fills if f is not None and np.asarray(f).dtype.kind == "f"]
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "Imputer":
            continue
        stored = {a.name: a for a in node.attribute}
        rounded = np.array(stored["imputed_value_floats"].floats, dtype=np.float32)
        exact = next(
            (n for n in numbers if np.array_equal(n.astype(np.float32), rounded)),
            rounded.astype(np.float64),
        )
        name = f"{node.output[0]}_fill"
        model.graph.initializer.append(onnx.numpy_helper.from_array(exact.reshape(1, -1), name))
        missing = f"{node.output[0]}_missing"
        made = [
            helper.make_node("IsNaN", [node.input[0]], [missing], name=f"{missing}_node"),
            helper.make_node(
                "Where", [missing, name, node.input[0]], [node.output[0]], name=f"{name}_node"
            ),
        ]
        model.graph.node.remove(node)
        for new in reversed(made):
            model.graph.node.insert(place, new)


def route_missing_values(model: Any, estimator: Any) -> bool:
    """Sends missing values down the branch that scikit-learn sends them, which skl2onnx leaves out.

    Args:
        model: an `onnx.ModelProto` with one tree ensemble, changed in place.
        estimator: a decision tree, or a forest of them.

    Returns:
        Whether the graph was changed.
    """
    parts = getattr(estimator, "estimators_", [estimator])
    members: list[Any] = [getattr(part, "tree_", None) for part in parts]
    ensembles = [n for n in model.graph.node if n.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1 or not all(hasattr(t, "missing_go_to_left") for t in members):
        return False
    stored = {a.name: a for a in ensembles[0].attribute}
    trees, nodes = stored["nodes_treeids"].ints, stored["nodes_nodeids"].ints
    if sum(tree.node_count for tree in members) != len(nodes):
        return False
    left = [np.asarray(tree.missing_go_to_left) for tree in members]
    tracks = stored["nodes_missing_value_tracks_true"].ints
    del tracks[:]
    tracks.extend(int(left[tree][node]) for tree, node in zip(trees, nodes, strict=True))
    return True


def average_forest(model: Any, estimator: Any) -> bool:
    """Lets a forest classifier add whole votes and divide at the end, as scikit-learn does.

    skl2onnx divides each leaf by the number of trees before adding: 20 trees that tie at 0.5 then
    give 0.49999997 or 0.50000006, and the label changes (49 of 2,500 rows of Adult). A regressor
    that averages keeps ties exact.

    Args:
        model: an `onnx.ModelProto` whose output is made by one `TreeEnsembleClassifier`.
        estimator: the forest.

    Returns:
        Whether the graph was changed.
    """
    import onnx
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    output = model.graph.output[0].name
    nodes = [n for n in model.graph.node if n.op_type == "TreeEnsembleClassifier"]
    forest = isinstance(estimator, (RandomForestClassifier, ExtraTreesClassifier))
    if not forest or len(nodes) != 1 or output not in nodes[0].output:
        return False
    helper = onnx.helper
    old = nodes[0]
    values = {a.name: helper.get_attribute_value(a) for a in old.attribute}
    classes = len(estimator.classes_)
    # With two classes skl2onnx stores the second one's share only.
    single = len(set(values["class_ids"])) == 1
    if single and classes != 2:
        return False
    sums = f"{output}_second" if single else output
    kept = {k: v for k, v in values.items() if k.startswith("nodes_")}
    weights = np.array(values["class_weights"], dtype=np.float64) * len(estimator.estimators_)
    new = helper.make_node(
        "TreeEnsembleRegressor",
        list(old.input),
        [sums],
        name="forest",
        domain="ai.onnx.ml",
        aggregate_function="AVERAGE",
        n_targets=1 if single else classes,
        post_transform="NONE",
        target_ids=values["class_ids"] if not single else [0] * len(weights),
        target_nodeids=values["class_nodeids"],
        target_treeids=values["class_treeids"],
        target_weights=[float(w) for w in weights.astype(np.float32)],
        **kept,
    )
    place = list(model.graph.node).index(old)
    model.graph.node.remove(old)
    model.graph.node.insert(place, new)
    if single:
        _add_first_class(model, sums, output, place + 1)
    return True


def _add_first_class(model: Any, second: str, output: str, place: int) -> None:
    import onnx

    helper = onnx.helper
    one = onnx.numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), f"{output}_one")
    first = f"{output}_first"
    model.graph.initializer.append(one)
    made = [
        helper.make_node("Sub", [one.name, second], [first], name=f"{first}_node"),
        helper.make_node("Concat", [first, second], [output], name=f"{output}_node", axis=1),
    ]
    for new in reversed(made):
        model.graph.node.insert(place, new)
