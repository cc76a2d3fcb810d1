"""The sheet of approvals: what the signed lines beside a bundle say, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jettison.reporting import markdown


@dataclass(frozen=True, slots=True)
class Word:
    """One line about a bundle: an approval, or its withdrawal.

    Attributes:
        name: of the person, as they gave it.
        key: public key that signed it.
        time: UTC, ISO 8601.
        status: of the certificate when it was approved; empty for a withdrawal.
        reason: in their words; may be empty.
        approves: `False` takes the approval by this key back.
    """

    name: str
    key: str
    time: str
    status: str
    reason: str
    approves: bool


def standing(words: Sequence[Word]) -> tuple[Word, ...]:
    """The approvals that stand: the last word of each key, where it approves."""
    last = {word.key: word for word in words}
    return tuple(word for word in last.values() if word.approves)


def render_sheet(bundle: str, file: str, words: Sequence[Word]) -> str:
    """Renders the sheet.

    Args:
        bundle: its name (digest of the manifest).
        file: name of the file of signed lines.
        words: all lines about this bundle, in order.

    Returns:
        Markdown. Every text from outside is escaped.
    """
    kept = standing(words)
    holders = ", ".join(f"**{markdown.escaped(word.name)}**" for word in kept)
    lead = f"Approved by {holders}." if kept else "**No approval stands.**"
    lines = [
        "# Approvals",
        "",
        f"{lead} Of the bundle {markdown.code(bundle)}.",
        "",
        "| who | what | when (UTC) | certificate | reason | key |",
        "| :--- | :--- | :--- | :--- | :--- | :--- |",
    ]
    for word in words:
        did = "approved" if word.approves else "took the approval back"
        cells = (word.name, did, word.time, word.status, word.reason, f"{word.key[:12]}…")
        lines.append(f"| {' | '.join(markdown.escaped(cell) for cell in cells)} |")
    lines += [
        "",
        f"Made from the signed lines of {markdown.code(file)}; `jettison verify` checks their chain and "
        "signatures, and that this sheet says the same. A name is what the holder of a key typed; "
        "whose key it is, only you know: `jettison audit --key`.",
    ]
    return "\n".join(lines) + "\n"
