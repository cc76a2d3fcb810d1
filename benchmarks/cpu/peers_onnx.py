"""ONNX Runtime's quantizers, called as its documentation calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cpu.records import Subject
from jettison.domain.jobs import Variant
from jettison.domain.model import Artifact
from jettison.domain.recipe import Step
from jettison.domain.splits import FittingData

ROWS = 128
"""For ranges; its documentation names no number."""

FILE = "model.onnx"


def dynamic(subject: Subject, place: Path) -> Variant:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(subject.model.artifact.path), str(place / FILE))
    return saved(subject, place)


def dynamic_per_channel(subject: Subject, place: Path) -> Variant:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(subject.model.artifact.path), str(place / FILE), per_channel=True)
    return saved(subject, place)


def static(subject: Subject, place: Path) -> Variant:
    from onnxruntime.quantization import quantize_static

    reader = _reader(subject.fitting)
    quantize_static(str(subject.model.artifact.path), str(place / FILE), reader)
    return saved(subject, place)


def static_as_its_guide(subject: Subject, place: Path) -> Variant:
    """After `quant_pre_process` (symbolic shapes left out where they fail), a scale per channel."""
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = place / "prepared.onnx"
    given = str(subject.model.artifact.path)
    try:
        quant_pre_process(given, str(prepared))
    except Exception as failure:  # noqa: BLE001
        print(f"  quant_pre_process: {str(failure)[:120]}", flush=True)
        quant_pre_process(given, str(prepared), skip_symbolic_shape=True)
    reader = _reader(subject.fitting)
    quantize_static(str(prepared), str(place / FILE), reader, per_channel=True)
    return saved(subject, place)


def _reader(fitting: FittingData) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(list(fitting.rows.batches(1, limit=ROWS)))

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._batches, None)

    return Reader()


def saved(subject: Subject, place: Path) -> Variant:
    artifact = Artifact.of("onnx_file", place, (FILE,))
    return Variant("", dataclasses.replace(subject.model, artifact=artifact), Step("onnx_runtime"))


PEERS: Mapping[str, Callable[[Subject, Path], Variant]] = {
    "onnxruntime quantize_dynamic": dynamic,
    "onnxruntime quantize_dynamic, per channel": dynamic_per_channel,
    "onnxruntime quantize_static": static,
    "onnxruntime quantize_static, as its guide": static_as_its_guide,
}
