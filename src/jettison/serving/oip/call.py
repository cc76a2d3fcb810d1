"""`InferCall`: one call for inference as its protocol brought it, and the rows that it asks about."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.oip.layout import Layout
from jettison.serving.oip.signature import Signature, Wanted
from jettison.serving.requests import InferenceRequest, Priority
from jettison.serving.signature import cast_inputs, check_values, checked

MICROSECONDS = 1_000_000
HIGHEST = 1
LONGEST_ID = 128
MOST_SIZES = 32
"""NumPy takes no more than 64, and the product of a million of them would take hours."""

MOST_VALUES = 2**40
"""Of one tensor: far more than a body can bring, far less than overflows."""

UNSUPPORTED = ("sequence_id", "shared_memory_region")
"""Parameters that change what an answer means: refused, not passed over."""


class InferCall(NamedTuple):
    """What a caller sent.

    Attributes:
        arrays: input name -> array as sent, not yet checked against the model.
        outputs: in the order in which they are to come back.
        call_id: of the caller; empty for none.
        priority: in the queue.
        timeout_seconds: longest that the caller waits; `None` for the server's own.
        layout: of the raw tensors, where the same header may come again; else `None`.
    """

    arrays: Mapping[str, Array]
    outputs: tuple[Wanted, ...]
    call_id: str = ""
    priority: Priority = "normal"
    timeout_seconds: float | None = None
    layout: Layout | None = None

    def request(
        self,
        model: Model,
        pad: Mapping[str, float],
        longest_seconds: float,
        request_id: str,
        spent_seconds: float = 0.0,
    ) -> InferenceRequest:
        """Checks the arrays against the model and makes the request for its queue.

        Args:
            model: that is to answer.
            pad: inputs that are ragged, as in `Rows`.
            longest_seconds: that any request may take; a shorter `timeout_seconds` counts.
            request_id: of the answer and of later outcomes.
            spent_seconds: of that time, before now.

        Raises:
            RequestRefused: `shape`, if the arrays are not what the model takes.
        """
        arrays, layout = self.arrays, self.layout
        if layout is not None and layout.rows:
            rows = layout.rows
            check_values(model, arrays)
        else:
            arrays = cast_inputs(model, arrays)
            rows = checked(model, arrays, pad=pad)
            if layout is not None and arrays is self.arrays:
                layout.rows = rows
        seconds = longest_seconds
        if self.timeout_seconds is not None:
            seconds = min(seconds, self.timeout_seconds)
        deadline = time.monotonic() + seconds - spent_seconds
        return InferenceRequest(arrays, rows, deadline, self.priority, request_id)


def scheduling(parameters: Mapping[str, object]) -> tuple[Priority, float | None]:
    """Reads `priority` (1 is high, anything else normal) and `timeout` (microseconds).

    Unknown parameters are passed over, as the protocol wants it.

    Raises:
        RequestRefused: `malformed`, for other types of value, and for sequences and shared memory,
            which this server does not have.
    """
    if not parameters:
        return "normal", None
    for name in UNSUPPORTED:
        if name in parameters:
            raise RequestRefused(
                "malformed", f"this server has no support for the parameter `{name}`; leave it out"
            )
    priority = _whole(parameters, "priority")
    timeout = _whole(parameters, "timeout")
    seconds = timeout / MICROSECONDS if timeout else None
    return "high" if priority == HIGHEST else "normal", seconds


def _whole(parameters: Mapping[str, object], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise RequestRefused(
            "malformed",
            f"parameter `{name}` must be a whole number, 0 or more"
            f"{' (microseconds)' if name == 'timeout' else ' (1 is high)'}; got {reprlib.repr(value)}",
        )
    return value


def check_id(call_id: object) -> str:
    """Gives the id of a call.

    Raises:
        RequestRefused: `malformed`, if it is no text or is too long.
    """
    if not isinstance(call_id, str) or len(call_id) > LONGEST_ID:
        raise RequestRefused("malformed", f"`id` must be a text of at most {LONGEST_ID} characters")
    return call_id


def are_sizes(shape: Sequence[Any]) -> bool:
    """Whether these can be the sizes of a tensor: whole numbers, not too many, not too large."""
    if len(shape) > MOST_SIZES:
        return False
    values = 1
    for size in shape:
        if type(size) is not int or size < 0:
            return False
        values *= size or 1
    return values < MOST_VALUES


def shown(value: object) -> str:
    """A value that a caller sent, as an error repeats it: short, however long or deep it is."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_input(name: object, signature: Signature) -> str:
    """Gives the name of an input.

    Raises:
        RequestRefused: `shape`, if the model has no such input.
    """
    if not isinstance(name, str) or name not in signature.inputs:
        raise _unknown("input", name, signature.inputs)
    return name


def check_output(name: object, signature: Signature) -> str:
    """Gives the name of an output that is asked for.

    Raises:
        RequestRefused: `shape`, if the model has no such output.
    """
    if not isinstance(name, str) or name not in signature.outputs:
        raise _unknown("output", name, signature.outputs)
    return name


def _unknown(what: str, name: object, known: Mapping[str, object]) -> RequestRefused:
    has = ", ".join(f"`{one}`" for one in known)
    return RequestRefused("shape", f"the model has no {what} `{shown(name)}`; it has {has}")
