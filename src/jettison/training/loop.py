"""The training loop: seeded, on the device of its tensors, and short.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from jettison.errors import CandidateFailed
from jettison.graphs.torch_batchnorm import batch_norms
from jettison.graphs.torch_examples import Examples
from jettison.training.objectives import Objective

__all__ = ["Trained", "TrainingPlan", "train", "zero_masks"]

Augment = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]
"""Changes the inputs of a batch at random: (inputs, generator) -> inputs."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train.

    Attributes:
        epochs: passes over the rows.
        learning_rate: the largest one.
        optimizer: `sgd` (Nesterov momentum 0.9) or `adamw`.
        schedule: `cosine` (falls from the start) or `one_cycle` (rises over the first 30 % of
            the steps, then falls by a cosine).
        batch_size: rows of a step; a last batch of one row is left out (BatchNorm needs two).
        weight_decay: of matrices and filters, not of biases and norms.
        clip: largest norm of the gradient; 0 leaves it as it is.
        seed: of the order of the rows and of `augment`.
        bfloat16: products in 16 bits (for accelerators); weights stay 32-bit floats.
        seconds: stop after the step in which this time is used up; the learning rate still falls
            to the end of the plan. 0 means no limit (a limit makes results depend on the machine).
    """

    epochs: int
    learning_rate: float = 0.01
    optimizer: str = "sgd"
    schedule: str = "cosine"
    batch_size: int = 64
    weight_decay: float = 5e-4
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool = False
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Checks what a person may have typed.

        Raises:
            CandidateFailed: for a value outside of what is allowed.
        """
        if self.optimizer not in ("sgd", "adamw"):
            raise CandidateFailed(f"optimizer must be `sgd` or `adamw`; got {self.optimizer!r}")
        if self.schedule not in ("cosine", "one_cycle"):
            raise CandidateFailed(
                f"schedule must be `cosine` or `one_cycle`; got {self.schedule!r}"
            )
        if self.epochs < 1 or self.batch_size < 2 or not self.learning_rate > 0:
            raise CandidateFailed(
                f"training needs at least 1 epoch, batches of at least 2 rows and a learning rate "
                f"above 0; got {self.epochs}, {self.batch_size} and {self.learning_rate}"
            )


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run did.

    Attributes:
        losses: mean of each epoch.
        steps: weight updates done.
    """

    losses: tuple[float, ...]
    steps: int

    @property
    def told(self) -> str:
        """One clause for the log."""
        return (
            f"trained for {len(self.losses)} epochs ({self.steps} steps), loss "
            f"{self.losses[0]:.4g} to {self.losses[-1]:.4g}"
        )


def zero_masks(module: Any) -> dict[str, Any]:
    """Which weights of matrices and filters are exactly zero now: name -> mask of what stays.

    Given to `train`, a pruned model stays as sparse as it is.
    """
    return {
        name: weight.detach() != 0
        for name, weight in module.named_parameters()
        if weight.dim() >= 2 and bool((weight == 0).any())
    }


def train(
    module: Any,
    rows: Examples,
    objective: Objective,
    plan: TrainingPlan,
    masks: Mapping[str, Any] | None = None,
    augment: Augment | None = None,
) -> Trained:
    """Trains all weights of a module in place; it ends in eval mode.

    Dropout stays off, and BatchNorm learns its statistics as it goes. The same seed gives the
    same weights on one device with one thread.

    Args:
        module: called with tensors by name.
        rows: what it learns from.
        objective: what is minimised.
        plan: how.
        masks: parameter name -> boolean mask; weights that it leaves out are zero after each step.
        augment: changes the inputs of each batch.

    Raises:
        CandidateFailed: if the loss stops being finite (names epoch and step), or there are
            fewer than 2 rows.
    """
    if rows.n < 2:
        raise CandidateFailed(f"training needs at least 2 rows; got {rows.n}")
    parameters = dict(module.named_parameters())
    needs = {name: weight.requires_grad for name, weight in parameters.items()}
    module.eval()
    for part in batch_norms(module):
        part.train()
    try:
        for weight in parameters.values():
            weight.requires_grad_(weight.is_floating_point())
        return _epochs(module, rows, objective, plan, masks or {}, augment)
    finally:
        for name, weight in parameters.items():
            weight.requires_grad_(needs[name])
            weight.grad = None
        module.eval()


def _epochs(
    module: Any,
    rows: Examples,
    objective: Objective,
    plan: TrainingPlan,
    masks: Mapping[str, Any],
    augment: Augment | None,
) -> Trained:
    optimizer = _optimizer(module, plan)
    held = {name: dict(module.named_parameters())[name] for name in masks}
    order = torch.Generator().manual_seed(plan.seed)
    size = min(plan.batch_size, rows.n)
    starts = [start for start in range(0, rows.n, size) if rows.n - start >= 2]
    whole, step, begun = plan.epochs * len(starts), 0, time.monotonic()
    losses = []
    for epoch in range(plan.epochs):
        permutation = torch.randperm(rows.n, generator=order)
        total, before = None, step
        for start in starts:
            index = permutation[start : start + size]
            inputs, targets = rows.batch(index), rows.targets(index)
            inputs = augment(inputs, order) if augment else inputs
            for part in optimizer.param_groups:
                part["lr"] = plan.learning_rate * _rate(plan.schedule, step, whole)
            loss = _step(module, objective, optimizer, (inputs, targets), plan)
            for name, weight in held.items():
                weight.data.mul_(masks[name])
            step += 1
            total = loss if total is None else total + loss
            if plan.seconds and time.monotonic() - begun > plan.seconds:
                break
        # Read once an epoch: reading each step would wait for the device each time.
        mean = float(total) / (step - before) if total is not None else math.nan
        if not math.isfinite(mean):
            raise CandidateFailed(
                f"the loss is {mean} in epoch {epoch + 1} of {plan.epochs} (by step {step} of "
                f"{whole}); use a smaller learning rate than {plan.learning_rate}"
            )
        losses.append(mean)
        if plan.seconds and time.monotonic() - begun > plan.seconds:
            break
    return Trained(tuple(losses), step)


def _step(
    module: Any,
    objective: Objective,
    optimizer: Any,
    batch: tuple[Mapping[str, Any], Any],
    plan: TrainingPlan,
) -> Any:
    inputs, targets = batch
    device = next(iter(inputs.values())).device.type
    with torch.enable_grad():
        with torch.autocast(device, torch.bfloat16, enabled=plan.bfloat16):
            loss = objective(module, inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
    if plan.clip:
        torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
    optimizer.step()
    return loss.detach()


def _optimizer(module: Any, plan: TrainingPlan) -> Any:
    floats = [weight for weight in module.parameters() if weight.is_floating_point()]
    groups = [
        {"params": [w for w in floats if w.dim() >= 2], "weight_decay": plan.weight_decay},
        {"params": [w for w in floats if w.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=plan.learning_rate)
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9, nesterov=True)


def _rate(schedule: str, step: int, whole: int) -> float:
    """The learning rate at a step as a share of the largest one."""
    done = step / max(whole, 1)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    rise = 0.3
    if done < rise:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / rise))
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))
