"""The least that answers HTTP: the generator's own ceiling, and a stall that it must show.

Run: python -m benchmarks.load.plain_server PORT [--stall-every SECONDS --stall SECONDS]
It prints its port when it listens; port 0 takes a free one.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httptools

from benchmarks.load.connection import Address

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Plain(asyncio.Protocol):
    """Answers each request with the same two bytes."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is called by the event loop."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Is called by the event loop."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Is called by the parser."""
        self._transport.write(ANSWER)


async def serve(port: int, stall_every: float, stall: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Plain, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    while stall > 0:
        await asyncio.sleep(stall_every)
        time.sleep(stall)  # the whole server stands still: that is the point
    await server.serve_forever()


@contextmanager
def running(*options: str) -> Iterator[Address]:
    """Such a server in a process of its own, on a free port."""
    command = [sys.executable, "-m", "benchmarks.load.plain_server", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        yield Address("127.0.0.1", int(line))
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--stall-every", type=float, default=1.0)
    parser.add_argument("--stall", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.stall_every, options.stall))


if __name__ == "__main__":
    main()
