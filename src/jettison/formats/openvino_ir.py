"""The format `openvino_ir`: `model.xml`, and its weights in `model.bin` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact


class OpenvinoIr:
    """Opens an OpenVINO graph as the path of its .xml file: nothing is read until it is needed."""

    name: ClassVar[str] = "openvino_ir"
    trait: ClassVar[str] = "openvino"

    def open(self, artifact: Artifact) -> Path:
        """Gives the path of the .xml file.

        Raises:
            ModelError: if a file is missing, or the sizes are not those that were recorded.
        """
        return artifact.whole_path()

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes an `openvino.Model`, or the graph at a `Path`; the same graph gives the same bytes.

        Raises:
            ModelError: if the graph at the path can't be read.
        """
        from jettison.graphs.openvino_ir import read_ir, write_ir

        graph = read_ir(native) if isinstance(native, Path) else native
        return Artifact.of(self.name, folder, write_ir(graph, folder))
