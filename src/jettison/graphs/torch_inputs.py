"""What each layer of a PyTorch module is given, summed while rows run through it, layer by layer.

A layer is looked at after all layers before it were edited, so that it makes up for their errors
too. Where the module has a chain of blocks (a transformer), the layers of a block are looked at
together, and each block runs on what the one before it gave instead of the whole module anew.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional

from jettison.domain.model import Model
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.torch_blocks import Chain, find_chain
from jettison.graphs.torch_layers import PrunableLayer
from jettison.graphs.torch_macs import frozen
from jettison.numerics.fixed_batches import fixed_batch, pieces
from jettison.numerics.input_sums import InputSum

__all__ = ["TensorBatch", "batches_of", "calls", "column_groups", "layer_inputs", "visit"]

BATCH_ROWS = 32
UNFOLDED_ROWS = 8
"""Rows of a convolution's input that are unfolded at once: k * k times its size."""

Sum = TypeVar("Sum", bound=InputSum)


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """Some rows as tensors.

    Attributes:
        inputs: input name -> tensor of shape (n, ...).
        real: shape (n, length), false where a row is padded; `None` when nothing is ragged.
    """

    inputs: Mapping[str, Any]
    real: Any = None


def batches_of(
    model: Model, fitting: FittingData, size: int = BATCH_ROWS, order: Any = None
) -> tuple[TensorBatch, ...]:
    """Fitting rows in batches that the module accepts.

    Args:
        model: what takes them.
        fitting: at least one row.
        size: rows of a batch, where the model leaves that free.
        order: places of the rows, shape (n,); as they lie by default.

    Raises:
        CandidateFailed: if there is no row.
    """
    rows = fitting.rows
    if not rows.n:
        raise CandidateFailed(
            "this technique reads what layers are given, and there is no fitting row: give data, "
            "or a larger `data.fitting_rows`"
        )
    fixed = fixed_batch(model)
    made: list[TensorBatch] = []
    for start in range(0, rows.n, fixed or size):
        index: Any = slice(start, min(start + (fixed or size), rows.n))
        if order is not None:
            index = order[index]
        batch = rows.batch(index)
        if fixed:
            batch = next(pieces(batch, fixed))
        # A copy: torch refuses to wrap memory-mapped arrays without a warning.
        inputs = {name: torch.from_numpy(np.array(values)) for name, values in batch.items()}
        lengths = rows.lengths()
        real = None
        if lengths is not None and not fixed:
            longest = max(1, int(lengths[index].max()))
            real = torch.arange(longest) < torch.from_numpy(np.array(lengths[index]))[:, None]
        made.append(TensorBatch(inputs, real))
    return tuple(made)


def calls(
    module: Any, layers: Sequence[PrunableLayer], batch: TensorBatch
) -> dict[PrunableLayer, int]:
    """How often each layer is called for one batch, in the order of the first calls.

    Layers that the answers don't need are left out.
    """
    counts: dict[PrunableLayer, int] = {}

    def watch(layer: PrunableLayer) -> Callable[..., None]:
        def hook(part: Any, given: Any, named: Any) -> None:
            counts[layer] = counts.get(layer, 0) + 1

        return hook

    with _hooked(module, layers, watch), frozen(module):
        module(**batch.inputs)
    return counts


def visit(
    module: Any,
    layers: Sequence[PrunableLayer],
    batches: Sequence[TensorBatch],
    begin: Callable[[PrunableLayer], Sum],
    edit: Callable[[PrunableLayer, Sum], None],
) -> tuple[PrunableLayer, ...]:
    """Sums the inputs of each layer over all batches, then lets it be edited, in order.

    Args:
        module: in eval mode; edits change it.
        layers: to visit.
        batches: all of them, at least one.
        begin: gives an empty sum for a layer.
        edit: changes the weights of a layer, given the sum of its inputs.

    Returns:
        The layers that were visited; those that the answers don't need are left out.

    Raises:
        CandidateFailed: if an input is not finite (names batch and layer), or always 0.
    """
    counts = calls(module, layers, batches[0])
    with frozen(module):
        chain = find_chain(module, batches[0].inputs)
        for group in _groups(tuple(counts), chain):
            if isinstance(group, _Block):
                if group.place == 0:
                    chain.start(module, [batch.inputs for batch in batches])
                sums = _sums(module, group.layers, batches, begin, _block_run(chain, group.place))
            else:
                run = _whole_run(module, batches, group.layers[0], counts)
                sums = _sums(module, group.layers, batches, begin, run)
            for layer in group.layers:
                edit(layer, sums[layer])
            if isinstance(group, _Block):
                chain.advance(group.place)
    return tuple(counts)


def layer_inputs(layer: PrunableLayer, given: Any) -> Any:
    """What the columns of a layer's weight matrix are multiplied by.

    Args:
        layer: a linear layer or a convolution.
        given: its input, shape (n, ..., in), or (n, channels, *space) for convolutions.

    Returns:
        Shape (groups, positions, columns); rows of group g belong to the g-th part of the
        output channels.
    """
    if layer.kind != "convolution":
        return given.reshape(1, -1, given.shape[-1])
    return _unfolded(layer.module, given)


def column_groups(layer: PrunableLayer) -> tuple[int, int]:
    """Groups of a layer, and columns of its weight matrix."""
    shape = layer.weight_shape
    columns = shape[0] if layer.kind == "transposed" else int(np.prod(shape[1:]))
    return getattr(layer.module, "groups", 1), columns


@dataclass(frozen=True, slots=True)
class _Block:
    """Layers that are visited together, in the block at a place of the chain."""

    layers: tuple[PrunableLayer, ...]
    place: int


@dataclass(frozen=True, slots=True)
class _Alone:
    """One layer."""

    layers: tuple[PrunableLayer, ...]


def _groups(layers: tuple[PrunableLayer, ...], chain: Chain) -> Iterator[_Block | _Alone]:
    """Layers in the order of their calls; all blocks come at the place of the first."""
    inside = {layer: chain.place_of(layer.names) for layer in layers}
    begun = False
    for layer in layers:
        if inside[layer] is None:
            yield _Alone((layer,))
        elif not begun:
            begun = True
            for place in range(len(chain.names)):
                yield _Block(tuple(part for part in layers if inside[part] == place), place)


def _sums(
    module: Any,
    layers: tuple[PrunableLayer, ...],
    batches: Sequence[TensorBatch],
    begin: Callable[[PrunableLayer], Sum],
    run: Callable[[int], None],
) -> dict[PrunableLayer, Sum]:
    sums = {layer: begin(layer) for layer in layers}
    alive: set[str] = set()
    place = 0

    def watch(layer: PrunableLayer) -> Callable[..., None]:
        def hook(part: Any, given: Any, named: Any) -> None:
            values = given[0] if given else next(iter(named.values()))
            _add(sums[layer], layer, values, batches[place].real, place)
            if layer.name not in alive and bool(values.any()):
                alive.add(layer.name)

        return hook

    with _hooked(module, layers, watch):
        for place in range(len(batches) if layers else 0):
            run(place)
    for layer in layers:
        if layer.name not in alive:
            raise CandidateFailed(
                f"layer `{layer.name}` is given only zeros on all fitting rows, so that its inputs "
                "tell nothing: give other rows, or leave the layer out with `layers`"
            )
    return sums


def _add(into: InputSum, layer: PrunableLayer, given: Any, real: Any, batch: int) -> None:
    given = given.detach()
    if real is not None and given.dim() == 3 and given.shape[:2] == real.shape:
        given = given[real.to(given.device)]
    if not bool(torch.isfinite(given).all()):
        raise CandidateFailed(
            f"layer `{layer.name}` is given NaN or infinite values in batch {batch} of the fitting "
            "rows: look for such values in the rows, or in the layers before it"
        )
    if layer.kind != "convolution":
        into.add(layer_inputs(layer, given))
        return
    unbatched = given.dim() == len(layer.weight_shape) - 1
    for rows in (given[None] if unbatched else given).split(UNFOLDED_ROWS):
        into.add(layer_inputs(layer, rows))


def _unfolded(conv: Any, given: Any) -> Any:
    kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = functional.pad(given, _padding(conv), mode=mode)
    if len(kernel) == 1:
        padded = padded[:, :, None]
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    columns = functional.unfold(padded, kernel, dilation=dilation, stride=stride)
    rows, _, positions = columns.shape
    parts = columns.view(rows, conv.groups, -1, positions)
    return parts.permute(1, 0, 3, 2).reshape(conv.groups, rows * positions, -1)


def _padding(conv: Any) -> list[int]:
    """Zeros before and after each axis of space, the last axis first, as `pad` wants them."""
    sizes: list[int] = []
    for axis in reversed(range(len(conv.kernel_size))):
        if conv.padding == "same":
            total = conv.dilation[axis] * (conv.kernel_size[axis] - 1)
            sizes += [total // 2, total - total // 2]
        else:
            one = 0 if conv.padding == "valid" else conv.padding[axis]
            sizes += [one, one]
    return sizes


class _Enough(BaseException):
    """Ends a run of the module once its layer was called; no handler of a model catches it."""


def _whole_run(
    module: Any,
    batches: Sequence[TensorBatch],
    layer: PrunableLayer,
    counts: Mapping[PrunableLayer, int],
) -> Callable[[int], None]:
    def run(place: int) -> None:
        left = counts[layer]

        def watch(_: PrunableLayer) -> Callable[..., None]:
            def hook(part: Any, given: Any, named: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise _Enough

            return hook

        # Registered after the hook that adds, so it runs after it.
        with _hooked(module, (layer,), watch):
            try:
                module(**batches[place].inputs)
            except _Enough:
                return

    return run


def _block_run(chain: Chain, place: int) -> Callable[[int], None]:
    def run(batch: int) -> None:
        chain.run(place, batch)

    return run


@contextmanager
def _hooked(
    module: Any,
    layers: Sequence[PrunableLayer],
    watch: Callable[[PrunableLayer], Callable[..., None]],
) -> Iterator[None]:
    """Hooks before all modules that hold the weights of some layers."""
    handles = []
    for layer in layers:
        parts = {id(part): part for part in map(module.get_submodule, layer.names)}
        handles += [
            part.register_forward_pre_hook(watch(layer), with_kwargs=True)
            for part in parts.values()
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
