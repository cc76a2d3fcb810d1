"""Olive's `optimize`, as its command, from an environment of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.cpu.peers_onnx import FILE, saved
from benchmarks.cpu.records import Subject
from jettison.domain.jobs import Variant

OLIVE = os.environ.get("BENCH_OLIVE", "/tmp/olive/v/bin/olive")
"""`pip install olive-ai onnxruntime requests torch`, where nothing else depends on it."""

SECONDS = 600


def optimized(*more: str) -> Callable[[Subject, Path], Variant]:
    """`olive optimize -m MODEL`, and what else is asked."""

    def build(subject: Subject, place: Path) -> Variant:
        given = str(subject.model.artifact.path)
        command = [OLIVE, "optimize", "-m", given, "-o", str(place), "--disable_telemetry", *more]
        ended = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if not (place / FILE).exists():
            raise RuntimeError(f"no model: {ended.stderr.strip().splitlines()[-1]}")
        return saved(subject, place)

    return build


PEERS: Mapping[str, Callable[[Subject, Path], Variant]] = {
    "Olive optimize": optimized(),
    "Olive optimize, int8": optimized("--precision", "int8"),
}
