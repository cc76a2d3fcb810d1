"""Where the time of a search went, read from finished runs: `run.json` of each folder named.

    jettison demo
    python -m benchmarks.trial_shares Magika=jettison-demo

The bar: optimiser, storage and graph edits take less than a tenth of the time of the trials.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.comparison import trial_shares
from benchmarks.results_file import Row, write
from jettison.domain.record import from_json
from jettison.domain.run import RunRecord


def main(named: list[str]) -> None:
    rows: list[Row] = []
    for one in named or ["Magika, demo=jettison-demo"]:
        title, _, folder = one.rpartition("=")
        record = from_json(RunRecord, (Path(folder) / "run.json").read_bytes())
        rows += trial_shares(title, record)
    write("trial_shares", rows, ["Shares of the summed time of all trials; one run each."])
    for row in rows:
        print(f"{row.model}: {row.metric} {row.value:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
