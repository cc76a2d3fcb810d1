"""Techniques that train are refused where the rows may not train."""

from __future__ import annotations

from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ModelSection,
    SearchSection,
)
from jettison.trust.permissions import untrained


def refused(
    *uses: str,
    techniques: tuple[str, ...] = ("recover", "low_rank", "int8_static"),
    **more: object,
) -> set[str]:
    configuration = Configuration(
        ModelSection("m"),
        DataSection(allowed_uses=uses),
        SearchSection(techniques=techniques),
        **more,  # type: ignore[arg-type]
    )
    return {refusal.name for refusal in untrained(configuration)}


def test_training_needs_its_permission() -> None:
    """Without "training" those that train are refused, unless they are told not to."""
    assert refused() == set()
    assert refused("calibration", "training") == set()
    assert refused("calibration") == {"recover", "low_rank"}
    kept = {"low_rank": {"fine_tune_epochs": 0}}
    assert refused("calibration", settings=kept) == {"recover"}


def test_refitting_is_training() -> None:
    """Techniques that fit the model anew on the rows need the permission as well."""
    refits = ("reweighing", "constraint_learner")
    assert refused("calibration", techniques=refits) == set(refits)
    assert refused("calibration", "training", techniques=refits) == set()
