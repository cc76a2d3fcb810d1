"""A PyTorch model on the bench of a quantizer: its program, its rows, the layers left in float.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import fx

from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, ModelError, NothingChanged
from jettison.graphs.torch_capture import capture, first_line
from jettison.graphs.torch_quantize import LAYERS, fold_norms, plain_layers
from jettison.graphs.torch_sensitivity import model_sensitivity
from jettison.graphs.torch_signature import signature_of

__all__ = ["Piece", "on_the_bench", "rows_at_once", "watch"]

BATCH_ROWS = 8
"""Rows that run together: as many whatever the serving profile is, because a recipe must give the
same bytes for every one."""

OPTION = "int8 weights"
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """What is quantized.

    Attributes:
        program: a copy that may be changed; norms are folded into convolutions.
        layers: name -> layer, of those that get integers.
        spared: names of layers that stay in float.
    """

    program: Any
    layers: Mapping[str, Any]
    spared: tuple[str, ...]

    @property
    def told(self) -> str:
        """Says which layers stayed in float, or nothing."""
        return f", left in float: {', '.join(self.spared)}" if self.spared else ""

    @property
    def weights(self) -> int:
        """How many weights the layers hold."""
        return sum(int(layer.weight.numel()) for layer in self.layers.values())


def on_the_bench(
    model: Model,
    settings: Settings,
    fitting: FittingData,
    bench: Workbench,
    kinds: tuple[type[Any], ...] = LAYERS,
) -> Piece:
    """Opens a model as a program and chooses its layers.

    Settings that are read: `keep_float` (patterns of names) and `exclude_layers` (how many of the
    most sensitive layers).

    Raises:
        NothingChanged: if it has no layer of these kinds, or all of them are to stay in float.
        CandidateFailed: if it can't be exported, or a pattern matches no layer.
    """
    native = bench.open(model).eval()
    try:
        program = native if _is_program(native) else _captured(native)
    except ModelError as error:
        raise CandidateFailed(str(error)) from error
    fold_norms(program)
    layers = plain_layers(program, kinds)
    if not layers:
        wanted = ", ".join(kind.__name__ for kind in kinds)
        raise NothingChanged(f"the model has no layer with weights of its own of kind {wanted}")
    named = _named(str(settings.get("keep_float", "")), tuple(layers))
    worst = _worst(model, fitting, bench, int(settings.get("exclude_layers", 0)))
    among = [name for name in worst if name in layers and name not in named]
    spared = (*named, *among[: int(settings.get("exclude_layers", 0))])
    chosen = {name: layer for name, layer in layers.items() if name not in spared}
    if not chosen:
        raise NothingChanged(f"all {len(layers)} layers are to stay in float")
    return Piece(program, chosen, spared)


def rows_at_once(program: Any) -> int:
    """How many rows a program is given together: as many as it takes, where that is fixed."""
    size = program.meta["signature"].inputs[0].shape[0]
    return size if isinstance(size, int) else BATCH_ROWS


def watch(module: Any, fitting: FittingData, limit: int, size: int = BATCH_ROWS) -> int:
    """Runs fitting rows through a module that observes, `size` together; gives their number.

    Raises:
        CandidateFailed: if there is no row, or the module can't run on one.
    """
    seen = 0
    with running(), torch.no_grad():
        for batch in _batches(fitting, limit, size):
            try:
                module(**batch)
            except Exception as error:
                raise CandidateFailed(
                    f"ranges can't be observed on this model ({type(error).__name__}): "
                    f"{first_line(error)[:300]}"
                ) from error
            seen += len(next(iter(batch.values())))
    if not seen:
        raise CandidateFailed("there are no calibration rows; static ranges need at least one")
    return seen


def _batches(fitting: FittingData, limit: int, size: int) -> Iterator[dict[str, Any]]:
    for batch in fitting.rows.batches(size, limit):
        for name, values in batch.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise CandidateFailed(
                    f"the input `{name}` of a calibration row is NaN or infinite, so activation "
                    "ranges can't be found; fill or drop that row"
                )
        # A copy: torch refuses to wrap memory-mapped arrays without a warning.
        yield {name: torch.from_numpy(np.array(array)) for name, array in batch.items()}


def _is_program(native: Any) -> bool:
    return isinstance(native, fx.GraphModule) and "signature" in native.meta


def _captured(native: Any) -> Any:
    signature = signature_of(native)
    return capture(native, signature.inputs, signature.outputs)


def _worst(model: Model, fitting: FittingData, bench: Workbench, count: int) -> list[str]:
    """Layers by what they lose when their weights alone are rounded, the most first."""
    if not count:
        return []
    with running():
        losses = model_sensitivity(model, bench.open(model), fitting).losses
    found = {name: loss[OPTION] for name, loss in losses.items() if OPTION in loss}
    return sorted(found, key=lambda name: -found[name])


def _named(patterns: str, names: tuple[str, ...]) -> tuple[str, ...]:
    found: set[str] = set()
    for pattern in (part.strip() for part in patterns.split(",") if part.strip()):
        hits = {name for name in names if fnmatchcase(name, pattern)}
        if not hits:
            near = difflib.get_close_matches(pattern, names, n=SHOWN, cutoff=0.4)
            shown = ", ".join(f"`{name}`" for name in (near or names)[:SHOWN])
            raise CandidateFailed(
                f"`{pattern}` of `keep_float` matches no layer that could be rounded; "
                f"{'near names' if near else 'the layers are'}: {shown}. Patterns are compared "
                "with whole names: `*` stands for any characters"
            )
        found |= hits
    return tuple(name for name in names if name in found)
