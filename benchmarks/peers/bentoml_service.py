"""BentoML: one worker, its adaptive batching, JSON as its documentation shows."""

from __future__ import annotations

import bentoml
import numpy as np
import plain_session


@bentoml.service(
    workers=1,
    traffic={"timeout": 60, "max_concurrency": 10_000},
    logging={"access": {"enabled": False}},
)
class Inference:
    """Answers `{"rows": [[numbers]]}` with `[[numbers]]`; inputs lie side by side in a row."""

    def __init__(self) -> None:
        self.network = plain_session.Network()

    @bentoml.api(
        batchable=True,
        max_batch_size=plain_session.cap(),
        max_latency_ms=60_000,
    )
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """A batch to a batch."""
        width = self.network.width
        batch = {
            name: np.asarray(rows[:, i * width : (i + 1) * width], kind)
            for i, (name, kind) in enumerate(self.network.inputs.items())
        }
        return self.network.whole(batch)
