"""The format `torch_quantized`: a program in JSON, integers in safetensors, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact


class TorchQuantized:
    """Opens a quantized program as a module of PyTorch's or torchao's quantized layers."""

    name: ClassVar[str] = "torch_quantized"
    trait: ClassVar[str] = "torch"

    def open(self, artifact: Artifact) -> Any:
        """Puts the layers together with the functions of the library that made them.

        Raises:
            ModelError: if a file is missing, damaged, or holds anything but words of the format.
        """
        from jettison.graphs.torch_quantized import open_quantized

        return open_quantized(Path(artifact.folder))

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes what a technique made, or copies what `open` gave.

        Raises:
            ModelError: for anything else.
        """
        from jettison.graphs.torch_quantized import save_quantized

        return Artifact.of(self.name, folder, save_quantized(native, folder))
