"""Which techniques the declared uses of the rows rule out."""

from __future__ import annotations

from jettison import registry
from jettison.domain.configuration import Configuration
from jettison.domain.recipe import Refusal

EPOCHS = "fine_tune_epochs"
"""The setting by which a technique that may train is told not to: 0."""


def untrained(configuration: Configuration) -> tuple[Refusal, ...]:
    """Refuses the techniques that train on the fitting rows, where the rows may not be used so.

    A technique says that it trains with `trains = True`.
    """
    allowed = configuration.data.allowed_uses
    if not allowed or "training" in allowed:
        return ()
    names = configuration.search.techniques or registry.names("techniques")
    reason = (
        f"it trains on the rows, and `allowed_uses` in `data` allows only {', '.join(allowed)}; "
        f'add "training" if that is so, or set `{EPOCHS} = 0` where the technique has it'
    )
    return tuple(
        Refusal(name, reason)
        for name in names
        if getattr(registry.get("techniques", name), "trains", False)
        and configuration.settings.get(name, {}).get(EPOCHS) != 0
    )
