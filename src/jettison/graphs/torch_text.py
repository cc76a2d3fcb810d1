"""A transformer with its pooling as one PyTorch module that answers with one named array.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import CLASSIFIER, TOKENS, head_of, model_files, read_config
from jettison.graphs.pooling import Pooling, read_pooling, write_pooling
from jettison.graphs.torch_backbone import first_line, open_backbone, save_backbone
from jettison.graphs.torch_signature import Signature

__all__ = ["TextModel", "open_text_model", "save_text_model"]

AUTO = {CLASSIFIER: "AutoModelForSequenceClassification", TOKENS: "AutoModelForTokenClassification"}
"""Head of a model -> class of transformers that builds it."""


class TextModel(torch.nn.Module):  # type: ignore[misc]
    """A transformers model that answers with `embedding` (n, d) or `logits` (n, classes).

    Where it answers each token, the answer is (n, sequence, d) or (n, sequence, classes); what
    stands at padded places means nothing.

    Attributes:
        backbone: the transformers model.
        pooling: `None` for a classifier, whose logits are the answer.
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
            Shape (n, d) or (n, classes), float32; (n, sequence, ...) where tokens are answered.
        """
        named = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            named["token_type_ids"] = token_type_ids
        answer = self.backbone(**named)
        if self.pooling is None:
            return answer.logits
        if self.pooling.mode == "none":
            return answer.last_hidden_state
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

    def answer_shape(self, length: int, pad_id: int) -> tuple[int | str, ...]:
        """Runs two rows, one of `length` tokens and one padded; gives the shape of the answer.

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
                f"the model can't run 2 rows of {length} tokens: {first_line(error)}; give a "
                "smaller max_length if it is the length"
            ) from error
        by_token = answer.dim() == 3 and answer.shape[1] == length
        if not (answer.dim() == 2 or by_token) or not bool(torch.isfinite(answer).all()):
            raise ModelError(
                "the model must answer with finite numbers of shape (rows, width) or (rows, "
                f"tokens, width); it gave shape {tuple(answer.shape)}, finite: "
                f"{bool(torch.isfinite(answer).all())}"
            )
        width = int(answer.shape[-1])
        return ("batch", "sequence", width) if by_token else ("batch", width)


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
    head = head_of(read_config(folder))
    backbone = open_backbone(folder, AUTO.get(head, "AutoModel"))
    model = TextModel(backbone, None if head else read_pooling(folder))
    model.eval()
    return model


def save_text_model(model: TextModel, folder: Path) -> tuple[str, ...]:
    """Writes config.json, safetensors and pooling; gives the names of the files."""
    save_backbone(model.backbone, folder)
    if model.pooling is not None:
        write_pooling(model.pooling, folder)
    return model_files(folder)
