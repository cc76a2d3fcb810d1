"""What must hold between `looks` and `spending`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettison.config.checking import Mistakes


def check_spending(top: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Notes shares of the error rate that don't fit the looks, or are more than all of it."""
    spending, looks = top["spending"], top["looks"]
    if not spending:
        return
    if len(spending) != looks:
        mistakes.add(
            ("spending",),
            f"`spending` must have one share for each of the `looks` ({looks}); got "
            f"{len(spending)}",
        )
    if sum(spending) > 1.0 + 1e-12:
        mistakes.add(
            ("spending",),
            f"the shares in `spending` must add up to at most 1; got {sum(spending):g}",
        )
