"""mosec: a Rust front, one Python worker; raw bytes in and out, the cheapest that it offers."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_session
from mosec import Server, Worker


class Inference(Worker):
    """Answers raw rows with raw rows."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain_session.Network()

    def deserialize(self, data: bytes) -> Any:
        """Body to row."""
        return self.network.row(data)

    def forward(self, data: list[Any]) -> list[Any]:
        """Rows to rows."""
        return list(self.network.answer(data))

    def serialize(self, data: Any) -> bytes:
        """Row to body."""
        return np.ascontiguousarray(data).tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Inference,
        num=1,
        max_batch_size=plain_session.cap(),
        max_wait_time=int(plain_session.wait_ms()),
    )
    server.run()
