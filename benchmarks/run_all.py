"""Runs every benchmark one after another: `make bench`."""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = (
    ("startup",),
    ("memory",),
    ("magika",),
    ("adult",),
    ("minilm", "embeddings"),
    ("minilm", "sentiment"),
    ("certification",),
    ("certification_looks",),
    ("pruning_solver",),
    ("pruning_mlpnet", "--resume"),
    ("pruning_resnet20_h100", "--every", "5", "--seeds", "1", "--sparsities", "0.7"),
    ("serving",),
    ("soak",),
    ("loadgen_check",),
    ("batcher_overhead",),
    ("quality_watch",),
)


def main() -> int:
    failed = []
    for script, *words in SCRIPTS:
        print(f"== {script} {' '.join(words)}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *words], check=False)
        if done.returncode:
            failed.append(script)
    print("failed: " + ", ".join(failed) if failed else "all benchmarks ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
