"""A closed loop over gRPC: N clients on one channel, raw bytes in and out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

from benchmarks.load.recording import Load, Recorder

METHOD = "/inference.GRPCInferenceService/ModelInfer"
ANSWERED = 200


async def closed_loop(target: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Each of N clients sends its next request as soon as it has its answer.

    Args:
        target: `host:port`.
        requests: serialised messages, taken in turn.
        clients: under way at the same time.
        seconds: in which requests are sent.

    Raises:
        grpc.RpcError: if a request is not answered.
    """
    import grpc

    recorder = Recorder()
    turns = itertools.cycle(requests)
    async with grpc.aio.insecure_channel(target) as channel:
        infer = channel.unary_unary(METHOD)
        await infer(next(turns))
        end = time.perf_counter() + seconds

        async def client() -> None:
            while (sent := time.perf_counter()) < end:
                await infer(next(turns))
                recorder.add(sent, sent, time.perf_counter(), ANSWERED)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        elapsed = time.perf_counter() - begun
    return recorder.load("closed", elapsed, unasked=0, unanswered=0)


async def ask(target: str, request: bytes) -> bytes:
    """Sends one request and awaits its answer."""
    import grpc

    async with grpc.aio.insecure_channel(target) as channel:
        answer: bytes = await channel.unary_unary(METHOD)(request)
    return answer
