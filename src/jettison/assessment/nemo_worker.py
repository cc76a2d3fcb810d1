"""Asks the rails of a NeMo Guardrails folder about texts: a program of its own.

Run as a file by the Python that has `nemoguardrails`, so it imports nothing of jettison. One JSON object a
line comes in on the standard input: first the settings (`rails`, a folder, and `kind`, `input` or
`output`), then `{"request": ..., "answer": ...}` for each row. One JSON object goes out.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, Any

# NeMo Guardrails reports its use to its makers unless this is set before it is imported.
os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] = "1"

BROKEN = "internal error has occurred"
"""What NeMo answers when an action of a rail failed: that is no decision.

A request may hold these words too, and comes back as it was where no rail blocks it.
"""


def decide(lines: IO[str]) -> dict[str, object]:
    """Reads settings and rows; gives whether each was blocked and by which rail.

    Raises:
        ValueError: if a rail failed, or the folder has no rails of the kind.
    """
    from nemoguardrails import LLMRails, RailsConfig
    from nemoguardrails.rails.llm.options import RailType

    asked = json.loads(next(lines))
    rails = LLMRails(RailsConfig.from_path(asked["rails"]))
    kind = RailType(asked["kind"])
    decisions = []
    for place, line in enumerate(lines):
        row = json.loads(line)
        messages = [{"role": "user", "content": row["request"]}]
        if asked["kind"] == "output":
            messages.append({"role": "assistant", "content": row["answer"]})
        asked_about = messages[-1]["content"]
        decisions.append(_decision(rails.check(messages, [kind]), place, asked_about))
    return {"decisions": decisions}


def _decision(found: Any, place: int, asked: str) -> list[object]:
    blocked = str(getattr(found.status, "value", found.status)) == "blocked"
    if BROKEN in str(found.content) and (blocked or BROKEN not in asked):
        raise ValueError(
            f"the rail `{found.rail}` failed on row {place}; a failed rail decides nothing"
        )
    return [blocked, str(found.rail or "")]


def main() -> int:
    """Asks, and writes the decisions, or `{"missing": ...}` or `{"failed": ...}` with the reason."""
    real, sys.stdout = sys.stdout, sys.stderr  # actions may print
    answer: dict[str, object]
    try:
        answer = decide(sys.stdin)
    except Exception as error:  # noqa: BLE001 - rails run code of their own; the reason is passed on
        kind = "missing" if isinstance(error, ImportError) else "failed"
        answer = {kind: f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(answer), file=real)
    return 0


if __name__ == "__main__":
    sys.exit(main())
