"""Opens a Hugging Face folder as the module that its head asks for, and saves it.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from pathlib import Path

from jettison.graphs.huggingface_files import IMAGES, head_of, read_config
from jettison.graphs.torch_image import ImageModel, open_image_model, save_image_model
from jettison.graphs.torch_text import TextModel, open_text_model, save_text_model

__all__ = ["open_transformer", "save_transformer"]


def open_transformer(folder: Path) -> TextModel | ImageModel:
    """Builds the model of a folder in eval mode, with weights as 32-bit floats.

    Nothing is fetched, no code of the folder is run, and pickles are not opened.

    Raises:
        ModelError: if transformers can't build it, or if weights are missing or misshapen.
    """
    if head_of(read_config(folder)) == IMAGES:
        return open_image_model(folder)
    return open_text_model(folder)


def save_transformer(model: TextModel | ImageModel, folder: Path) -> tuple[str, ...]:
    """Writes a model that `open_transformer` gave; gives the names of the files."""
    if isinstance(model, ImageModel):
        return save_image_model(model, folder)
    return save_text_model(model, folder)
