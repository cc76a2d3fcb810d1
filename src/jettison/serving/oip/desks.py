"""`Desk`: who reads the calls of a version and writes its answers."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from jettison.serving.oip.answers import AnswerWriter
from jettison.serving.oip.http_messages import CallReader
from jettison.serving.oip.signature import Signature
from jettison.serving.versions import ServedVersion


class Desk(NamedTuple):
    """Reads calls and writes answers of one version over HTTP."""

    reader: CallReader
    writer: AnswerWriter


class Desks:
    """The desks of the versions that are served, each made once."""

    def __init__(self) -> None:
        # A version that was unloaded must not be held, and its model with it.
        self._known: WeakKeyDictionary[ServedVersion, Desk] = WeakKeyDictionary()

    def of(self, served: ServedVersion) -> Desk:
        """The desk of a version."""
        known = self._known.get(served)
        if known is None:
            signature = Signature.of(served.model)
            known = Desk(CallReader(signature), AnswerWriter(served.name, signature))
            self._known[served] = known
        return known
