"""The metrics of a server, as families of prometheus_client. Names and labels stand only here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import jettison
from jettison.serving.observability.detail import JoulesRange, Meter, Reading
from jettison.serving.observability.series import Series, SeriesTable
from jettison.serving.observability.tally import Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Readings = Callable[[], Iterable[Reading]]

UNAVAILABLE = "unavailable"
LARGEST_READINGS = 5000
"""More series than this from one scrape would be a fault of whoever makes them."""

_READING = re.compile(r"jettison_(quality|drift|gpu)_[a-z0-9_]+")
_LABELS = ("model", "version")
_HELP = {
    "score": "How far the rows of now differ from those that the model was calibrated with.",
    "quality": "What the server knows about the quality of its answers.",
    "gpu": "What the GPU tells about itself.",
}


class Exposition:
    """Collects every family when a scrape asks; costs nothing before.

    Attributes:
        in_flight: requests that have begun and not ended.
        meter: of energy, or `None`.
        joules: what the meter says, where that was read already.
        gpus: gives readings of the GPUs, or `None`.
        gpus_now: what they say, where that was read already.
        sources: of readings.
    """

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self.in_flight = 0
        self.meter: Meter | None = None
        self.joules: JoulesRange | None = None
        self.gpus: Readings | None = None
        self.gpus_now: Sequence[Reading] | None = None
        self.sources: list[Readings] = []

    def look_at_machine(self) -> None:
        """Reads what takes long, so that `collect` need not; may be called on another thread."""
        if self.meter is not None:
            self.joules = self.meter.joules()
        if self.gpus is not None:
            self.gpus_now = tuple(self.gpus())

    def forget_machine(self) -> None:
        """Lets the next `collect` read again."""
        self.joules = self.gpus_now = None

    def collect(self) -> Iterator[Metric]:
        """All families; prometheus_client calls it."""
        series = list(self._series)
        yield from _counts(series)
        yield from _durations(series)
        yield from self._now(series)
        yield from _models(series)
        if self.meter is not None:
            yield from _energy(self.meter.label, self.joules or self.meter.joules())
        if self.gpus is not None:
            now = self.gpus() if self.gpus_now is None else self.gpus_now
            yield from readings_families(now)
        yield from readings_families(r for source in self.sources for r in source())

    def _now(self, series: list[Series]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        flight = GaugeMetricFamily(
            "jettison_in_flight", "Requests that have begun and not ended, of all models."
        )
        flight.add_metric([], self.in_flight)
        yield flight
        rows = GaugeMetricFamily("jettison_queue_rows", "Rows that wait now.", labels=_LABELS)
        for one in series:
            if one.loaded is not None:
                rows.add_metric([one.model, one.version], one.waiting_rows)
        yield rows


def _counts(series: list[Series]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    requests = CounterMetricFamily(
        "jettison_requests",
        "Requests that have ended, by HTTP status (gRPC ones by the status of the same meaning).",
        labels=(*_LABELS, "code", "protocol"),
    )
    rejected = CounterMetricFamily(
        "jettison_rejected", "Requests that were refused, by reason.", labels=(*_LABELS, "reason")
    )
    for one in series:
        for (code, protocol), count in one.requests.items():
            requests.add_metric([one.model, one.version, str(code), protocol], count)
        for reason, count in one.rejections.items():
            rejected.add_metric([one.model, one.version, reason], count)
    yield requests
    yield rejected


def _durations(series: list[Series]) -> Iterator[Metric]:
    yield _histogram(
        "jettison_request_duration_seconds",
        "From the first byte of a request that was answered to the last byte of its answer.",
        [(one, one.duration) for one in series],
    )
    yield _histogram(
        "jettison_queue_duration_seconds",
        "From acceptance to the start of the batch; one value a request.",
        [(one, one.queue) for one in series],
    )
    yield _histogram(
        "jettison_compute_duration_seconds",
        "Computing one batch; one value a batch.",
        [(one, one.compute) for one in series],
    )
    yield _histogram(
        "jettison_batch_rows",
        "Rows of each batch that was computed.",
        [(one, one.batch_rows) for one in series],
    )


def _histogram(name: str, text: str, tallies: list[tuple[Series, Tally]]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=_LABELS)
    for one, tally in tallies:
        if one.version:
            family.add_metric([one.model, one.version], list(tally.cumulative()), tally.total)
    return family


def _models(series: list[Series]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(
        "jettison_model_info",
        "Always 1: what is served, and whether a certificate covers it as it is served here.",
        labels=(*_LABELS, "hash", "certificate", "reason", "runtime", "cpu_class", "jettison"),
    )
    batch = GaugeMetricFamily(
        "jettison_batch_rows_limit", "Rows that one batch may have.", labels=_LABELS
    )
    queue = GaugeMetricFamily(
        "jettison_queue_rows_limit", "Rows that may wait; more are refused.", labels=_LABELS
    )
    for one in series:
        loaded = one.loaded
        if loaded is None:
            continue
        key = [one.model, one.version]
        status, _, reason = loaded.label.partition(": ")
        subject = loaded.certificate.subject
        cpu_class = subject.cpu_class if subject is not None else ""
        facts = (loaded.digest, status, reason, str(loaded.runtime), cpu_class)
        info.add_metric([*key, *facts, jettison.__version__], 1)
        batch.add_metric(key, loaded.policy.max_batch_rows)
        queue.add_metric(key, loaded.policy.max_queue_rows)
    yield from (info, batch, queue)


def _energy(label: str, joules: JoulesRange) -> Iterator[Metric]:
    """Joules with their range; only the name of the rung where there is no figure at all."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    source = GaugeMetricFamily(
        "jettison_energy_source_info",
        "Always 1: where figures of energy come from; measured only where a counter is read.",
        labels=("source",),
    )
    source.add_metric([label], 1)
    yield source
    if label == UNAVAILABLE:
        return
    for name, text, value in (
        ("jettison_energy_joules", "Energy used, by source; best value.", joules.value),
        ("jettison_energy_low_joules", "Energy used, lower end of its range.", joules.low),
        ("jettison_energy_high_joules", "Energy used, upper end of its range.", joules.high),
    ):
        if not math.isnan(value):
            family = CounterMetricFamily(name, text, labels=("source",))
            family.add_metric([label], value)
            yield family


def readings_families(readings: Iterable[Reading]) -> Iterator[Metric]:
    """Gauges of other parts, one family a name; of two with the same labels the last counts.

    Raises:
        ValueError: for a name outside `jettison_quality_`, `jettison_drift_` and `jettison_gpu_`,
            and for more than `LARGEST_READINGS` series.
    """
    from prometheus_client.core import Metric

    latest: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for number, reading in enumerate(readings):
        if not _READING.fullmatch(reading.name):
            raise ValueError(
                f"`{reading.name}` is no name for a reading; it must begin with jettison_quality_, "
                "jettison_drift_ or jettison_gpu_, in lower case"
            )
        if number >= LARGEST_READINGS:
            raise ValueError(f"more than {LARGEST_READINGS} readings; their labels are not bounded")
        if not math.isnan(reading.value):
            labels = tuple(sorted(reading.labels.items()))
            latest.setdefault(reading.name, {})[labels] = reading.value
    for name, values in latest.items():
        kind = name.split("_")[1]
        family = Metric(name, _HELP.get("score" if kind == "drift" else kind, ""), "gauge")
        for labels, value in values.items():
            family.add_sample(name, dict(labels), value)
        yield family
