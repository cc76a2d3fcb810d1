"""The numbers of each model version, under labels that no caller can add to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jettison.errors import REFUSALS
from jettison.serving.observability.tally import ROWS, SECONDS, Tally

if TYPE_CHECKING:
    from jettison.serving.versions import ServedVersion

UNKNOWN = "(unknown)"
"""Label of requests for models that are not served; no bundle can have this name."""

RETIRED = 8
"""How many unloaded versions keep their counters, so that the last scrape still sees them."""

RECENT = 512
"""How many of the last answers the page computes percentiles from."""

_REASONS = {reason: reason.replace(" ", "_") for reason in REFUSALS}
_PROTOCOLS = frozenset({"http", "grpc"})


class Series:
    """The numbers of one version of one model; also the observer of its batches.

    Attributes:
        requests: (HTTP status, protocol) -> answers and refusals.
        duration: seconds of each answered request, from first byte to last.
        queue: seconds that each request waited, one value a request.
        compute: seconds of each batch, one value a batch.
        batch_rows: rows of each batch.
        rejections: reason -> requests.
        waiting_rows: in the queue now.
        recent: seconds of the last answers.
        loaded: what is served, or `None` once it is unloaded.
    """

    __slots__ = (
        "batch_rows",
        "compute",
        "duration",
        "loaded",
        "model",
        "queue",
        "recent",
        "rejections",
        "requests",
        "version",
        "waiting_rows",
    )

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.requests: dict[tuple[int, str], int] = {}
        self.duration = Tally(SECONDS)
        self.queue = Tally(SECONDS)
        self.compute = Tally(SECONDS)
        self.batch_rows = Tally(ROWS)
        self.rejections: dict[str, int] = {}
        self.waiting_rows = 0
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.loaded: ServedVersion | None = None

    def request(self, code: int, seconds: float, protocol: str) -> None:
        """One request has ended."""
        key = (code, protocol if protocol in _PROTOCOLS else "other")
        self.requests[key] = self.requests.get(key, 0) + 1
        if code < 300:
            self.duration.observe(seconds)
            self.recent.append(seconds)

    def by_code(self) -> dict[str, int]:
        """Requests by HTTP status, whatever the protocol."""
        found: dict[str, int] = {}
        for (code, _), count in self.requests.items():
            found[str(code)] = found.get(str(code), 0) + count
        return found

    def waiting(self, rows: int) -> None:
        """The rows that wait now."""
        self.waiting_rows = rows

    def batch(self, rows: int, queue_seconds: Sequence[float], compute_seconds: float) -> None:
        """One batch was computed; `queue_seconds` has one entry per request in it."""
        self.batch_rows.observe(rows)
        self.compute.observe(compute_seconds)
        observe = self.queue.observe
        for seconds in queue_seconds:
            observe(seconds)

    def rejected(self, reason: str) -> None:
        """One request was refused, for a reason of `jettison.errors.REFUSALS`."""
        label = _REASONS[reason]
        self.rejections[label] = self.rejections.get(label, 0) + 1


class SeriesTable:
    """All series. Only loading a model makes a new one; asking for one never does."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Series] = {(UNKNOWN, ""): Series(UNKNOWN, "")}
        self._retired: deque[tuple[str, str]] = deque()

    def __iter__(self) -> Iterator[Series]:
        return iter(tuple(self._known.values()))

    def of(self, model: str, version: str) -> Series:
        """The series of a version; of its model, or of `(unknown)`, where it is not served."""
        found = self._known.get((model, version)) or self._known.get((model, ""))
        return found or self._known[UNKNOWN, ""]

    def opened(self, model: str, version: str) -> Series:
        """The series of a version that is or will be served; made where there is none.

        Requests that are refused before a version is chosen count under version `""`.
        """
        for key in ((model, ""), (model, version)):
            if key not in self._known:
                self._known[key] = Series(*key)
        return self._known[model, version]

    def loaded(self, version: ServedVersion) -> None:
        """A version is served from now on."""
        key = (version.name, version.version)
        self.opened(*key).loaded = version
        if key in self._retired:
            self._retired.remove(key)

    def unloaded(self, version: ServedVersion) -> None:
        """A version is not served any more; its counters stay until others took their place."""
        key = (version.name, version.version)
        series = self._known.get(key)
        if series is None or series.loaded is None:
            return
        series.loaded = None
        series.waiting_rows = 0
        self._retired.append(key)
        while len(self._retired) > RETIRED:
            self._forget(self._retired.popleft())

    def _forget(self, key: tuple[str, str]) -> None:
        """Drops a series, and that of its model with the last of its versions."""
        del self._known[key]
        if not any(model == key[0] and version for model, version in self._known):
            self._known.pop((key[0], ""), None)
