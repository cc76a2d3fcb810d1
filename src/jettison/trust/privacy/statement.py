"""What may be said about a model of which one step was trained privately."""

from __future__ import annotations

from collections.abc import Sequence

from jettison import registry
from jettison.domain.recipe import Step
from jettison.domain.run import Trial

EPSILON, DELTA = "epsilon", "delta"


def privacy_notes(trials: Sequence[Trial], shipped: str) -> tuple[str, ...]:
    """Says what the private steps of what ships cover, and what they don't; none without any.

    A technique says that it trains privately with `private = True`, and that it reads no row with
    `reads_rows = False`; any other step that is no conversion is taken to read the fitting rows.

    Args:
        trials: of the run.
        shipped: recipe digest of what ships; empty for nothing.
    """
    ships = next((t for t in trials if t.recipe.digest == shipped), None)
    private = [s for s in ships.recipe.steps if _is_private(s)] if ships is not None else []
    if ships is None or not private:
        return ()
    tried = [s for t in trials if t.state != "failed" for s in t.recipe.steps if _is_private(s)]
    others = [s.name for s in ships.recipe.steps if _reads(s)]
    gaps: list[str] = []
    if others:
        gaps.append(
            f"{' and '.join(f'`{name}`' for name in others)} read the same rows unprotected"
        )
    if len(tried) > len(private):
        gaps.append(
            f"it was chosen among {len(tried)} private trainings on the same rows, which add up "
            f"to {_spent(tried)}"
        )
    if gaps:
        return (
            f"One step ({', '.join(s.name for s in private)}) was trained with differential "
            f"privacy, {_spent(private)}, but the model as a whole must not be called "
            f"differentially private: {'; '.join(gaps)}",
        )
    return (
        "What was learned from the fitting rows is differentially private, "
        f"{_spent(private)} with respect to one row; if the original was trained "
        "on the same rows, that training is not covered",
    )


def _is_private(step: Step) -> bool:
    return bool(getattr(registry.get("techniques", step.name), "private", False))


def _reads(step: Step) -> bool:
    technique = registry.get("techniques", step.name)
    if technique.conversion or getattr(technique, "private", False):
        return False
    return bool(getattr(technique, "reads_rows", True))


def _spent(steps: Sequence[Step]) -> str:
    """Both parameters of several steps on the same rows, added up (basic composition)."""
    epsilon = sum(_setting(step, EPSILON, float("inf")) for step in steps)
    delta = min(1.0, sum(_setting(step, DELTA, 1.0) for step in steps))
    return f"(epsilon, delta) = (at most {epsilon:g}, {delta:g})"


def _setting(step: Step, name: str, unknown: float) -> float:
    value = step.settings.get(name)
    return unknown if value is None else float(value)
