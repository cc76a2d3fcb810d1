"""The format `huggingface_folder`: config.json, safetensors, pooling or image processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact


class HuggingfaceFolder:
    """A transformers model on disk: data only, opened without the network."""

    name: ClassVar[str] = "huggingface_folder"
    trait: ClassVar[str] = "torch"

    def open(self, artifact: Artifact) -> Any:
        """Gives an `nn.Module` in eval mode: named arrays in, one tensor out.

        Raises:
            ModelError: if weights are missing, of another shape, or stored as a pickle.
        """
        from jettison.graphs.torch_transformers import open_transformer

        return open_transformer(Path(artifact.folder))

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes the module that `open` gave into a folder."""
        from jettison.graphs.torch_transformers import save_transformer

        return Artifact.of(self.name, folder, save_transformer(native, folder))
