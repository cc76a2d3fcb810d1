"""What a short training run minimises: labels, the original's answers, or its inner values.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from jettison.errors import CandidateFailed
from jettison.numerics.curvature import as_logits

__all__ = [
    "CrossEntropy",
    "Distillation",
    "HiddenCosine",
    "Objective",
    "SquaredError",
    "Weighted",
    "chosen",
]


class Objective(Protocol):
    """A mean loss over a batch."""

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Runs the module and gives a scalar tensor.

        Args:
            module: called with `inputs` by name.
            inputs: input name -> tensor of shape (n, ...).
            targets: shape (n,), or `None` without labels.
        """
        ...


def chosen(answer: Any, place: int) -> Any:
    """The output that quality reads: `place` in a tuple, or the only tensor."""
    return answer[place] if isinstance(answer, tuple) else answer


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross entropy of scores with class labels.

    Attributes:
        place: of the scores in the answer.
        smoothing: share of each label spread over all classes.
    """

    place: int = 0
    smoothing: float = 0.0

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Gives the mean over the batch, in nats."""
        return self.of_answer(module(**inputs), inputs, targets)

    def of_answer(self, answer: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """The same for an answer that is there already."""
        scores = as_logits(chosen(answer, self.place))
        return functional.cross_entropy(scores, targets, label_smoothing=self.smoothing)


@dataclass(frozen=True, slots=True)
class SquaredError:
    """Mean squared difference from the targets, or from the original's answers without them.

    Attributes:
        teacher: the original; used where `targets` is `None`.
        place: of the answer.
    """

    teacher: Any = None
    place: int = 0

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Gives the mean over the batch."""
        return self.of_answer(module(**inputs), inputs, targets)

    def of_answer(self, answer: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """The same for an answer that is there already."""
        values = chosen(answer, self.place).float()
        wanted = targets
        if wanted is None:
            with torch.no_grad():
                wanted = chosen(self.teacher(**inputs), self.place).float()
        return functional.mse_loss(values, wanted.to(values.dtype).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Distillation:
    """Divergence from the original's class probabilities (Hinton et al. 2015, section 2).

    T^2 * KL(softmax(teacher / T) || softmax(student / T)); the factor keeps its gradients as
    large as those of the labels at every temperature.

    Attributes:
        teacher: the original in eval mode.
        temperature: T.
        place: of the scores in the answer.
    """

    teacher: Any
    temperature: float = 4.0
    place: int = 0

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Gives the mean over the batch (and its tokens), in nats; labels are not read."""
        return self.of_answer(module(**inputs), inputs, targets)

    def of_answer(self, answer: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """The same for an answer that is there already."""
        with torch.no_grad():
            wanted = as_logits(chosen(self.teacher(**inputs), self.place)) / self.temperature
        scores = as_logits(chosen(answer, self.place)) / self.temperature
        # Classes come last; before them a row, or a row and its tokens.
        own, other = (part.log_softmax(-1).flatten(0, -2) for part in (scores, wanted))
        divergence = functional.kl_div(own, other, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2


@dataclass(frozen=True, slots=True)
class HiddenCosine:
    """1 - cosine between what a layer answers in the changed and in the original model.

    The hidden-state loss of DistilBERT (Sanh et al. 2019, section 3). Embeddings are the case
    with no layers: then the answers themselves are compared.

    Attributes:
        teacher: the original in eval mode.
        layers: names of layers that both models have with the same number of channels.
        place: of the answer, for models without `layers`.
    """

    teacher: Any
    layers: tuple[str, ...] = ()
    place: int = 0

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Gives the mean over the batch and the layers; labels are not read.

        Raises:
            CandidateFailed: if a layer answers with another width than in the original.
        """
        with torch.no_grad():
            wanted = self._values(self.teacher, inputs)
        values = self._values(module, inputs)
        for name, one, two in zip(self.layers, values, wanted):
            if one.shape != two.shape:
                raise CandidateFailed(
                    f"layer `{name}` answers with shape {tuple(one.shape)}, in the original with "
                    f"{tuple(two.shape)}; compare layers whose channels all stayed"
                )
        losses = [
            1 - functional.cosine_similarity(one.float(), two.float(), dim=-1).mean()
            for one, two in zip(values, wanted, strict=True)
        ]
        return torch.stack(losses).mean()

    def _values(self, module: Any, inputs: Mapping[str, Any]) -> list[Any]:
        if not self.layers:
            return [chosen(module(**inputs), self.place)]
        seen: dict[str, Any] = {}

        def hook(name: str) -> Any:
            def keep(layer: Any, read: Any, output: Any) -> None:
                seen[name] = output[0] if isinstance(output, tuple) else output

            return keep

        handles = [
            module.get_submodule(name).register_forward_hook(hook(name)) for name in self.layers
        ]
        try:
            module(**inputs)
        finally:
            for handle in handles:
                handle.remove()
        return [seen[name] for name in self.layers]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A weighted sum of objectives.

    Parts that only look at the answer (they have `of_answer`) share one run of the module.
    """

    parts: Sequence[tuple[float, Objective]]

    def __post_init__(self) -> None:
        """Refuses weights that can't be meant.

        Raises:
            CandidateFailed: if there is no part, or a weight is negative.
        """
        if not self.parts or any(weight < 0 for weight, _ in self.parts):
            raise CandidateFailed("an objective needs parts with weights of 0 or more")

    def __call__(self, module: Any, inputs: Mapping[str, Any], targets: Any) -> Any:
        """Gives the weighted sum over the batch."""
        answer: Any = None
        total: Any = 0.0
        for weight, part in self.parts:
            of_answer = getattr(part, "of_answer", None)
            if of_answer is None:
                total = total + weight * part(module, inputs, targets)
                continue
            answer = module(**inputs) if answer is None else answer
            total = total + weight * of_answer(answer, inputs, targets)
        return total
