"""Refuses contradictions in what is declared about the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettison.config.checking import Mistakes


def check_governance(data: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Notes what contradicts the declared basis or consent."""
    if data["lawful_basis"] == "consent" and not (data["consent"] or data["consent_statement"]):
        mistakes.add(
            ("data", "lawful_basis"),
            '`lawful_basis` in `data` is "consent", but nothing says who gave it; name the column '
            "with `consent`, or say how it was given with `consent_statement`",
        )
    roles = [data["target"], data["unit"], data["weight"], *data["groups"], *data["inputs"]]
    if data["consent"] and data["consent"] in roles:
        mistakes.add(
            ("data", "consent"),
            f"`consent` in `data` names `{data['consent']}`, which is used otherwise too; it is "
            "dropped once it was read: take it out of the other key",
        )
