"""The format `huggingface_folder`: config.json, safetensors and the pooling of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.model import Artifact


class HuggingfaceFolder:
    """A transformers model on disk: data only, opened without the network."""

    name: ClassVar[str] = "huggingface_folder"
    trait: ClassVar[str] = "torch"

    def open(self, artifact: Artifact) -> Any:
        """Gives an `nn.Module` in eval mode: named int64 arrays in, one tensor out.

        Raises:
            ModelError: if weights are missing, of another shape, or stored as a pickle.
        """
        from jettison.graphs.torch_text import open_text_model

        return open_text_model(Path(artifact.folder))

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes the module that `open` gave into a folder."""
        from jettison.graphs.torch_text import save_text_model

        return Artifact.of(self.name, folder, save_text_model(native, folder))
