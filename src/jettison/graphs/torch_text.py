"""A transformer with its pooling as one PyTorch module that answers with one named array.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import is_classifier, model_files, read_config
from jettison.graphs.pooling import Pooling, read_pooling, write_pooling
from jettison.graphs.torch_signature import Signature

__all__ = ["TextModel", "open_text_model", "save_text_model"]


class TextModel(torch.nn.Module):  # type: ignore[misc]
    """A transformers model that answers with `embedding` (n, d) or `logits` (n, classes).

    Attributes:
        backbone: the transformers model.
        pooling: `None` for a sequence classifier, whose logits are the answer.
    """

    def __init__(self, backbone: Any, pooling: Pooling | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        """Answers a batch.

        Args:
            input_ids: shape (n, sequence), int64.
            attention_mask: shape (n, sequence), int64; 0 where a row is padded.
            token_type_ids: shape (n, sequence), int64; 1 in the second text of a pair.

        Returns:
            Shape (n, d) or (n, classes), float32.
        """
        named = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            named["token_type_ids"] = token_type_ids
        answer = self.backbone(**named)
        if self.pooling is None:
            return answer.logits
        return _pool(answer.last_hidden_state, attention_mask, self.pooling)

    @property
    def signature(self) -> Signature:
        """Inputs and output, with free batch and sequence: what an export of this module needs."""
        names = ["input_ids", "attention_mask"] + ["token_type_ids"] * self.takes_segments
        inputs = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in names)
        return Signature(inputs, ("logits",) if self.pooling is None else ("embedding",))

    @contextlib.contextmanager
    def plain_attention(self) -> Iterator[None]:
        """Attends by matrix products and a softmax for a while, as fusion in a graph expects."""
        before = self.backbone.config._attn_implementation
        self.backbone.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.backbone.set_attn_implementation(before)

    def traceable(self) -> TextModel:
        """Gives itself with plain attention: what fused kernels leave, ORT does not recognise."""
        self.backbone.set_attn_implementation("eager")
        return self

    @property
    def takes_segments(self) -> bool:
        """Whether the model tells the two texts of a pair apart by `token_type_ids`."""
        accepted = inspect.signature(self.backbone.forward).parameters
        kinds = getattr(self.backbone.config, "type_vocab_size", 0) or 0
        return "token_type_ids" in accepted and kinds > 1

    def answer_width(self, length: int, pad_id: int) -> int:
        """Runs two rows, one of `length` tokens and one padded; gives the width of the answer.

        Raises:
            ModelError: if the model can't take that length, or answers with NaN.
        """
        token = 1 if pad_id == 0 else 0
        ids = torch.full((2, length), token, dtype=torch.int64)
        mask = torch.ones_like(ids)
        ids[1, length // 2 :] = pad_id
        mask[1, length // 2 :] = 0
        segments = (torch.zeros_like(ids),) if self.takes_segments else ()
        try:
            with torch.inference_mode():
                answer = self(ids, mask, *segments)
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"the model can't run 2 rows of {length} tokens: {_first_line(error)}; give a "
                "smaller max_length if it is the length"
            ) from error
        if answer.dim() != 2 or not bool(torch.isfinite(answer).all()):
            raise ModelError(
                f"the model must answer with finite numbers of shape (rows, width); it gave shape "
                f"{tuple(answer.shape)}, finite: {bool(torch.isfinite(answer).all())}"
            )
        return int(answer.shape[1])


def _pool(hidden: Any, attention_mask: Any, pooling: Pooling) -> Any:
    # The formulas of sentence-transformers' `Pooling` and `Normalize`, so that answers agree.
    keep = attention_mask.unsqueeze(-1).to(hidden.dtype)
    if pooling.mode == "cls":
        vector = hidden[:, 0]
    elif pooling.mode == "max":
        vector = hidden.masked_fill(keep == 0, -1e9).max(dim=1).values
    else:
        vector = (hidden * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vector, p=2.0, dim=1) if pooling.normalize else vector


def open_text_model(folder: Path) -> TextModel:
    """Builds the model of a folder in eval mode, with weights as 32-bit floats.

    Nothing is fetched, no code of the folder is run, and pickles are not opened.

    Raises:
        ModelError: if transformers can't build it, or if weights are missing or misshapen.
    """
    import transformers

    classifier = is_classifier(read_config(folder))
    auto = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModel
    with _quiet():
        try:
            backbone, loading = auto.from_pretrained(
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
                f"{_first_line(error)}; save it again with `model.save_pretrained(folder)`"
            ) from error
    _require_all_weights(loading, folder)
    backbone.requires_grad_(requires_grad=False)
    pooling = None if classifier else read_pooling(folder)
    model = TextModel(backbone, pooling)
    model.eval()
    return model


def save_text_model(model: TextModel, folder: Path) -> tuple[str, ...]:
    """Writes config.json, safetensors and pooling; gives the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with _quiet():
        model.backbone.save_pretrained(str(folder), safe_serialization=True)
    if model.pooling is not None:
        write_pooling(model.pooling, folder)
    return model_files(folder)


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


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
