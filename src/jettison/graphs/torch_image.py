"""An image classifier of transformers as one PyTorch module that answers with logits.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import model_files
from jettison.graphs.image_processor import PROCESSOR, image_settings, read_processor
from jettison.graphs.torch_backbone import first_line, open_backbone, save_backbone
from jettison.graphs.torch_signature import Signature

__all__ = ["ImageModel", "open_image_model", "save_image_model"]

ROWS = 2
"""Made-up images that a loader tries the model with."""


class ImageModel(torch.nn.Module):  # type: ignore[misc]
    """A transformers image classifier that answers with `logits` (n, classes).

    Attributes:
        backbone: the transformers model.
        processor: what preprocessor_config.json says.
        settings: the same for the encoder `image`; `size` is height and width in pixels.
    """

    def __init__(self, backbone: Any, processor: dict[str, Any], where: Path) -> None:
        super().__init__()
        self.backbone = backbone
        self.processor = processor
        self.settings = image_settings(processor, backbone.config.to_dict(), where)

    def forward(self, pixel_values: Any) -> Any:
        """Answers a batch of shape (n, channels, height, width), float32, normalised."""
        return self.backbone(pixel_values=pixel_values).logits

    @property
    def signature(self) -> Signature:
        """The input and the output, with a free batch: what an export of this module needs."""
        channels = 1 if self.settings["channels"] == "grey" else 3
        size = self.settings["size"]
        height, width = size if isinstance(size, list) else (0, 0)
        shape = ("batch", channels, int(height), int(width))
        return Signature((TensorSpec("pixel_values", "float32", shape),), ("logits",))

    def traceable(self) -> ImageModel:
        """Gives itself with attention as matrix products, where there is any."""
        if hasattr(self.backbone, "set_attn_implementation"):
            self.backbone.set_attn_implementation("eager")
        return self

    def answer_width(self) -> int:
        """Runs made-up images; gives the number of classes.

        Raises:
            ModelError: if the model can't take images of this size, or answers with NaN.
        """
        shape = self.signature.inputs[0].shape[1:]
        images = torch.randn((ROWS, *shape), generator=torch.Generator().manual_seed(0))
        try:
            with torch.inference_mode():
                answer = self(images)
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"the model can't run {ROWS} images of shape {list(shape)}: {first_line(error)}; "
                "preprocessor_config.json and config.json must be of one model"
            ) from error
        if answer.dim() != 2 or len(answer) != ROWS or not bool(torch.isfinite(answer).all()):
            raise ModelError(
                "the model must answer with finite numbers of shape (images, classes); it gave "
                f"shape {tuple(answer.shape)}, finite: {bool(torch.isfinite(answer).all())}"
            )
        return int(answer.shape[1])

    def kinds_of_layers(self) -> frozenset[str]:
        """The traits of its layers: `convolution`, `matmul`, `attention`."""
        layers = list(self.backbone.modules())
        words = {
            "convolution": any(isinstance(part, torch.nn.Conv2d) for part in layers),
            "matmul": any(isinstance(part, torch.nn.Linear) for part in layers),
            "attention": any("Attention" in type(part).__name__ for part in layers),
        }
        return frozenset(word for word, found in words.items() if found)


def open_image_model(folder: Path) -> ImageModel:
    """Builds the model of a folder in eval mode, with weights as 32-bit floats.

    Raises:
        ModelError: if transformers can't build it, or if weights are missing or misshapen.
    """
    processor = read_processor(folder)
    backbone = open_backbone(folder, "AutoModelForImageClassification")
    model = ImageModel(backbone, processor, folder / PROCESSOR)
    model.eval()
    return model


def save_image_model(model: ImageModel, folder: Path) -> tuple[str, ...]:
    """Writes config.json, safetensors and the processor; gives the names of the files."""
    save_backbone(model.backbone, folder)
    text = json.dumps(model.processor, indent=2, sort_keys=True)
    (folder / PROCESSOR).write_text(text, encoding="utf-8")
    return model_files(folder)
