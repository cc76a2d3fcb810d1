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
    """Runs the claims named, or all; earlier answers to the others stay in the file.

    Named ones that are measured on another machine than the others, or with other versions, are
    stored with theirs (`apart`).
    """
    path = RESULTS / "claims.json"
    claims = catalogue.load_claims()
    named = tuple(sys.argv[1:])
    stored = json.loads(path.read_text()) if path.exists() and named else None
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    here = {"device": to_plain(describe_device()), "date": now}
    elsewhere = stored is not None and stored["device"] != here["device"]
    kept = {one["claim"]["id"]: one for one in (stored["answers"] if stored is not None else [])}
    apart = dict(stored.get("apart", {})) if stored is not None else {}
    with tempfile.TemporaryDirectory() as folder:
        for claim in catalogue.chosen(claims, named):
            answer = running.run_claim(
                claim, Bench(Path(folder)), lambda line: print(line, flush=True)
            )
            kept[claim.id] = to_plain(answer)
            apart.pop(claim.id, None)
            if elsewhere:
                apart[claim.id] = here
            print("  ", answer.verdict, flush=True)
    whole = stored if stored is not None and elsewhere else here
    content = {
        "device": whole["device"],
        "date": whole["date"],
        "apart": apart,
        "answers": [kept[claim.id] for claim in claims if claim.id in kept],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
