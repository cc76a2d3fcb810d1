"""BatchNorm statistics recomputed after the weights before them changed.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from jettison.errors import CandidateFailed

__all__ = ["batch_norms", "recalibrate"]


def batch_norms(module: Any) -> tuple[Any, ...]:
    """The BatchNorm layers of a module that keep running statistics."""
    kinds = torch.nn.modules.batchnorm._BatchNorm
    return tuple(
        part
        for part in module.modules()
        if isinstance(part, kinds) and part.running_mean is not None
    )


def recalibrate(module: Any, batches: Iterable[Mapping[str, Any]]) -> int:
    """Recomputes the running mean and variance of every BatchNorm layer; changes the module.

    Only the BatchNorm layers leave eval mode meanwhile, and with momentum `None` each batch
    counts the same, so the statistics are the plain mean over the batches. Statistics of a layer
    are those with all earlier layers in training mode too, as during training. The module ends
    in eval mode.

    Args:
        module: called with the tensors of a batch by name.
        batches: input name -> tensor of shape (n, ...); on the module's device. Mix the rows:
            batches of one class each give variances that no mixed batch has. A last batch much
            smaller than the others weighs as much as they do, so leave it out.

    Returns:
        The number of BatchNorm layers; 0 leaves the module as it was and reads no batch.

    Raises:
        CandidateFailed: if there is no batch, one has too few values for a variance, or a statistic
            is not finite afterwards (then the earlier statistics stand again).
    """
    norms = batch_norms(module)
    if not norms:
        return 0
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    seen, problem = 0, ""
    try:
        with torch.no_grad():
            for batch in batches:
                module(**batch)
                seen += 1
    except ValueError as error:
        # BatchNorm1d has no variance of a single row.
        problem = str(error)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.eval()
    if not problem:
        problem = "no batch was given" if not seen else _not_finite(module, norms)
    if problem:
        for norm, (mean, variance) in zip(norms, before, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        raise CandidateFailed(
            f"BatchNorm statistics can't be recomputed: {problem}; give more rows, or "
            "rows that the model answers with finite numbers"
        )
    return len(norms)


def _not_finite(module: Any, norms: tuple[Any, ...]) -> str:
    names = {id(part): name for name, part in module.named_modules()}
    for norm in norms:
        finite = torch.isfinite(norm.running_mean).all() and torch.isfinite(norm.running_var).all()
        if not bool(finite):
            return f"the mean or variance before layer `{names[id(norm)]}` is not finite"
    return ""
