"""Ids of requests: what the caller calls them, or made up."""

from __future__ import annotations

import itertools
import re
import secrets

_USABLE = re.compile(r"[!-~]{1,128}")
"""Printable ASCII without the space: what can stand in a header and a log line."""


class RequestIds:
    """Gives ids. Those made up are a random word of this server and a number."""

    def __init__(self) -> None:
        self._server = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def of(self, in_body: str, in_header: str) -> tuple[str, str]:
        """Settles the ids of one request.

        Args:
            in_body: what the caller calls it in its message; empty for nothing.
            in_header: what came as `x-request-id`; empty for nothing.

        Returns:
            The id of the request, which later outcomes name, and the one for the header of the
            answer: each is what the caller sent there, else what it sent in the other place, else
            made up.
        """
        header = in_header if in_header and _USABLE.fullmatch(in_header) else ""
        if not header:
            usable = in_body and _USABLE.fullmatch(in_body)
            header = in_body if usable else self._made_up()
        return in_body or header, header

    def _made_up(self) -> str:
        return f"{self._server}-{next(self._numbers):x}"
