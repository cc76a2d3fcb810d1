"""Claims of cost: launches, the second copy of the baseline, noise, verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import Estimate
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.errors import CandidateFailed
from jettison.timing import claims
from jettison.timing.claims import (
    SECOND_COPY,
    ClaimPlan,
    claim_costs,
    faster_verdict,
    ranking_costs,
)
from jettison.timing.sessions import Sessions

ORT = Step("onnx_runtime")
SHORT = ClaimPlan(launches=2, rounds=2, calls=2, max_seconds=0.0)


def gain(low: float | None, high: float | None, state: str = "ok") -> Estimate:
    return Estimate("latency_ms:gain", "overall", 1.0, low, high, 5, "ratio", "higher", state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("estimate", "floor", "verdict"),
    [
        (gain(1.10, 1.20), 0.02, "faster"),
        (gain(1.01, 1.20), 0.02, "no difference shown"),
        (gain(0.80, 0.90), 0.02, "slower"),
        (gain(0.80, 0.99), 0.02, "no difference shown"),
        (gain(1.50, 1.60, "noisy"), 0.02, "noisy"),
        (gain(None, None), 0.0, "no difference shown"),
        (None, 0.0, "no difference shown"),
    ],
)
def test_faster_needs_the_interval_beyond_the_noise_floor(
    estimate: Estimate | None, floor: float, verdict: str
) -> None:
    """A missing interval, a noisy state, or one inside the floor never supports a claim."""
    assert faster_verdict(estimate, floor) == verdict


def test_no_claim_has_fewer_launches_than_it_needs(
    make_network: Callable[..., Model], rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Also where its time is up before the second launch: an interval over two says nothing."""
    baseline = Variant("baseline", make_network(), ORT)
    wide = Variant("wide", make_network(hidden=256), ORT)
    plan = ClaimPlan(launches=5, rounds=1, calls=1, max_seconds=0.0, fewest=3)
    result = claim_costs([baseline, wide], rows, serving, ("latency_ms",), plan, tmp_path / "c")
    latency = result.measurements["wide"].get("latency_ms:gain")
    assert latency is not None
    assert latency.n == 3


def test_a_claim_measures_every_variant_beside_a_second_copy(
    make_network: Callable[..., Model], rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Costs come overall and per batch size, with units and launches; the A/A arm is added."""
    baseline = Variant("baseline", make_network(), ORT)
    wide = Variant("wide", make_network(hidden=256), ORT)
    ticks: list[tuple[int, int]] = []
    plan = dataclasses.replace(SHORT, tick=lambda done, total: ticks.append((done, total)))
    costs = ("latency_ms", "cpu_ms", "size_bytes", "peak_memory_bytes")
    result = claim_costs([baseline, wide], rows, serving, costs, plan, tmp_path / "claims")

    assert set(result.measurements) == {"baseline", "wide", SECOND_COPY}
    measured = result.measurements["wide"]
    for group in ("overall", "batch=1", "batch=8"):
        latency = measured.get("latency_ms", group)
        assert latency is not None
        assert latency.unit == "ms"
        assert latency.n == 2
        assert measured.get("latency_ms:gain", group) is not None
    size = measured.get("size_bytes:gain")
    assert size is not None
    assert size.value == pytest.approx(
        baseline.model.artifact.size_bytes / wide.model.artifact.size_bytes
    )
    assert measured.recipe == "wide"
    assert measured.tier == "claim"
    assert any("CPUExecutionProvider" in note for note in measured.notes)
    assert result.measurements["baseline"].get("latency_ms:gain") is None
    assert [done for done, _ in ticks] == [1, 2, 3, 4]
    assert all(done <= total for done, total in ticks)
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_model_is_never_faster_than_itself(network: Model, rows: Rows, tmp_path: Path) -> None:
    """The verdict on the A/A arm is never `faster` or `slower`: its own interval is the floor."""
    result = claim_costs(
        [Variant("baseline", network, ORT)],
        rows,
        ServingProfile(),
        ("latency_ms",),
        SHORT,
        tmp_path,
    )
    copy = result.measurements[SECOND_COPY].get("latency_ms:gain")
    assert copy is not None
    quiet = dataclasses.replace(copy, state="ok")
    assert faster_verdict(quiet, result.noise_floor) == "no difference shown"


def test_a_busy_machine_makes_claims_noisy(
    network: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When others compete until the time is up, times are `noisy`; sizes are not."""
    monkeypatch.setattr(machine, "is_busy", lambda *_: True)
    result = claim_costs(
        [Variant("baseline", network, ORT)],
        rows,
        ServingProfile(),
        ("latency_ms", "size_bytes"),
        SHORT,
        tmp_path,
    )
    measured = result.measurements["baseline"]
    latency, size = measured.get("latency_ms"), measured.get("size_bytes")
    assert result.noisy
    assert latency is not None
    assert latency.state == "noisy"
    assert latency.n == 2
    assert size is not None
    assert size.state == "ok"
    assert any("noisy" in note for note in measured.notes)


def test_long_rounds_of_a_claim_are_fewer(
    network: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launches stay as many: the interval is over them."""
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 0.0)
    seen: list[tuple[int, int]] = []
    plan = ClaimPlan(2, rounds=7, calls=1, max_seconds=0.0, tick=lambda *place: seen.append(place))
    baseline = [Variant("baseline", network, ORT)]
    result = claim_costs(baseline, rows, ServingProfile(), ("latency_ms",), plan, tmp_path)
    latency = result.measurements["baseline"].get("latency_ms")
    assert len(seen) == 2 * 3
    assert latency is not None
    assert latency.n == 2


def test_disturbed_launches_are_repeated_while_time_is_left(
    network: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch that others disturbed is replaced by a quiet one."""
    answers = iter([True, False, False])
    monkeypatch.setattr(machine, "is_busy", lambda *_: next(answers))
    result = claim_costs(
        [Variant("baseline", network, ORT)],
        rows,
        ServingProfile(),
        ("latency_ms",),
        dataclasses.replace(SHORT, max_seconds=300.0),
        tmp_path,
    )
    assert not result.noisy
    assert any("1 launch" in note for note in result.measurements["baseline"].notes)


def test_where_times_only_inform_a_busy_machine_is_not_waited_for(
    network: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two disturbed launches no more are tried, though time is left."""
    monkeypatch.setattr(machine, "is_busy", lambda *_: True)
    result = claim_costs(
        [Variant("baseline", network, ORT)],
        rows,
        ServingProfile(),
        ("size_bytes", "latency_ms"),
        dataclasses.replace(SHORT, max_seconds=300.0, max_disturbed=2),
        tmp_path,
    )
    latency = result.measurements["baseline"].get("latency_ms")
    assert latency is not None
    assert (latency.state, latency.n) == ("noisy", 2)


def test_a_ranking_gives_gains_only(
    make_network: Callable[..., Model], rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Ranking figures are ratios to the baseline, without the interval of a claim."""
    baseline = Variant("baseline", make_network(), ORT)
    wide = Variant("wide", make_network(hidden=256), ORT)
    with Sessions(rows, serving, tmp_path) as workers:
        gains = ranking_costs(baseline, wide, workers, ("latency_ms", "size_bytes"))
    found = {(gain.metric, gain.group): gain for gain in gains}
    assert ("latency_ms:gain", "batch=8") in found
    assert found["latency_ms:gain", "overall"].low is None
    size = found["size_bytes:gain", "overall"].value
    assert size is not None
    assert size < 0.5
    assert all(metric.endswith(":gain") for metric, _ in found)


def test_a_variant_that_cannot_run_fails_by_name(
    network: Model, rows: Rows, tmp_path: Path
) -> None:
    """A runtime setting that does not exist is a failed candidate, not a number."""
    broken = Variant("x", network, Step("onnx_runtime", {"threads": 4}))
    baseline = Variant("baseline", network, ORT)
    with (
        Sessions(rows, ServingProfile(), tmp_path) as workers,
        pytest.raises(CandidateFailed, match="no settings"),
    ):
        ranking_costs(baseline, broken, workers, ("latency_ms",))
