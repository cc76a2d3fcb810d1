"""Tiny Hugging Face folders of real architectures with random weights; made without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TAGS = ("O", "B-PER", "I-PER")
KINDS = ("red", "green", "blue")


def names(values: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(values)), "label2id": {v: i for i, v in enumerate(values)}}


def text_config(vocabulary: int, **more: Any) -> Any:
    import transformers

    return transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        **more,
    )


def token_classifier(folder: Path, write_wordpiece: Callable[[Path], list[str]]) -> Path:
    """A BERT token classifier of three tags."""
    import torch
    import transformers

    size = len(write_wordpiece(folder))
    torch.manual_seed(0)
    config = text_config(size, **names(TAGS))
    transformers.BertForTokenClassification(config).save_pretrained(folder)
    return folder


def encoder(folder: Path, write_wordpiece: Callable[[Path], list[str]]) -> Path:
    """A BERT without a head."""
    import torch
    import transformers

    size = len(write_wordpiece(folder))
    torch.manual_seed(0)
    transformers.BertModel(text_config(size)).save_pretrained(folder)
    return folder


SQUARE = {
    "image_processor_type": "ViTImageProcessor",
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.25, 0.2],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 16, "width": 16},
}
"""A processor that stretches."""


def write_processor(folder: Path, held: Mapping[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(held), encoding="utf-8")


def vision_transformer(folder: Path) -> Path:
    """A ViT of 16 x 16 pixels and three classes."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=16,
        patch_size=4,
        initializer_range=0.3,
        **names(KINDS),
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    write_processor(folder, SQUARE)
    return folder


def residual_network(folder: Path) -> Path:
    """A ResNet whose processor resizes to 20 and crops 16 x 16."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        layer_type="basic",
        **names(KINDS),
    )
    transformers.ResNetForImageClassification(config).eval().save_pretrained(folder)
    crop = {"size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": 16}
    write_processor(folder, SQUARE | crop)
    return folder
