"""The transformers model of a folder: built without the network, without code, without pickles.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from jettison.errors import ModelError

__all__ = ["first_line", "open_backbone", "quiet", "save_backbone"]


def open_backbone(folder: Path, auto: str) -> Any:
    """Builds the model of a folder in eval mode, with weights as 32-bit floats.

    Args:
        folder: with config.json and safetensors.
        auto: class of transformers that builds it, such as `AutoModel`.

    Raises:
        ModelError: if transformers can't build it, or if weights are missing or misshapen.
    """
    import transformers

    with quiet():
        try:
            backbone, loading = getattr(transformers, auto).from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # from OSError to SafetensorError: a config can break any line
            raise ModelError(
                f"transformers {transformers.__version__} can't build the model in {folder}: "
                f"{first_line(error)}; save it again with `model.save_pretrained(folder)`"
            ) from error
    _require_all_weights(loading, folder)
    backbone.requires_grad_(requires_grad=False)
    backbone.eval()
    return backbone


def save_backbone(backbone: Any, folder: Path) -> None:
    """Writes config.json and safetensors into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        backbone.save_pretrained(str(folder), safe_serialization=True)


def _require_all_weights(loading: dict[str, Any], folder: Path) -> None:
    # transformers fills what is missing with random numbers. A pooler is not used here.
    missing = [key for key in loading.get("missing_keys") or () if "pooler." not in key]
    mismatched = [str(key) for key in loading.get("mismatched_keys") or ()]
    if missing or mismatched:
        bad = sorted(missing) + sorted(mismatched)
        raise ModelError(
            f"the safetensors in {folder} lack {len(bad)} weights that config.json asks for "
            f"({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}); the config and the weights "
            "are not of one model: save both again with `model.save_pretrained(folder)`"
        )


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides progress bars and notices of transformers; its errors still come through."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
