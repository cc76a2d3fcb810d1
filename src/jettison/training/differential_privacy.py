"""DP-SGD (Abadi et al. 2016, algorithm 1): each row's gradient is clipped, their sum gets noise.

Noise, clipping and the accountant are Opacus's. Its hooks know layers of PyTorch but not the
operators of an exported program, so the gradient of each row comes from `torch.func` instead, and
is handed to Opacus's optimiser. Importing this file imports torch and opacus.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jettison.domain.local_key import keyed_digest
from jettison.errors import CandidateFailed
from jettison.graphs.torch_examples import Examples
from jettison.training.objectives import Objective

with warnings.catch_warnings():
    # Opacus imports parts of torch that warn of their own end.
    warnings.simplefilter("ignore")
    from opacus.accountants import RDPAccountant
    from opacus.accountants.utils import get_noise_multiplier
    from opacus.optimizers import DPOptimizer

__all__ = ["PrivatePlan", "PrivatelyTrained", "train_privately"]

TWISTER_WORDS = 624
TWISTER_OFFSET = 24
"""Where the words (32 bits in 8 bytes each) lie in the state of a generator of PyTorch on CPU,
behind seed, words left, whether seeded, and place; the next draw stirs them all."""


@dataclass(frozen=True, slots=True)
class PrivatePlan:
    """How to train privately.

    Attributes:
        epsilon, delta: the privacy to spend: (epsilon, delta)-differential privacy with respect to
            one row more or less.
        epochs: passes over the rows, on average: each step takes each row by lot.
        batch_size: rows of a step, on average.
        learning_rate: of plain SGD without momentum.
        clip: largest norm of the gradient of one row.
        seed: with the key of this account, of the lots and the noise.
        about: digests of the model and the rows, so that no two trainings share their noise.
    """

    epsilon: float
    delta: float
    epochs: int
    batch_size: int
    learning_rate: float
    clip: float
    seed: int = 0
    about: str = ""

    def check(self, n: int) -> None:
        """Checks what a person may have typed, for `n` rows.

        Raises:
            CandidateFailed: for a value outside of what is allowed.
        """
        positive = (self.epsilon, self.epochs, self.learning_rate, self.clip)
        if not all(value > 0 for value in positive):
            raise CandidateFailed(
                "`epsilon`, `fine_tune_epochs`, `learning_rate` and `clip` must be above 0; got "
                f"{', '.join(f'{value:g}' for value in positive)}"
            )
        if not 0 < self.delta < 1 / n:
            raise CandidateFailed(
                f"`delta` must be above 0 and below 1/{n}, the share of one of the {n} rows: at "
                f"that, publishing a whole row would count as private; got {self.delta:g}"
            )
        if not 1 <= self.batch_size <= n:
            raise CandidateFailed(f"`batch_size` must be from 1 to {n}; got {self.batch_size}")


@dataclass(frozen=True, slots=True)
class PrivatelyTrained:
    """What was spent.

    Attributes:
        epsilon: as the accountant (Renyi DP, Mironov 2017) gives it for all steps.
        delta: at which it holds.
        noise: standard deviation of the noise over the clipping norm.
        steps: taken; rows: that were trained on.
    """

    epsilon: float
    delta: float
    noise: float
    steps: int
    rows: int


def train_privately(
    module: Any,
    rows: Examples,
    objective: Objective,
    plan: PrivatePlan,
    masks: Mapping[str, Any],
) -> PrivatelyTrained:
    """Trains all float weights of a module in place with DP-SGD; it stays in eval mode.

    Neither a loss nor a statistic of the rows is given back: each would cost privacy.

    Args:
        module: called with tensors by name; statistics of BatchNorm stay as they are.
        rows: with right answers.
        objective: a loss that is a mean over rows.
        plan: how.
        masks: parameter name -> boolean mask; weights that it leaves out stay zero.

    Raises:
        CandidateFailed: for a plan that can't be carried out.
    """
    plan.check(rows.n)
    rate = plan.batch_size / rows.n
    steps = max(1, round(plan.epochs / rate))
    noise = _noise(plan, rate, steps)
    lots = _generator(plan, rows, "lots")
    weights = {
        name: weight for name, weight in module.named_parameters() if weight.is_floating_point()
    }
    needs = {name: weight.requires_grad for name, weight in weights.items()}
    for weight in weights.values():
        weight.requires_grad_()
    optimizer = DPOptimizer(
        torch.optim.SGD(weights.values(), lr=plan.learning_rate),
        noise_multiplier=noise,
        max_grad_norm=plan.clip,
        expected_batch_size=plan.batch_size,
        loss_reduction="mean",
        generator=_generator(plan, rows, "noise"),
    )
    accountant = RDPAccountant()
    gradients = _row_gradients(module, objective)
    try:
        for _ in range(steps):
            index = torch.nonzero(torch.rand(rows.n, generator=lots) < rate).flatten()
            found = gradients(weights, rows, index)
            for name, weight in weights.items():
                kept = masks.get(name)
                weight.grad_sample = found[name] if kept is None else found[name] * kept
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for name, kept in masks.items():
                weights[name].data.mul_(kept)
            accountant.step(noise_multiplier=noise, sample_rate=rate)
    finally:
        for name, weight in weights.items():
            weight.requires_grad_(needs[name])
            weight.grad = weight.grad_sample = None
            weight.__dict__.pop("summed_grad", None)
    with _quiet():
        spent = float(accountant.get_epsilon(delta=plan.delta))
    return PrivatelyTrained(spent, plan.delta, noise, steps, rows.n)


def _noise(plan: PrivatePlan, rate: float, steps: int) -> float:
    """The least noise that keeps to the epsilon asked for."""
    try:
        with _quiet():
            return float(
                get_noise_multiplier(
                    target_epsilon=plan.epsilon,
                    target_delta=plan.delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant="rdp",
                )
            )
    except ValueError as error:
        raise CandidateFailed(
            f"no noise keeps {steps} steps within epsilon {plan.epsilon:g} ({error}); allow a "
            "larger `epsilon`, or fewer `fine_tune_epochs`"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """At much noise the accountant warns that more orders may give a smaller epsilon; no larger."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order")
        yield


def _row_gradients(module: Any, objective: Objective) -> Any:
    """Gives the gradient of each row's own loss: parameter name -> shape (rows, ...)."""

    def loss(weights: Mapping[str, Any], inputs: Mapping[str, Any], target: Any) -> Any:
        alone = {name: value.unsqueeze(0) for name, value in inputs.items()}

        def call(**given: Any) -> Any:
            return torch.func.functional_call(module, dict(weights), (), given)

        return objective(call, alone, target.unsqueeze(0))

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    alone = torch.func.grad(loss)
    together = True

    def gradients(weights: Mapping[str, Any], rows: Examples, index: Any) -> Mapping[str, Any]:
        nonlocal together
        if not len(index):
            return {name: w.new_zeros((0, *w.shape)) for name, w in weights.items()}
        plain = {name: weight.detach() for name, weight in weights.items()}
        inputs, targets = rows.batch(index), rows.targets(index)
        if targets is None:
            raise CandidateFailed("private training learns from labels, and these rows have none")
        if together:
            try:
                found: Mapping[str, Any] = each(plain, inputs, targets)
                return found
            except RuntimeError:
                # Whoever branches on values (the masks of transformers do) can't be run for many
                # rows at once; one at a time gives the same gradients, more slowly.
                together = False
        single = [
            alone(plain, {name: value[row] for name, value in inputs.items()}, targets[row])
            for row in range(len(index))
        ]
        return {name: torch.stack([one[name] for one in single]) for name in plain}

    return gradients


def _generator(plan: PrivatePlan, rows: Examples, purpose: str) -> Any:
    """Random numbers that only this account can draw again: a known seed would undo the noise.

    The whole state of the Mersenne twister is filled, for `manual_seed` would read 32 bits only.
    """
    told = keyed_digest("private training", f"{purpose} {plan} {rows.n}")
    return _filled(bytes.fromhex(told))


def _filled(secret: bytes) -> Any:
    stretched = hashlib.shake_256(secret).digest(4 * TWISTER_WORDS)
    words = np.frombuffer(stretched, "<u4").astype("<u8")
    made = torch.Generator().manual_seed(0)
    state = made.get_state()
    end = TWISTER_OFFSET + 8 * TWISTER_WORDS
    state[TWISTER_OFFSET:end] = torch.from_numpy(words.view(np.uint8).copy())
    made.set_state(state)
    return made
