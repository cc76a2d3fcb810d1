r"""Where the foreign graphs come from: unpacked wheels, and the test graphs of the package `onnx`.

The wheels are never installed:

    pip download --no-deps -d wheels silero-vad rapidocr-onnxruntime openwakeword==0.4.0 \
        basic-pitch akiki magika
    for w in wheels/*.whl; do unzip -qo $w -d x/$(basename $w | cut -d- -f1); done
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FREED = "batch freed"


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph to send through.

    Attributes:
        package: that it comes from; name: of the graph in it.
        path: of the file.
        form: empty for the file as it is; `FREED` for a copy whose first dimension is free.
    """

    package: str
    name: str
    path: str
    form: str = ""


def from_wheels(folder: Path) -> Iterator[Graph]:
    """The graphs of unpacked wheels: one folder a package."""
    for path in sorted(folder.rglob("*.onnx")):
        package = path.relative_to(folder).parts[0]
        yield Graph(package, path.stem if path.stem != "model" else path.parent.name, str(path))


def from_onnx() -> Iterator[Graph]:
    """The test graphs that the package `onnx` brings along."""
    found = importlib.util.find_spec("onnx")
    if found is None or found.origin is None:
        raise SystemExit("the package `onnx` is not installed")
    data = Path(found.origin).parent / "backend/test/data"
    for path in sorted(data.rglob("*.onnx")):
        # light/ holds light_x.onnx, the others test_x/model.onnx.
        name = path.parent.name if path.stem == "model" else path.stem
        yield Graph("onnx", name, str(path))


def free_batch(path: Path, target: Path) -> bool:
    """Writes a copy in which the first dimension of inputs and outputs is free.

    A graph that takes exactly k rows is refused as it is, which would leave most test graphs
    untried.

    Returns:
        Whether there was a fixed number of rows to free.
    """
    import onnx

    model: Any = onnx.load(str(path))
    held = {tensor.name for tensor in model.graph.initializer}
    fixed = False
    for value in model.graph.input:
        shape = value.type.tensor_type.shape
        if value.name in held or not shape.dim:
            continue
        fixed = fixed or shape.dim[0].dim_value > 1
        shape.dim[0].dim_param = "batch"
    for value in model.graph.output:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    if fixed:
        onnx.save(model, str(target))
    return fixed
