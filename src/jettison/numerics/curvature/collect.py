"""Collects Fisher rows by backward passes. Importing this file imports torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from jettison.errors import CandidateFailed
from jettison.numerics.curvature.rows import FisherRows, put
from jettison.numerics.curvature.storage import Storage
from jettison.numerics.curvature.vector import WeightVector


def collect(
    weights: WeightVector,
    losses: Iterable[Callable[[], Any]],
    size: tuple[int, int],
    storage: Storage,
) -> FisherRows:
    """One row for each mini-batch by one backward pass each; any module, any loss.

    Args:
        weights: the prunable weights; each needs a gradient.
        losses: each gives the mean loss of one mini-batch, a scalar with a graph.
        size: rows to keep room for (fewer losses give fewer rows), and examples in each
            mini-batch.
        storage: where the rows are kept.

    Raises:
        CandidateFailed: for gradients that are not finite (names batch and layer), for no row
            or only zeros, or for rows that don't fit.
    """
    return _store(weights, (row[None] for row in _gradients(weights, losses)), size, storage)


def diagonal(weights: WeightVector, losses: Iterable[Callable[[], Any]], samples: int) -> Any:
    """The diagonal of the Fisher matrix, shape (p,) of float32; no row is kept.

    Args:
        weights: the prunable weights; each needs a gradient.
        losses: each gives the mean loss of one mini-batch, a scalar with a graph.
        samples: examples in each mini-batch.

    Raises:
        CandidateFailed: for gradients that are not finite (names batch and layer).
    """
    total, done = torch.zeros(weights.size), 0
    for row in _gradients(weights, losses):
        _refuse_not_finite(weights, row[None], done)
        total = total.to(row.device).addcmul_(row, row)
        done += 1
    return total * (samples / max(1, done))


def _gradients(weights: WeightVector, losses: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    for loss in losses:
        gradients = torch.autograd.grad(loss(), weights.parameters, allow_unused=True)
        full = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for gradient, parameter in zip(gradients, weights.parameters, strict=True)
        ]
        yield weights.flat(full)


def collect_together(
    module: Any,
    weights: WeightVector,
    batches: Iterable[tuple[Mapping[str, Any], Any]],
    loss: Callable[[Any, Any], Any],
    size: tuple[int, int],
    storage: Storage,
) -> FisherRows:
    """Many rows in one vectorised backward pass: far fewer launches on a GPU.

    Args:
        module: in eval mode; must be made of operators that `torch.func` can vectorise.
        weights: the prunable weights, by their names in the module.
        batches: inputs, each of shape (rows, samples, ...), and targets (rows, samples, ...).
        loss: answers and targets of one mini-batch to its mean loss.
        size: rows to keep room for, and examples in each mini-batch.
        storage: where the rows are kept.

    Raises:
        CandidateFailed: as for `collect`.
    """
    named = {name: parameter.detach() for name, parameter in weights.named().items()}

    def one(parameters: Mapping[str, Any], inputs: Mapping[str, Any], targets: Any) -> Any:
        return loss(torch.func.functional_call(module, parameters, (), dict(inputs)), targets)

    many = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))

    def rows() -> Iterable[Any]:
        for inputs, targets in batches:
            # Outside of the transform no graph is wanted: other parameters would keep one alive.
            with torch.no_grad():
                gradients = many(named, inputs, targets)
            yield weights.flat([gradients[name] for name in named])

    return _store(weights, rows(), size, storage)


def _store(
    weights: WeightVector, rows: Iterable[Any], size: tuple[int, int], storage: Storage
) -> FisherRows:
    count, samples = size
    stream = iter(rows)
    first = next(stream, None)
    if first is None:
        raise CandidateFailed("no mini-batch was given, so there are no Fisher rows")
    values = storage.empty(count, weights.size, first.device)
    scales = torch.empty(count, device=first.device)
    done, nonzero = 0, False
    for some in itertools.chain((first,), stream):
        kept = some[: count - done]
        _refuse_not_finite(weights, kept, done)
        nonzero = nonzero or bool((kept != 0).any())
        put(values, scales, done, kept)
        done += len(kept)
        if done >= count:
            break
    if not nonzero:
        raise CandidateFailed(
            f"all gradients of {done} mini-batches are zero: the loss does not depend on the "
            f"weights of the {len(weights.entries)} prunable layers, or every example is answered with "
            "certainty; give other fitting rows, or rows without labels"
        )
    return FisherRows(values[:done], scales[:done], samples, storage.workspace_bytes)


def _refuse_not_finite(weights: WeightVector, rows: Any, done: int) -> None:
    finite = torch.isfinite(rows)
    if bool(finite.all()):
        return
    bad = int((~finite.all(dim=1)).nonzero()[0])
    raise CandidateFailed(
        f"the gradient of mini-batch {done + bad} is not finite in layer "
        f"`{weights.where(~finite[bad])}`; look for NaN, infinite or huge values in the fitting "
        "rows from there on, or leave that layer out with `layers`"
    )
