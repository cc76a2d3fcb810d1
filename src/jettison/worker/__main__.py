"""Entry point: takes over the standard streams first, then does what the arguments say."""

from __future__ import annotations

import sys
from pathlib import Path

from jettison.worker.channel import Channel

USAGE = (
    "usage: python -m jettison.worker load|apply|profile|attribute|rates JOB ANSWER, or session JOB"
)

JOBS = frozenset({"load", "apply", "profile", "attribute", "rates"})


def main(arguments: list[str]) -> int:
    """Does one job or serves a session; gives the exit code."""
    channel = Channel.take_over()
    if len(arguments) == 3 and arguments[0] in JOBS:
        from jettison.worker.jobs import answer_job

        answer_job(arguments[0], Path(arguments[1]), Path(arguments[2]))
        return 0
    if len(arguments) == 2 and arguments[0] == "session":
        from jettison.worker.session import serve

        serve(Path(arguments[1]), channel)
        return 0
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
