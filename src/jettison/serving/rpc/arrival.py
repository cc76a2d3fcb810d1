"""How long a message may take to arrive: gRPC has no such limit of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

Method = Callable[[Any, Any], Awaitable[Any]]


def in_time(method: Method, seconds: float) -> Method:
    """Lets a method that takes one message wait for it itself, and not forever.

    To a caller a method with one message and one with a stream of them look alike, but only for a
    stream the server is called before the first message is there. So whoever sends a message in
    small pieces is cut off, as over HTTP.

    Args:
        method: takes a message and the context of the call.
        seconds: from the start of the call to the last byte of its message.

    Returns:
        What `grpc.stream_unary_rpc_method_handler` takes.
    """

    async def answer(_: Any, context: Any) -> Any:
        try:
            async with asyncio.timeout(seconds):
                message = await context.read()
        except TimeoutError:
            told = f"the message did not arrive in whole within {seconds:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, told)
        except DecodeError as error:
            told = f"the message is none of this method: {error}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, told)
        if message is aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call came without a message")
        return await method(message, context)

    return answer
