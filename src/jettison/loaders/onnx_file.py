"""The loader `onnx_file`: an .onnx file, with its external data and its class names beside it.

The weights may lie in initializers, in `Constant` nodes or in branches. They are copied in
blocks, never opened whole.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jettison.domain.encoder import Encoder, Setting
from jettison.domain.extension_points import Source
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ModelError
from jettison.graphs import onnx_checks as checks
from jettison.graphs import onnx_probe
from jettison.graphs.onnx_categories import categories_of
from jettison.graphs.onnx_graph import class_labels, specs_of, traits_in
from jettison.graphs.onnx_storage import copy_model_with, read_light
from jettison.graphs.onnx_walk import ensure_node_names, name_opsets_once, nodes_of
from jettison.graphs.onnx_zipmap import drop_zipmaps
from jettison.graphs.tokenizer_files import text_encoder

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
TASKS = ("classification", "regression", "embedding", "transcription")

SHORTEST_EMBEDDING = 16
"""Values; fewer are scores of classes, whatever they look like."""


class OnnxLoader:
    """Loads an .onnx file.

    The prediction is the output that the option `prediction` names. Without it, it is the only
    output, or the only float output with two dimensions beside others (skl2onnx writes `label` and `probabilities`). Without a stated task, a float output of
    shape (n, k) is a classification for k >= 2 and a regression for k = 1, as is one of shape
    (n,); integers of shape (n,) are class numbers. A wide one (k >= 16) without class names is an
    embedding if it is named as one, or if its rows have length 1 and signs.
    """

    name: ClassVar[str] = "onnx_file"
    options: ClassVar[frozenset[str]] = frozenset({"prediction"})

    def claims(self, source: Source) -> bool:
        """Claims a file that is named .onnx, or that begins as an ONNX file does."""
        path = Path(source.location)
        if source.live is not None or not source.location or not path.is_file():
            return False
        return path.suffix.lower() in {".onnx", ".ort"} or checks.looks_like_onnx(path)

    def load(self, source: Source, folder: Path) -> Model:
        """Copies a graph, checks it, and runs it once in onnxruntime.

        Raises:
            ModelError: for anything that is no ONNX graph, is damaged, reaches outside its
                folder, or that onnxruntime here can't run; says what to do.
        """
        path = Path(source.location)
        onnx_probe.check_one_package()
        checks.check_first_bytes(path)
        graph = read_light(path)
        checks.check_graph(graph, path)
        runtime = onnx_probe.runtime_name()
        checks.check_versions(graph, path, onnx_probe.loads_version, runtime)
        checks.check_operators(graph, path, onnx_probe.known_operators(), runtime)
        labels = class_labels(graph)
        drop_zipmaps(graph)
        ensure_node_names(graph)
        name_opsets_once(graph)
        files = copy_model_with(graph, path, folder)
        _check_structure(folder / files[0], path)
        return self._describe(source, graph, Artifact.of("onnx_file", folder, files), labels)

    def _describe(
        self, source: Source, graph: Any, artifact: Artifact, labels: tuple[str, ...]
    ) -> Model:
        path = Path(source.location)
        inputs, outputs = specs_of(graph, path)
        _check_batches(inputs, path)
        session = onnx_probe.open_session(artifact.path, path)
        known = {name: c.known for name, c in categories_of(graph).items()}
        found = onnx_probe.probe(session, inputs, path, known)
        traits = traits_in(graph)
        if found.two is None:
            traits |= {"fixed-batch"}
            inputs = tuple(dataclasses.replace(s, shape=(1, *s.shape[1:])) for s in inputs)
        outputs = _seen_outputs(outputs, found)
        prediction = _prediction(outputs, path, str(source.options.get("prediction", "")))
        task = _task(prediction, source.task, path)
        if not source.task and not (labels or path.with_suffix(".labels.json").is_file()):
            task = "embedding" if _is_embedding(prediction, found) else task
        names = _labels(path, prediction, task, labels)
        beside = Path(artifact.folder) / "encoder"
        length = int(source.options.get("max_length", 0))
        encoder = text_encoder(path.parent, beside, inputs, length, names)
        if encoder is None:
            encoder = _encoder(graph, inputs, names, found)
        else:
            longest = int(str(encoder.settings["max_length"]))
            onnx_probe.check_length(session, inputs, longest, path)
        return Model(
            artifact=artifact,
            traits=traits,
            inputs=inputs,
            outputs=outputs,
            prediction=prediction.name,
            task=task,
            encoder=encoder,
        )


def _check_structure(copy: Path, shown: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(copy))
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:400]
        raise ModelError(
            f"`{shown}` breaks the rules of ONNX: {reason}. Export it again, or repair it until "
            "onnx.checker.check_model accepts it"
        ) from error


def _check_batches(inputs: tuple[TensorSpec, ...], path: Path) -> None:
    if not inputs:
        raise ModelError(
            f"the graph in `{path}` has no inputs: it answers nothing; export it again"
        )
    for spec in inputs:
        if not spec.shape:
            raise ModelError(
                f"input `{spec.name}` of `{path}` is a single value without a batch dimension: "
                "export the model so that the first dimension of every input is the batch"
            )
        if isinstance(spec.shape[0], int) and spec.shape[0] != 1:
            other = next((s for s in inputs if s.shape and s.shape[0] != spec.shape[0]), None)
            if other is not None:
                # A recurrent state has its layers first, and its rows in the second dimension.
                raise ModelError(
                    f"input `{spec.name}` of `{path}` has {spec.shape[0]} as its first dimension, "
                    f"and `{other.name}` has {other.shape[0]}: export the model so that the first "
                    "dimension of every input is the batch"
                )
            raise ModelError(
                f"input `{spec.name}` of `{path}` takes exactly {spec.shape[0]} rows a call: "
                "export the model with a free first dimension (or with 1)"
            )


def _seen_outputs(
    outputs: tuple[TensorSpec, ...], found: onnx_probe.Probe
) -> tuple[TensorSpec, ...]:
    """Keeps the outputs whose first dimension is the batch, with the shapes that running showed."""
    seen = []
    for spec in outputs:
        one = found.one[spec.name]
        two = found.two[spec.name] if found.two is not None else None
        if one.ndim == 0 or len(one) != 1 or (two is not None and (not two.ndim or len(two) != 2)):
            continue
        shape = spec.shape if len(spec.shape) == one.ndim else ("batch", *one.shape[1:])
        if one.ndim == 2 and isinstance(shape[1], str):
            shape = (shape[0], one.shape[1])
        seen.append(dataclasses.replace(spec, shape=shape))
    return tuple(seen)


def _prediction(outputs: tuple[TensorSpec, ...], path: Path, wanted: str) -> TensorSpec:
    listed = "; ".join(f"`{s.name}` {s.dtype} {s.shape}" for s in outputs) or "none"
    seen = f"outputs whose first dimension is the batch: {listed}"
    named = [s for s in outputs if s.name == wanted]
    if named:
        return named[0]
    if wanted:
        raise ModelError(f"`model.prediction` is `{wanted}`, no output of `{path}`; {seen}")
    if len(outputs) == 1:
        return outputs[0]
    matrices = [s for s in outputs if len(s.shape) == 2 and s.dtype in FLOATS]
    if len(matrices) == 1:
        return matrices[0]
    hint = (
        "Name it with `model.prediction` (--prediction)"
        if outputs
        else "Export it with one that has"
    )
    raise ModelError(f"can't tell which output of `{path}` is the prediction; {seen}. {hint}")


def _task(prediction: TensorSpec, stated: str, path: Path) -> str:
    if stated and stated not in TASKS:
        raise ModelError(
            f"`{path}`: task `{stated}` is not one of {', '.join(TASKS)}; correct `model.task`"
        )
    numbers = prediction.dtype in FLOATS
    rank = len(prediction.shape)
    single = rank == 1 or (rank == 2 and prediction.shape[1] == 1)
    if numbers and rank <= 2:
        fitting = {"regression", "embedding"} if single else set(TASKS) - {"transcription"}
        inferred = "regression" if single else "classification"
    elif numbers:
        fitting, inferred = {"embedding"} | ({"transcription"} if rank == 3 else set()), ""
    else:
        fitting, inferred = ({"classification"}, "classification") if single else (set(), "")
        fitting |= {"transcription"} if single and prediction.dtype == "str" else set()
    task = stated or inferred
    if task in fitting:
        return task
    what = f"output `{prediction.name}` of `{path}` is {prediction.dtype} {prediction.shape}"
    if not task:
        raise ModelError(
            f"{what}, from which the task can't be told; set `model.task` to "
            f"{' or '.join(sorted(fitting)) or 'none that fits: export one answer per row'}"
        )
    raise ModelError(
        f"{what}, which does not fit the task `{task}`: a classification has one score per class "
        "(n, k) or one class number (n,), a regression one number (n,) or (n, k), an embedding "
        "floats, a transcription one text (n,) or scores of letters over time (n, t, letters); "
        f"here fits: {', '.join(sorted(fitting)) or 'none'}"
    )


def _is_embedding(prediction: TensorSpec, found: onnx_probe.Probe) -> bool:
    """Whether floats (n, d) are named as an embedding, or are directions: of length 1, with signs."""
    if prediction.dtype not in FLOATS or len(prediction.shape) != 2:
        return False
    values = found.one[prediction.name]
    if values.shape[1] < SHORTEST_EMBEDDING:
        return False
    if re.search(r"embed|pool|hidden", prediction.name, re.IGNORECASE):
        return True
    length = float(np.linalg.norm(values.astype(np.float64)))
    return abs(length - 1.0) < 1e-3 and bool((values < 0).any())


def _labels(
    path: Path, prediction: TensorSpec, task: str, stored: tuple[str, ...]
) -> tuple[str, ...]:
    """Class names: from `<name>.labels.json` beside the file, else from the graph itself."""
    width = prediction.shape[-1] if len(prediction.shape) > 1 else None
    beside = path.with_suffix(".labels.json")
    if task not in ("classification", "transcription"):
        return ()
    if not beside.is_file():
        return stored if width is None or len(stored) == width else ()
    try:
        labels = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"`{beside}` can't be read as JSON: {error}; write a list of names") from (
            error
        )
    if not isinstance(labels, list) or not all(isinstance(v, str) and v for v in labels):
        raise ModelError(f'`{beside}` must be a list of class names, such as ["cat", "dog"]')
    if len(set(labels)) != len(labels) or (isinstance(width, int) and len(labels) != width):
        raise ModelError(
            f"`{beside}` holds {len(labels)} names ({len(set(labels))} different), but output "
            f"`{prediction.name}` has {width} scores: one name for each score, in their order"
        )
    return tuple(labels)


def _encoder(
    graph: Any, inputs: tuple[TensorSpec, ...], labels: tuple[str, ...], found: onnx_probe.Probe
) -> Encoder:
    settings: dict[str, Setting] = {}
    if any(node.op_type == "Imputer" for node in nodes_of(graph)):
        settings["missing"] = [spec.name for spec in inputs if spec.dtype in FLOATS]
    if len(inputs) > 1 and all(len(s.shape) == 2 and s.shape[1] == 1 for s in inputs):
        settings |= {"layout": "columns", "columns": [s.name for s in inputs]}
        categories = categories_of(graph)
        settings |= {f"categories.{name}": list(c.known) for name, c in categories.items()}
        if strict := [name for name, c in categories.items() if c.strict]:
            settings["strict"] = strict
        return Encoder.of("tabular", settings, labels=labels)
    if any(isinstance(size, str) for spec in inputs for size in spec.shape[1:]):
        settings["free_size"] = found.free_size
    return Encoder.of("arrays", settings, labels=labels)
