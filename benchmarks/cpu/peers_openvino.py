"""OpenVINO in float, and NNCF's quantizers as their documentation calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.judging import quality_of
from benchmarks.cpu.margins import MARGINS
from benchmarks.cpu.records import Subject, answers
from jettison.domain.jobs import Variant
from jettison.domain.model import Artifact, Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Array
from jettison.pipeline.apply import apply

VALIDATION = 300
"""Rows on which accuracy control judges; it runs all of them many times."""


def converted(subject: Subject) -> Model:
    """The float model as OpenVINO IR."""
    recipe = Recipe((Step("convert_openvino"),), Step("openvino"))
    folder = subject.folder / "artifacts"
    return apply(subject.model, recipe, subject.fitting, folder, subject.serving).model


def plain(subject: Subject, place: Path) -> Variant:
    return Variant("", converted(subject), Step("openvino"))


def quantized(subject: Subject, place: Path) -> Variant:
    """`nncf.quantize`, with `model_type` for transformers as its guide asks."""
    import nncf

    model = converted(subject)
    dataset = nncf.Dataset(list(subject.fitting.rows.batches(1)))
    return _saved(model, nncf.quantize(_read(model), dataset, **_kind(subject)), place)


def controlled(subject: Subject, place: Path) -> Variant:
    """`nncf.quantize_with_accuracy_control` with the margin as `max_drop`."""
    import nncf

    model = converted(subject)
    rows = dataclasses.replace(subject.selection, n=min(VALIDATION, subject.selection.n))
    numbered = list(enumerate(rows.batches(1)))
    before = _answers(_compiled(_read(model)), (b for _, b in numbered), model.prediction)
    targets = answers(rows) if subject.metric != "cosine" else None

    def validate(compiled: Any, data: Iterable[Any]) -> tuple[float, list[float]]:
        # It asks for all rows, or for some of them.
        some = list(data)
        places = [place for place, _ in some]
        got = _answers(compiled, (batch for _, batch in some), model.prediction)
        held = None if targets is None else targets[places]
        each = quality_of(subject.metric, got, before[places], held)
        return float(each.mean()), [float(v) for v in each]

    made = nncf.quantize_with_accuracy_control(
        _read(model),
        nncf.Dataset(list(subject.fitting.rows.batches(1))),
        nncf.Dataset(numbered, lambda one: one[1]),
        validate,
        max_drop=MARGINS[subject.name],
        **_kind(subject),
    )
    return _saved(model, made, place)


def weights_only(subject: Subject, place: Path) -> Variant:
    """`nncf.compress_weights`, which stores 8 bits by default."""
    import nncf

    model = converted(subject)
    return _saved(model, nncf.compress_weights(_read(model)), place)


def _kind(subject: Subject) -> dict[str, Any]:
    import nncf

    transformer = "attention" in subject.model.traits
    return {"model_type": nncf.ModelType.TRANSFORMER} if transformer else {}


def _read(model: Model) -> Any:
    import openvino

    return openvino.Core().read_model(str(model.artifact.path))


def _compiled(graph: Any) -> Any:
    import openvino

    return openvino.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1})


def _answers(compiled: Any, batches: Iterable[Any], output: str) -> Array:
    return np.concatenate([np.asarray(compiled(batch)[output]) for batch in batches])


def _saved(model: Model, graph: Any, place: Path) -> Variant:
    import openvino

    openvino.save_model(graph, str(place / "model.xml"), compress_to_fp16=False)
    artifact = Artifact.of("openvino_ir", place, ("model.xml", "model.bin"))
    return Variant("", dataclasses.replace(model, artifact=artifact), Step("openvino"))


PEERS: Mapping[str, Callable[[Subject, Path], Variant]] = {
    "openvino float": plain,
    "NNCF quantize": quantized,
    "NNCF quantize with accuracy control": controlled,
    "NNCF compress_weights": weights_only,
}
