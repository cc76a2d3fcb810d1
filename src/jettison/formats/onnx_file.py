"""The format `onnx_file`: `model.onnx`, and `model.onnx.data` beside it for heavy weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact
from jettison.graphs.onnx_storage import copy_model, save_model


class OnnxFile:
    """Opens an ONNX artifact as the path of its graph: nothing is read until it is needed."""

    name: ClassVar[str] = "onnx_file"
    trait: ClassVar[str] = "onnx"

    def open(self, artifact: Artifact) -> Path:
        """Gives the path of the .onnx file.

        Raises:
            ModelError: if a file is missing, or the sizes are not those that were recorded.
        """
        return artifact.whole_path()

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes an `onnx.ModelProto`, or copies the graph at a `Path`, into `folder`.

        The same graph gives the same bytes. Heavy weights go to `model.onnx.data` in blocks.

        Raises:
            ModelError: if the graph can't be read, or its external data is not at hand.
        """
        files = (
            copy_model(native, folder) if isinstance(native, Path) else save_model(native, folder)
        )
        return Artifact.of(self.name, folder, files)
