"""The code of a card that runs the model's files, by the file that is opened first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from jettison.domain.model import Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.reporting import markdown

MODEL_FOLDER = "model"
"""Where a bundle keeps the files of the model."""

_ASKED = {
    "probabilities": "estimator.predict_proba(rows)",
    "scores": "estimator.decision_function(rows)",
}
"""Output of a scikit-learn model -> how it is asked; any other is `predict`."""


def snippet(model: Model, runtime: Step) -> markdown.Markdown | str:
    """Python that opens the files in the folder of the bundle and answers one made-up row.

    Args:
        model: of the bundle.
        runtime: as certified; what changes answers (the precision) is set in the code too.

    Returns:
        A fenced block; empty for a kind of file that is not known here.
    """
    file = model.artifact.files[0]
    write = _BY_FILE.get(file) or _BY_SUFFIX.get(PurePosixPath(file).suffix)
    return markdown.block(write(model, runtime), "python") if write is not None else ""


def _onnx(model: Model, runtime: Step) -> str:
    return (
        "import numpy as np\n"
        "import onnxruntime as ort\n\n"
        f"session = ort.InferenceSession({_path(model)!r}, providers=['CPUExecutionProvider'])\n"
        f"{_inputs(model)}"
        f"scores = session.run([{model.prediction!r}], inputs)[0]\n"
        "print(scores)"
    )


def _openvino(model: Model, runtime: Step) -> str:
    precision = runtime.settings.get("precision")
    hint = f", {{'INFERENCE_PRECISION_HINT': {precision!r}}}" if precision else ""
    return (
        "import numpy as np\n"
        "import openvino as ov\n\n"
        f"compiled = ov.Core().compile_model({_path(model)!r}, 'CPU'{hint})\n"
        f"{_inputs(model)}"
        f"scores = compiled(inputs)[{model.prediction!r}]\n"
        "print(scores)"
    )


def _torch(opener: str, module: str) -> Callable[[Model, Step], str]:
    def write(model: Model, runtime: Step) -> str:
        return (
            "from pathlib import Path\n\n"
            "import numpy as np\n"
            "import torch\n"
            f"from {module} import {opener}  # no pickle: JSON and safetensors\n\n"
            f"network = {opener}(Path({MODEL_FOLDER!r})).eval()\n"
            f"{_inputs(model)}"
            "with torch.inference_mode():\n"
            "    answer = network(**{name: torch.from_numpy(v) for name, v in inputs.items()})\n"
            f"outputs = {[spec.name for spec in model.outputs]!r}\n"
            "answers = dict(zip(outputs, answer if isinstance(answer, tuple) else (answer,)))\n"
            f"print(answers[{model.prediction!r}])"
        )

    return write


def _scikit_learn(model: Model, runtime: Step) -> str:
    asked = _ASKED.get(model.prediction, "estimator.predict(rows)")
    return (
        "from pathlib import Path\n\n"
        "import numpy as np\n"
        "import pandas as pd\n"
        "from jettison.graphs.sklearn_store import open_skops  # scikit-learn's own types only\n\n"
        f"estimator = open_skops(Path({_path(model)!r}))\n"
        f"{_rows(model)}"
        f"print({asked})"
    )


_BY_FILE: Mapping[str, Callable[[Model, Step], str]] = {
    "program.json": _torch("open_program", "jettison.graphs.torch_program"),
    "config.json": _torch("open_transformer", "jettison.graphs.torch_transformers"),
}
_BY_SUFFIX: Mapping[str, Callable[[Model, Step], str]] = {
    ".onnx": _onnx,
    ".xml": _openvino,
    ".skops": _scikit_learn,
}


def _path(model: Model) -> str:
    return f"{MODEL_FOLDER}/{model.artifact.files[0]}"


def _inputs(model: Model) -> str:
    feeds = ",\n".join(f"    {spec.name!r}: {_value(spec)}" for spec in model.inputs)
    return f"inputs = {{  # the first axis is the batch\n{feeds},\n}}\n"


def _value(spec: TensorSpec) -> str:
    # One is inside every vocabulary and mask; a text may be empty.
    make = "full" if spec.dtype == "str" else "ones"
    value = ", ''" if spec.dtype == "str" else ""
    dtype = "object" if spec.dtype == "str" else spec.dtype
    return f"np.{make}({_shape(spec.shape)}{value}, dtype={dtype!r})"


def _rows(model: Model) -> str:
    """One row as the estimator was fitted: a table by column names, or an array."""
    columns = model.encoder.settings.get("columns")
    names = [str(name) for name in columns] if isinstance(columns, list) else []
    if len(model.inputs) == 1 and not names:
        return f"rows = np.ones({_shape(model.inputs[0].shape)}, dtype='float64')\n"
    specs = model.inputs if len(model.inputs) == len(names) else ()
    texts = {n for n, spec in zip(names, specs, strict=False) if spec.dtype == "str"}
    filled = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: [{_known(model, name)!r}]"
        if name in texts
        else f"{json.dumps(name, ensure_ascii=False)}: [1.0]"
        for name in names
    )
    return f"rows = pd.DataFrame({{{filled}}})\n"


def _known(model: Model, column: str) -> str:
    """A value of a text column that the model was fitted on, or an empty text."""
    known = model.encoder.settings.get(f"categories.{column}")
    return str(known[0]) if isinstance(known, list) and known else ""


def _shape(shape: tuple[int | str, ...]) -> str:
    """A small example shape: one row, and 8 where a later axis is free."""
    sizes = [
        axis if isinstance(axis, int) else (1 if i == 0 else 8) for i, axis in enumerate(shape)
    ]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
