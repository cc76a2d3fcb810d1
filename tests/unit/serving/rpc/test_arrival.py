"""Callers that send slowly, nothing, nonsense or too much at once, over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc import aio

from jettison.serving.rpc import server as rpc_server
from jettison.serving.sources import ServedSource
from tests.serving_live import LiveServer
from tests.unit.serving.rpc import frames

LIVE, INFER = (
    "/inference.GRPCInferenceService/ServerLive",
    b"/inference.GRPCInferenceService/ModelInfer",
)
READ_SECONDS = 0.5


@pytest.fixture(scope="module")
def hasty(bundle: Path) -> Iterator[LiveServer]:
    """A server that waits half a second for a message."""
    sources = (ServedSource("mlp", bundle),)
    with LiveServer(sources, grpc=True, read_seconds=READ_SECONDS) as server:
        yield server


def as_is(message: bytes) -> bytes:
    """Bytes go out and come in as they are."""
    return message


async def status_of(server: LiveServer, pieces: list[bytes], pause: float = 0.0) -> grpc.StatusCode:
    """How a call of `ServerLive` ends that sends these messages after a pause."""

    async def sent() -> AsyncIterator[bytes]:
        await asyncio.sleep(pause)
        for piece in pieces:
            yield piece

    async with aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.stream_unary(LIVE, as_is, as_is)(sent())
        return await call.code()


async def status_of_one(server: LiveServer) -> grpc.StatusCode:
    """How an ordinary call of `ServerLive` ends."""
    async with aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        return await channel.unary_unary(LIVE, as_is, as_is)(b"").code()


def test_a_message_that_trickles_in_is_cut_off(hasty: LiveServer) -> None:
    """A byte now and then keeps no call open: it ends with DEADLINE_EXCEEDED, in words."""
    assert hasty.grpc_port is not None
    with frames.connect(hasty.grpc_port) as link:
        frames.begin_call(link, INFER)
        # A message of 1,000 bytes is promised; three of them come.
        frames.send_some(link, b"\x00" + (1000).to_bytes(4) + b"abc")
        told = frames.frames_until(link, frames.HEADERS)
    trailers = told[-1][1]
    assert b"grpc-status" in trailers
    assert b"within 0.5 s" in trailers


def test_a_call_without_a_message(hasty: LiveServer) -> None:
    """Nothing at all, and nothing in time, are two statuses; the next call is answered."""
    assert asyncio.run(status_of(hasty, [])) is grpc.StatusCode.INVALID_ARGUMENT
    late = asyncio.run(status_of(hasty, [b""], pause=4 * READ_SECONDS))
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED
    assert asyncio.run(status_of(hasty, [b""])) is grpc.StatusCode.OK


def test_bytes_that_are_no_message(hasty: LiveServer) -> None:
    """They are the caller's mistake, not a fault of the server."""
    wrong = asyncio.run(status_of(hasty, [b"\xff\xff\xff"]))
    assert wrong is grpc.StatusCode.INVALID_ARGUMENT


def test_more_calls_at_once_than_the_server_holds(bundle: Path) -> None:
    """One call has not sent its message yet; the one beyond the limit is refused at once."""
    sources = (ServedSource("mlp", bundle),)

    async def run(server: LiveServer) -> list[grpc.StatusCode]:
        first = asyncio.create_task(status_of(server, [b""], pause=1.0))
        await asyncio.sleep(0.3)
        second = await status_of_one(server)
        return [await first, second]

    with LiveServer(sources, grpc=True, max_connections=1) as server:
        told = asyncio.run(run(server))
    assert told == [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED]


def test_an_old_connection_is_let_go(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to end (GOAWAY), so that nobody keeps one for good; callers go on without a fault."""
    monkeypatch.setattr(rpc_server, "AGE_SECONDS", 0.5)
    with LiveServer((ServedSource("mlp", bundle),), grpc=True) as server:
        assert server.grpc_port is not None
        with frames.connect(server.grpc_port) as link:
            told = frames.frames_until(link, frames.GOAWAY)
            assert b"max_age" in told[-1][1]

        async def keep_asking() -> set[grpc.StatusCode]:
            async with aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
                ask = channel.unary_unary(LIVE, as_is, as_is)
                codes = set()
                for _ in range(30):
                    call = ask(b"")
                    codes.add(await call.code())
                    await asyncio.sleep(0.05)
                return codes

        assert asyncio.run(keep_asking()) == {grpc.StatusCode.OK}


def test_bodies_beyond_what_grpc_can_count(bundle: Path) -> None:
    """A limit that no option of gRPC can hold is the largest one there, and stops no start."""
    with LiveServer([ServedSource("mlp", bundle)], grpc=True, max_body_bytes=2**31) as server:
        assert asyncio.run(status_of_one(server)) is grpc.StatusCode.OK
