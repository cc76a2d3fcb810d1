"""The limit of length, as an action of NeMo Guardrails."""

from nemoguardrails.actions import action


@action(name="short_enough")
async def short_enough(text: str) -> bool:
    """Whether a request has at most 200 characters."""
    return len(text) <= 200
