"""How the vectors of tokens become the vector of a text, as sentence-transformers writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from jettison.errors import ModelError
from jettison.graphs.huggingface_files import read_json
from jettison.graphs.tokenizer_files import optional_json

__all__ = ["Pooling", "default_prompt", "lowers_texts", "read_pooling", "write_pooling"]

PoolingMode = Literal["mean", "cls", "max", "none"]
MODULES_FILE = "modules.json"
POOLING_FILE = "1_Pooling/config.json"
TEXT_FILE = "sentence_bert_config.json"
PROMPTS_FILE = "config_sentence_transformers.json"
_MODES: Mapping[str, PoolingMode] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """How token vectors become one vector.

    Attributes:
        mode: mean over the tokens that the mask keeps, the first token, the maximum, or none: the
            vector of each token stays.
        normalize: whether the vector is scaled to length 1.
        stated: whether the folder said so; otherwise mean pooling with normalisation was assumed.
    """

    mode: PoolingMode = "mean"
    normalize: bool = True
    stated: bool = False


def read_pooling(folder: Path) -> Pooling:
    """Reads how sentence-transformers would pool in this folder.

    Returns:
        What `modules.json` and the pooling module's `config.json` say, `none` where it lists no
        pooling module; mean pooling with normalisation (`stated` is then false) where there is
        no `modules.json`.

    Raises:
        ModelError: for a module or a pooling mode that is not supported here.
    """
    path = folder / MODULES_FILE
    if not path.exists():
        return Pooling()
    mode: PoolingMode = "none"
    normalize = False
    for module in cast(list[dict[str, str]], read_json(path)):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            mode = _mode(folder, str(module.get("path", "")))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ModelError(
                f"{path} lists the module `{kind}`; embeddings may consist of Transformer, "
                "Pooling and Normalize; export the whole model to ONNX and give that file instead"
            )
    if mode == "none" and normalize:
        raise ModelError(
            f"{path} lists Normalize without Pooling; the vectors of tokens are not scaled here: "
            "export the whole model to ONNX and give that file instead"
        )
    return Pooling(mode, normalize, stated=True)


def _mode(folder: Path, sub: str) -> PoolingMode:
    path = (folder / sub / "config.json").resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{folder / MODULES_FILE} points outside of its folder: `{sub}`")
    if not path.exists():
        raise ModelError(f"{folder / MODULES_FILE} names a pooling module, but {path} is missing")
    settings = cast(dict[str, Any], read_json(path))
    chosen = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    if isinstance(settings.get("pooling_mode"), str):
        chosen = [
            f"pooling_mode_{settings['pooling_mode']}_tokens".replace("cls_tokens", "cls_token")
        ]
    if len(chosen) != 1 or chosen[0] not in _MODES:
        raise ModelError(
            f"{path} asks for {' + '.join(chosen) or 'no pooling'}; "
            f"exactly one of {', '.join(_MODES)} is supported"
        )
    if settings.get("include_prompt") is False and default_prompt(folder):
        raise ModelError(
            f"{path} leaves the tokens of the prompt out (`include_prompt` is false), which is not "
            f"supported here; set `default_prompt_name` in {folder / PROMPTS_FILE} to null, and the "
            "model is taken without its prompt"
        )
    return _MODES[chosen[0]]


def default_prompt(folder: Path) -> str:
    """The prompt that sentence-transformers puts in front of a text; empty without one.

    Raises:
        ModelError: if it has no text.
    """
    held = optional_json(folder / PROMPTS_FILE)
    name, prompts = held.get("default_prompt_name"), held.get("prompts")
    if name is None:
        return ""
    named = isinstance(prompts, dict) and isinstance(name, str)
    text: object = dict(prompts or {}).get(name) if named else None
    if not isinstance(text, str):
        raise ModelError(
            f"`default_prompt_name` in {folder / PROMPTS_FILE} is {name!r}, and `prompts` there "
            "has no text of this name; add it, or set the name to null"
        )
    return text


def lowers_texts(folder: Path) -> bool:
    """Whether sentence-transformers lower-cases each text, whatever the tokenizer does."""
    return optional_json(folder / TEXT_FILE).get("do_lower_case") is True


def write_pooling(pooling: Pooling, folder: Path) -> tuple[str, ...]:
    """Writes the pooling as sentence-transformers does; gives the names of the files."""
    types = ["Transformer", "Pooling"] + (["Normalize"] if pooling.normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    if pooling.mode == "none":
        types = ["Transformer"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(types)
    ]
    settings = {key: mode == pooling.mode for key, mode in _MODES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODULES_FILE).write_text(json.dumps(modules, indent=2), encoding="utf-8")
    if pooling.mode == "none":
        return (MODULES_FILE,)
    (folder / POOLING_FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / POOLING_FILE).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return (MODULES_FILE, POOLING_FILE)
