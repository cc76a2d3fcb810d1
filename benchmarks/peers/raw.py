"""No server: full batches, one after another, in this process. `run SECONDS` on standard input."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import plain_session


def main() -> None:
    begun = time.perf_counter()
    network = plain_session.Network()
    load = time.perf_counter() - begun
    rows = plain_session.cap()
    rng = np.random.default_rng(0)
    made = {
        np.dtype(np.float32): rng.normal(size=(rows, network.width)).astype(np.float32),
        np.dtype(np.int64): np.ones((rows, network.width), dtype=np.int64),
    }
    batch = {name: made[kind] for name, kind in network.inputs.items()}
    network.whole(batch)
    print(json.dumps({"load_seconds": load}), flush=True)
    for line in sys.stdin:
        _, seconds = line.split()
        print(json.dumps(timed(network, batch, float(seconds))), flush=True)


def timed(network: plain_session.Network, batch: dict[str, np.ndarray], seconds: float) -> dict:
    """Runs full batches for some seconds."""
    calls = 0
    times = []
    begun, used = time.perf_counter(), time.process_time()
    end = last = begun
    while end < begun + seconds:
        network.whole(batch)
        end = time.perf_counter()
        times.append(end - last)
        last = end
        calls += 1
    return {
        "rows": calls * plain_session.cap(),
        "seconds": end - begun,
        "cpu_seconds": time.process_time() - used,
        "call_seconds": float(np.median(times)),
    }


if __name__ == "__main__":
    main()
