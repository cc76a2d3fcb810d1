"""The format `torch_program`: an exported PyTorch program as JSON and safetensors, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact


class TorchProgram:
    """Opens a program as a module of real layers; saves any module by exporting it."""

    name: ClassVar[str] = "torch_program"
    trait: ClassVar[str] = "torch"

    def open(self, artifact: Artifact) -> Any:
        """Gives an `fx.GraphModule` in eval mode: named tensors in, a tensor or a tuple out.

        Layers with weights are real `nn` modules under their original names. Nothing is
        unpickled, and no code of the file is run.

        Raises:
            ModelError: if a file is missing, damaged, or holds anything but words of the format.
        """
        from jettison.graphs.torch_program import open_program

        return open_program(Path(artifact.folder))

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes an opened program, or exports a module that states its `signature`.

        Raises:
            ModelError: if it can't be exported; quotes the reason of `torch.export`.
        """
        from jettison.graphs.torch_program import save_program

        return Artifact.of(self.name, folder, save_program(native, folder))
