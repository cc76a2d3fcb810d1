"""Measures every claim of `jettison claims` at full length, and stores what came out."""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.results_file import RESULTS
from jettison.claims import catalogue, running
from jettison.claims.costs import Bench
from jettison.domain.files import write_atomically
from jettison.domain.record import to_plain
from jettison.machine import describe_device


def main() -> None:
    """Runs the claims named, or all; earlier answers to the others stay in the file."""
    path = RESULTS / "claims.json"
    claims = catalogue.load_claims()
    stored = json.loads(path.read_text()) if path.exists() else None
    here = to_plain(describe_device())
    if stored is not None and stored["device"] != here and sys.argv[1:]:
        sys.exit(f"{path} holds answers of another machine or other versions: run all claims")
    earlier = stored["answers"] if stored is not None and sys.argv[1:] else []
    kept = {answer["claim"]["id"]: answer for answer in earlier}
    with tempfile.TemporaryDirectory() as folder:
        for claim in catalogue.chosen(claims, tuple(sys.argv[1:])):
            answer = running.run_claim(
                claim, Bench(Path(folder)), lambda line: print(line, flush=True)
            )
            kept[claim.id] = to_plain(answer)
            print("  ", answer.verdict, flush=True)
    content = {
        "device": here,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "answers": [kept[claim.id] for claim in claims if claim.id in kept],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
