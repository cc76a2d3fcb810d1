"""Where PyTorch modules come from: a Python function, a file of weights.

A function that a user names is the user's own program, and is run. A file of weights is data:
safetensors, or a pickle that the user allows and PyTorch opens with `weights_only=True`.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from jettison.domain.function_source import users_function
from jettison.errors import ModelError
from jettison.graphs.torch_capture import first_line

__all__ = ["call_function", "load_weights", "read_weights", "takes"]

PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt"})
COUNTER = "num_batches_tracked"
"""Of BatchNorm: nothing reads it when a model answers, and old checkpoints lack it."""


def call_function(where: str, name: str) -> Any:
    """Imports a file or module of the user and calls a function in it without arguments.

    Args:
        where: path of a .py file, or the dotted name of a module.
        name: of the function.

    Raises:
        ModelError: if it can't be imported, has no such function, fails, or gives no module.
    """
    shown = f"`{where}:{name}`"
    with users_function(where, name, shown, ModelError) as function:
        try:
            made = function()
        except Exception as error:  # the user's code may raise anything
            raise ModelError(
                f"{shown} failed: {type(error).__name__}: {first_line(error)}; it is called "
                "without arguments and must return a torch.nn.Module"
            ) from error
    if not isinstance(made, torch.nn.Module):
        raise ModelError(f"{shown} returned a `{type(made).__name__}`, not a torch.nn.Module")
    return made


def takes(module: Any) -> tuple[str, ...]:
    """Names of the arguments that the `forward` of a module needs."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind in kinds and p.default is p.empty)


def read_weights(path: Path, *, trust_pickle: bool) -> dict[str, Any]:
    """Reads a file of weights: qualified name -> tensor.

    Raises:
        ModelError: for a file that is missing or damaged, and for a pickle without leave or with
            anything but tensors in it.
    """
    if not path.is_file():
        raise ModelError(f"there is no file `{path}` (`weights` in `model`)")
    if path.suffix.lower() == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(str(path)))
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"`{path}` is no safetensors file that can be read: {error}"
            ) from error
    if path.suffix.lower() not in PICKLES:
        raise ModelError(
            f"`{path}` is of a kind that is not read here; give weights as .safetensors: "
            "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
        )
    if not trust_pickle:
        raise ModelError(
            f"`{path}` is a pickle. Write its weights as .safetensors, or set `model.trust_pickle = "
            "true` (--trust-pickle): it is opened with weights_only=True, which takes tensors only"
        )
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(
            f"`{path}` can't be opened with weights_only=True: {first_line(error)}; it holds more "
            "than tensors, or is damaged: write its weights as .safetensors where it was made"
        ) from error
    return _state(stored, path)


def _state(stored: Any, path: Path) -> dict[str, Any]:
    """The weights of a checkpoint, which may hold them under `state_dict` or `model`."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
            break
    if not isinstance(stored, Mapping) or not stored:
        raise ModelError(f"`{path}` holds no weights by name: save `module.state_dict()`")
    if odd := next((k for k, v in stored.items() if not isinstance(v, torch.Tensor)), None):
        raise ModelError(
            f"`{odd}` in `{path}` is no tensor: save `module.state_dict()` and nothing else"
        )
    return {str(name): tensor for name, tensor in stored.items()}


def load_weights(module: Any, weights: Mapping[str, Any], where: str) -> None:
    """Puts weights into a module; every name and shape must fit.

    Raises:
        ModelError: with the names that are missing, unexpected, or of another shape.
    """
    own = module.state_dict()
    missing = [n for n in own if n not in weights and not n.endswith(COUNTER)]
    missing = [n for n in missing if not _is_tied(n, own, weights)]
    unexpected = [n for n in weights if n not in own]
    misshapen = [
        f"{n} {tuple(weights[n].shape)} (the module has {tuple(own[n].shape)})"
        for n in own
        if n in weights and weights[n].shape != own[n].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:8])}{f' and {len(names) - 8} more' * (len(names) > 8)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if problems:
        prefix = _common_prefix(missing, unexpected)
        raise ModelError(
            f"the weights in `{where}` are not those of `{type(module).__name__}`; "
            f"{'; '.join(problems)}.{prefix} Give the function that made them, or rename the weights"
        )
    module.load_state_dict(dict(weights), strict=False)


def _is_tied(name: str, own: Mapping[str, Any], weights: Mapping[str, Any]) -> bool:
    """Whether a weight is also held under a name that the file has."""
    pointer = own[name].data_ptr()
    return any(other in weights and own[other].data_ptr() == pointer for other in own)


def _common_prefix(missing: list[str], unexpected: list[str]) -> str:
    for name in unexpected[:1]:
        for other in missing:
            if name != other and name.endswith(f".{other}"):
                return f" Each seems to bear the prefix `{name.removesuffix(other)}`."
    return ""
