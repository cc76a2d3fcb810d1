"""The guardrail `out_of_distribution`: refuses rows that look unlike the data, at a bounded rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from jettison.domain.model import Model
from jettison.domain.outer_points import GuardrailCheck
from jettison.domain.recipe import Refusal
from jettison.domain.rows import Batch
from jettison.errors import ConfigError, DataError
from jettison.numerics.novelty import MASK, Novelty, load_novelty


class OutOfDistribution:
    """Refuses a request with a row whose score lies above the fitted threshold.

    Of rows like the selection rows at most the fitted rate lies above it, with the fitted
    confidence. A request is refused whole: one row takes those beside it along.
    """

    name: ClassVar[str] = "out_of_distribution"

    def prepare(self, model: Model, settings: Mapping[str, object]) -> GuardrailCheck:
        """Makes the check of one model.

        Args:
            model: whose inputs are judged.
            settings: `fitted`, the file that `jettison fit-guardrail` wrote for this model.

        Raises:
            ConfigError: if the file is missing, damaged, or for other inputs or another encoder.
        """
        path = settings.get("fitted")
        unknown = [key for key in settings if key != "fitted"]
        if unknown or not isinstance(path, str) or not path:
            told = f"there is no setting `{unknown[0]}`; " if unknown else ""
            raise ConfigError(
                [
                    f"{self.name}: {told}give `fitted`, the path of the file that `jettison "
                    "fit-guardrail` wrote"
                ]
            )
        try:
            fitted, about = load_novelty(Path(path))
        except DataError as error:
            raise ConfigError([f"{self.name}: {error}"]) from error
        problem = _misfit(model, fitted, about)
        if problem:
            raise ConfigError([f"{self.name}: {path} {problem}; fit it again for this model"])
        limit = fitted.threshold

        def check(request: Batch) -> Refusal | None:
            try:
                scores = fitted.score(request)
            except DataError as error:
                return Refusal(self.name, str(error))
            worst = int(scores.argmax()) if len(scores) else 0
            if not len(scores) or scores[worst] <= limit:
                return None
            return Refusal(
                self.name,
                f"row {worst} is unlike the data of this model: its distance is "
                f"{float(scores[worst]):.4g}; allowed is up to {limit:.4g} (at most "
                f"{100 * fitted.rate:g} % of rows like the data lie beyond that, with "
                f"{100 * fitted.confidence:g} % confidence); a request is refused whole",
            )

        return check


def _misfit(model: Model, fitted: Novelty, about: Mapping[str, object]) -> str:
    """Why a file was fitted for something else; empty if it was not."""
    if about.get("encoder") != model.encoder.digest:
        return "was fitted with another encoder"
    names = [spec.name for spec in model.inputs if spec.name != MASK]
    told = [name for name, _ in fitted.inputs]
    if told != names:
        return (
            f"was fitted for the inputs {', '.join(told)}, and the model takes {', '.join(names)}"
        )
    return ""
