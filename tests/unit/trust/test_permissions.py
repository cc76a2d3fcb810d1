"""Techniques that train are refused where the rows may not train."""

from __future__ import annotations

from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ModelSection,
    SearchSection,
)
from jettison.trust.permissions import untrained


def refused(*uses: str, **more: object) -> set[str]:
    configuration = Configuration(
        ModelSection("m"),
        DataSection(allowed_uses=uses),
        SearchSection(techniques=("recover", "low_rank", "int8_static")),
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
