"""The metrics: right numbers, bounded labels, a form that Prometheus reads."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

import jettison
from jettison.errors import REFUSALS, MissingDependency
from jettison.serving.observability import Observability
from jettison.serving.observability.exposition import LARGEST_READINGS
from jettison.serving.observability.series import RETIRED, UNKNOWN
from jettison.serving.observability.tally import ROWS
from jettison.serving.versions import ServedVersion


@dataclass(frozen=True)
class Gauge:
    """A reading as another part of the server makes it."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Joules:
    """A reading of a meter."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class FixedMeter:
    """A meter that always says the same."""

    label: str

    def joules(self) -> Joules:
        return Joules(5.0, 10.0, 20.0)


def samples(watch: Observability) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the exposition, read back by the parser of prometheus_client."""
    body, _ = watch.expose()
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
    return found


def value(watch: Observability, name: str, **labels: str) -> float | None:
    """One sample, or `None` where there is none."""
    return samples(watch).get((name, tuple(sorted(labels.items()))))


def test_requests_are_counted_by_model_version_code_and_protocol(
    watch: Observability, served: ServedVersion
) -> None:
    """Each ended request adds one to exactly one series."""
    for code, protocol in ((200, "http"), (200, "http"), (429, "http"), (200, "grpc")):
        watch.request(served.name, served.version, code, 0.01, protocol)
    own = {"model": served.name, "version": served.version}
    name = "jettison_requests_total"
    assert value(watch, name, **own, code="200", protocol="http") == 2
    assert value(watch, name, **own, code="429", protocol="http") == 1
    assert value(watch, name, **own, code="200", protocol="grpc") == 1
    assert sum(v for (n, _), v in samples(watch).items() if n == name) == 4


def test_only_answers_count_into_latency(watch: Observability, served: ServedVersion) -> None:
    """A refusal, which is quick, does not make the latency look better than it is."""
    watch.request(served.name, served.version, 200, 0.2, "http")
    watch.request(served.name, served.version, 429, 0.0001, "http")
    own = {"model": served.name, "version": served.version}
    assert value(watch, "jettison_request_duration_seconds_count", **own) == 1
    assert value(watch, "jettison_request_duration_seconds_sum", **own) == pytest.approx(0.2)
    bucket = "jettison_request_duration_seconds_bucket"
    assert value(watch, bucket, **own, le="0.1") == 0
    assert value(watch, bucket, **own, le="0.25") == 1
    assert value(watch, bucket, **own, le="+Inf") == 1


def test_batches_are_counted_exactly_where_they_are_small(
    watch: Observability, served: ServedVersion
) -> None:
    """Batches of 1 to 8 rows each have a bucket of their own; queue times count per request."""
    observer = watch.batches(served.name, served.version)
    for rows in range(1, 9):
        observer.batch(rows, [0.001] * rows, 0.004)
    own = {"model": served.name, "version": served.version}
    counted = [value(watch, "jettison_batch_rows_bucket", **own, le=f"{n}.0") for n in range(1, 9)]
    assert counted == [1, 2, 3, 4, 5, 6, 7, 8]
    assert value(watch, "jettison_batch_rows_sum", **own) == 36
    assert value(watch, "jettison_queue_duration_seconds_count", **own) == 36
    assert value(watch, "jettison_compute_duration_seconds_count", **own) == 8
    observer.batch(max(ROWS) + 1, [0.001], 0.004)
    assert value(watch, "jettison_batch_rows_count", **own) == 9


def test_every_reason_of_a_refusal_has_a_label(watch: Observability, served: ServedVersion) -> None:
    """Batchers and protocols report each reason of `REFUSALS`; anything else is a fault of ours."""
    observer = watch.batches(served.name, served.version)
    for reason in REFUSALS:
        observer.rejected(reason)
        watch.rejected(served.name, reason)
    own = {"model": served.name, "reason": "too_large"}
    assert value(watch, "jettison_rejected_total", **own, version=served.version) == 1
    assert value(watch, "jettison_rejected_total", **own, version="") == 1
    with pytest.raises(KeyError):
        observer.rejected("made up by a caller")


def test_a_caller_can_not_add_labels(watch: Observability, served: ServedVersion) -> None:
    """A thousand invented models, versions and protocols make no more series than one of each."""

    def invent(number: int) -> None:
        watch.request(f"model-{number}", "", 404, 0.001, "http")
        watch.request(served.name, f"version-{number}", 404, 0.001, "http")
        watch.request(served.name, served.version, 200, 0.001, f"protocol-{number}")
        watch.rejected(f"model-{number}", "unknown")

    invent(0)
    before = samples(watch).keys()
    for number in range(1, 1000):
        invent(number)
    assert samples(watch).keys() == before
    labels = {"model": UNKNOWN, "version": "", "code": "404", "protocol": "http"}
    assert value(watch, "jettison_requests_total", **labels) == 1000
    labels = {"model": served.name, "version": "", "code": "404", "protocol": "http"}
    assert value(watch, "jettison_requests_total", **labels) == 1000


def test_no_label_names_a_request(watch: Observability, served: ServedVersion) -> None:
    """The names of all labels are known: none is an id, an address or a key."""
    watch.watch_quality(lambda: [Gauge("jettison_drift_score", 0.1, {"feature": "x"})])
    watch.watch_energy(FixedMeter("estimated:cpu-seconds"))
    watch.request(served.name, served.version, 200, 0.01, "http")
    watch.rejected(served.name, "full")
    names = {name for _, labels in samples(watch) for name, _ in labels}
    assert names == {
        "model",
        "version",
        "code",
        "protocol",
        "reason",
        "le",
        "source",
        "feature",
        "hash",
        "certificate",
        "runtime",
        "cpu_class",
        "jettison",
    }


def test_a_model_tells_what_it_is(watch: Observability, served: ServedVersion) -> None:
    """The info metric has the whole hash and the certificate; limits stand beside it."""
    own = {"model": served.name, "version": served.version}
    facts = {
        "hash": served.digest,
        "certificate": "certified",
        "reason": "",
        "runtime": "onnx_runtime",
        "cpu_class": "x86_64-avx2",
        "jettison": jettison.__version__,
    }
    assert value(watch, "jettison_model_info", **own, **facts) == 1
    assert value(watch, "jettison_batch_rows_limit", **own) == 8
    assert value(watch, "jettison_queue_rows_limit", **own) == 64


def test_an_uncertified_model_is_told_with_its_reason(describe_version) -> None:  # type: ignore[no-untyped-def]
    """The label of the certificate can be matched by an alert; the reason is its own label."""
    watch = Observability()
    watch.loaded(describe_version(label="uncertified: made for another CPU: avx512"))
    (labels,) = [dict(ls) for (n, ls), _ in samples(watch).items() if n == "jettison_model_info"]
    assert labels["certificate"] == "uncertified"
    assert labels["reason"] == "made for another CPU: avx512"


def test_an_unloaded_version_keeps_its_counters_and_loses_its_info(
    watch: Observability, served: ServedVersion
) -> None:
    """The last requests before a swap are not lost, and nobody thinks that the old one is there."""
    watch.batches(served.name, served.version).waiting(5)
    watch.request(served.name, served.version, 200, 0.01, "http")
    watch.unloaded(served)
    own = {"model": served.name, "version": served.version}
    assert value(watch, "jettison_requests_total", **own, code="200", protocol="http") == 1
    assert value(watch, "jettison_queue_rows", **own) is None
    assert not [name for name, _ in samples(watch) if name == "jettison_model_info"]
    watch.loaded(served)
    assert value(watch, "jettison_requests_total", **own, code="200", protocol="http") == 1
    assert value(watch, "jettison_queue_rows", **own) == 0


def test_many_swaps_keep_the_series_bounded(describe_version) -> None:  # type: ignore[no-untyped-def]
    """Only the last unloaded versions keep their counters."""
    watch = Observability()
    for number in range(50):
        one = describe_version(digest=f"{number:064d}"[::-1])
        watch.batches(one.name, one.version)
        watch.loaded(one)
        watch.request(one.name, one.version, 200, 0.01, "http")
        watch.unloaded(one)
    versions = {dict(ls)["version"] for n, ls in samples(watch) if n == "jettison_requests_total"}
    assert len(versions) == RETIRED
    assert f"{49:064d}"[::-1][:12] in versions


def test_requests_in_flight_begin_and_end(watch: Observability, served: ServedVersion) -> None:
    """The gauge is what has begun and not ended."""
    watch.began()
    watch.began()
    assert value(watch, "jettison_in_flight") == 2
    watch.request(served.name, served.version, 499, 0.01, "http")
    assert value(watch, "jettison_in_flight") == 1


def test_energy_is_never_called_measured_by_itself() -> None:
    """The source is the label of the meter; without a figure there is a source, and no joules."""
    watch = Observability()
    assert not [name for name, _ in samples(watch) if "energy" in name]
    watch.watch_energy(FixedMeter("unavailable"))
    assert value(watch, "jettison_energy_source_info", source="unavailable") == 1
    assert not [name for name, _ in samples(watch) if "joules" in name]
    watch.watch_energy(FixedMeter("estimated:cpu-seconds"))
    source = {"source": "estimated:cpu-seconds"}
    assert value(watch, "jettison_energy_joules_total", **source) == 10
    assert value(watch, "jettison_energy_low_joules_total", **source) == 5
    assert value(watch, "jettison_energy_high_joules_total", **source) == 20


def test_a_slow_meter_is_read_beside_the_event_loop() -> None:
    """A scrape that waits for its meter does not keep the loop from other work."""
    go = threading.Event()

    class SlowMeter(FixedMeter):
        def joules(self) -> Joules:
            assert go.wait(10)
            return super().joules()

    async def scraped() -> bytes:
        watch = Observability()
        watch.watch_energy(SlowMeter("estimated:cpu-seconds"))
        scrape = asyncio.create_task(watch.exposed())
        await asyncio.sleep(0)
        go.set()  # only a loop that is free gets here
        body, _ = await scrape
        return body

    assert b'jettison_energy_joules_total{source="estimated:cpu-seconds"} 10.0' in asyncio.run(
        scraped()
    )


def test_readings_of_other_parts_are_shown() -> None:
    """The last of two readings counts; NaN is left out."""
    watch = Observability()
    readings = [
        Gauge("jettison_quality_agreement_ratio", 0.5, {"model": "m"}),
        Gauge("jettison_quality_agreement_ratio", 0.75, {"model": "m"}),
        Gauge("jettison_drift_score", math.nan, {"model": "m", "feature": "x"}),
    ]
    watch.watch_quality(readings.__iter__)
    assert value(watch, "jettison_quality_agreement_ratio", model="m") == 0.75
    assert value(watch, "jettison_drift_score", model="m", feature="x") is None


@pytest.mark.parametrize("name", ["jettison_requests_total", "drift", "jettison_drift_Größe"])
def test_a_reading_can_not_take_the_name_of_another_metric(name: str) -> None:
    """A name outside the families that readings own is refused."""
    watch = Observability()
    watch.watch_quality(lambda: [Gauge(name, 1.0)])
    with pytest.raises(ValueError, match="no name for a reading"):
        watch.expose()


def test_readings_are_bounded() -> None:
    """A part that makes series without end is stopped with a message."""
    watch = Observability()
    watch.watch_quality(
        lambda: (
            Gauge("jettison_drift_score", 1.0, {"feature": str(n)})
            for n in range(LARGEST_READINGS + 1)
        )
    )
    with pytest.raises(ValueError, match="not bounded"):
        watch.expose()


def test_two_servers_in_a_process_share_nothing(served: ServedVersion) -> None:
    """Metrics live in a registry of their own; the global one stays empty of them."""
    import prometheus_client

    one, other = Observability(), Observability()
    one.loaded(served)
    one.request(served.name, served.version, 200, 0.01, "http")
    assert not [name for name, _ in samples(other) if name == "jettison_model_info"]
    assert b"jettison" not in prometheus_client.generate_latest()


def test_the_exposition_has_no_created_series_and_has_the_process(watch: Observability) -> None:
    """`_created` series are off; CPU, memory and start of the process are there."""
    names = {name for name, _ in samples(watch)}
    assert not [name for name in names if name.endswith("_created")]
    wanted = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
    assert wanted | {"process_start_time_seconds"} <= names


def test_hostile_names_do_not_break_the_exposition(describe_version) -> None:  # type: ignore[no-untyped-def]
    """Quotes, backslashes and line breaks in a name come back as they were."""
    watch = Observability()
    name = 'a"b\\c\nd{}'
    served = describe_version(name=name)
    watch.loaded(served)
    assert value(watch, "jettison_queue_rows", model=name, version=served.version) == 0


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus_client the message names the extra."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependency, match=r"jettison\[serve\]"):
        Observability()
