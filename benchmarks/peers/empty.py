"""The empty endpoint: uvicorn, and an application that reads the body and answers constant bytes.

What it costs is what HTTP costs in this stack; nothing that answers through it can cost less.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn

BODY = b"0" * int(os.environ["BENCH_ANSWER_BYTES"])
HEADERS = [
    (b"content-type", b"application/octet-stream"),
    (b"content-length", str(len(BODY)).encode()),
]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers every request alike."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
