"""The model as every peer runs it: one computing thread, no spinning, rows stacked to a batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Network:
    """One session, with what it takes and gives."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {i.name: np.dtype(KINDS[i.type]) for i in self._session.get_inputs()}
        self.width = int(os.environ["BENCH_WIDTH"])

    def row(self, body: bytes) -> dict[str, Any]:
        """Cuts raw bytes into the inputs of one row, each of shape (width,)."""
        found, at = {}, 0
        for name, kind in self.inputs.items():
            found[name] = np.frombuffer(body, kind, self.width, at)
            at += self.width * kind.itemsize
        return found

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Turns lists of numbers into the inputs of one row, each of shape (width,)."""
        return {name: np.asarray(values[name], kind) for name, kind in self.inputs.items()}

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Answers rows together; gives shape (n, outputs)."""
        return self.whole({name: np.stack([row[name] for row in rows]) for name in self.inputs})

    def whole(self, batch: Mapping[str, Any]) -> Any:
        """Answers a batch, each input of shape (n, width); gives shape (n, outputs)."""
        return self._session.run(None, dict(batch))[0]


def cap() -> int:
    """Rows in a batch at most."""
    return int(os.environ["BENCH_CAP"])


def wait_ms() -> float:
    """How long a server may wait for a batch mate."""
    return float(os.environ["BENCH_WAIT_MS"])


def port() -> int:
    """Where to listen."""
    return int(os.environ["BENCH_PORT"])
