"""`Lineup`: the versions of one name, and who answers the next request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jettison.domain.model import Model
from jettison.errors import RequestRefused, UsageError
from jettison.serving.monitoring import Journal, Outcome, OutcomeReceipt, QualityMonitor, together
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.sources import ServedSource
from jettison.serving.versions import ServedVersion
from jettison.serving.waiting import Ticket

if TYPE_CHECKING:
    from jettison.serving.shadow import Shadow

LOAD_RETRY_SECONDS = 1.0

RETIRED = 4
"""Versions that are not served any more and still get the labels of what they answered."""


class Lineup:
    """What is served under one name. Changed on the event loop only, each time in one step.

    Attributes:
        source: where its versions come from.
        stable: answers whoever names no version; `None` until it is loaded.
        canary: gets a share of these requests; `None` for none.
        canary_weight: that share.
        shadow: answers too, unseen; `None` for none.
        journal: answers of all versions that wait for their outcome.
        monitors: version -> what watches its quality; also of the last `RETIRED` versions that are
            not served any more, for the labels that come late.
        loading: how many loads are under way.
        wanted: whether the name should be served; not so once it was unloaded.
        lock: held while versions are loaded or unloaded.
    """

    def __init__(self, source: ServedSource) -> None:
        self.source = source
        self.stable: ServedVersion | None = None
        self.canary: ServedVersion | None = None
        self.canary_weight = 0.0
        self.shadow: Shadow | None = None
        self.journal = Journal()
        self.monitors: dict[str, QualityMonitor] = {}
        self.loading = 0
        self.wanted = True
        self.lock = asyncio.Lock()
        self._random = random.Random()

    def __iter__(self) -> Iterator[ServedVersion]:
        return (v for v in (self.stable, self.canary) if v is not None)

    @property
    def state(self) -> str:
        """`READY`, `LOADING` or `UNAVAILABLE`, as repository indexes call it."""
        if self.stable is not None:
            return "READY"
        return "LOADING" if self.loading or self.wanted else "UNAVAILABLE"

    def get(self, version: str = "") -> ServedVersion:
        """The version of that name, or the stable one.

        Raises:
            RequestRefused: `not ready` while the name is loading, else `unknown`.
        """
        if self.stable is None:
            raise self._absent()
        if not version:
            return self.stable
        for one in self:
            if one.version == version:
                return one
        served = ", ".join(f"`{one.version}`" for one in self)
        raise RequestRefused(
            "unknown", f"`{self.source.name}` has no version `{version}`; it serves {served}"
        )

    def pick(self, version: str) -> ServedVersion:
        """Who answers the next request: the version that is named, or by lot."""
        chosen = self.get(version)
        canary = self.canary
        if canary is None or version or self._random.random() >= self.canary_weight:
            return chosen
        return canary

    def observe(self, chosen: ServedVersion, request: InferenceRequest, answer: Answer) -> None:
        """Tells shadow and monitor about a request that was answered; must be quick."""
        if self.shadow is not None and self.shadow.fits(chosen.original):
            busy = any(one.batcher.waiting_rows for one in self)
            if self.shadow.offer(request, answer, chosen.model.prediction, busy=busy):
                return
        self.compare(request, answer, None)

    def compare(self, request: InferenceRequest, answer: Answer, original: Answer | None) -> None:
        """Tells the monitor of the version that answered; `original` is the original's answer."""
        monitor = self.monitors.get(answer.version)
        if monitor is not None:
            monitor.observe(request, answer, original)

    def outcomes(self, items: Sequence[Outcome], version: str) -> OutcomeReceipt:
        """Tells each version what became true of the rows that it answered.

        Args:
            items: what is known now.
            version: whose monitor is told; empty for that of whoever answered each.
        """
        if version:
            return self.monitors[version].outcomes(items)
        stable = self.get().version
        told: dict[str, list[Outcome]] = {}
        for item in items:
            found = self.journal.find(item.request_id)
            known = found is not None and found.version in self.monitors
            told.setdefault(found.version if found and known else stable, []).append(item)
        receipts = [self.monitors[who].outcomes(some) for who, some in told.items()]
        return together(receipts or [self.monitors[stable].outcomes(items)])

    def retire(self, version: str) -> None:
        """Keeps the monitor of a version that is not served any more, for a while."""
        self.monitors[version] = self.monitors.pop(version)
        serving = {one.version for one in self}
        gone = [one for one in self.monitors if one not in serving]
        for one in gone[: max(0, len(gone) - RETIRED)]:
            del self.monitors[one]

    def _absent(self) -> RequestRefused:
        name = self.source.name
        if self.state == "LOADING":
            return RequestRefused(
                "not ready", f"`{name}` is being loaded; ask again soon", LOAD_RETRY_SECONDS
            )
        return RequestRefused("unknown", f"`{name}` is not loaded; load it, or ask for another")


class Accepted(NamedTuple):
    """A request that waits in the queue of the version that was chosen for it."""

    lineup: Lineup
    chosen: ServedVersion
    request: InferenceRequest
    ticket: Ticket

    def observe(self, answer: Answer) -> None:
        """Tells shadow and monitor; call it once, when the answer is there."""
        self.lineup.observe(self.chosen, self.request, answer)

    def cancel(self) -> None:
        """Drops the rows: nobody waits for them any more."""
        self.chosen.batcher.forget(self.ticket)


def check_same_signature(name: str, before: Model, after: Model) -> None:
    """Refuses a new version that does not take and give what callers of this name rely on.

    Raises:
        UsageError: with both signatures, or with the first class that has another name.
    """
    was, will = _signature(before), _signature(after)
    if was != will:
        raise UsageError(
            f"the new version of `{name}` takes or gives something else than the one that is "
            f"served: {will}, not {was}; serve it under another name"
        )
    names, others = before.encoder.labels, after.encoder.labels
    if names and others and names != others:
        told = next((pair for pair in zip(names, others) if pair[0] != pair[1]), (names, others))
        raise UsageError(
            f"the new version of `{name}` names its classes otherwise than the one that is served: "
            f"`{told[1]}` where that has `{told[0]}`, so callers who read scores by their place "
            "would take one class for another; serve it under another name"
        )


def _signature(model: Model) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Inputs and prediction with dtype and fixed sizes; names of free sizes may differ."""
    specs = [*model.inputs, *(spec for spec in model.outputs if spec.name == model.prediction)]
    return {
        spec.name: (
            spec.dtype,
            tuple(size if isinstance(size, int) else None for size in spec.shape[1:]),
        )
        for spec in specs
    }
