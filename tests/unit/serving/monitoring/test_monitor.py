"""The monitor of a served version: what it joins, what it refuses, and when it raises an alarm."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.certificate import Claim
from jettison.errors import CheckFailed
from jettison.pipeline.verify import open_bundle
from jettison.serving.monitoring import (
    MonitorSettings,
    Outcome,
    OutcomeReceipt,
    QualityMonitor,
    Watched,
)
from jettison.serving.requests import Answer, InferenceRequest
from jettison.trust import bundle_layout as layout
from jettison.trust.sketch import Sketch

VERSION = "0123456789ab"
LABELS = ("ant", "bee", "cat", "dog")


def claim(metric: str, group: str = "overall", margin: float = 0.01, gates: bool = True) -> Claim:
    """A claim that was held."""
    return Claim(
        metric, group, margin, gates, 4000, 0.91, 0.909, 0.001, 0.006, 1e-4, "A", "-", "held"
    )


@functools.cache
def watched_of(bundle: Path) -> Watched:
    """What a monitor needs of a bundle; read once."""
    model, _, certificate = open_bundle(bundle)
    return Watched.from_bundle(
        bundle, model, certificate, name="m", version=VERSION, digest="0" * 64
    )


class Desk:
    """A monitor with made-up traffic whose answers are one class, given as scores."""

    def __init__(
        self,
        bundle: Path,
        claims: Sequence[Claim] = (claim("accuracy"),),
        settings: MonitorSettings | None = None,
        sketch: Sketch | None = None,
        digest: str = "0" * 64,
    ) -> None:
        watched = dataclasses.replace(watched_of(bundle), digest=digest)
        certificate = dataclasses.replace(watched.certificate, claims=tuple(claims))
        watched = dataclasses.replace(watched, certificate=certificate)
        if sketch is not None:
            watched = dataclasses.replace(watched, sketch=sketch)
        self.now = 0.0
        self.monitor = QualityMonitor(watched, settings, lambda: self.now)
        self._random = np.random.default_rng(0)

    def ask(
        self,
        name: str,
        said: Sequence[int],
        original: Sequence[int] | None = None,
        shift: float = 0.0,
        version: str = VERSION,
    ) -> None:
        """One request whose rows were answered with these classes."""
        self.now += 1.0
        rows = (self._random.normal(size=(len(said), 16)) + shift).astype(np.float32)
        request = InferenceRequest({"x": rows}, len(said), request_id=name)
        shadow = None if original is None else answer(original, "original")
        self.monitor.observe(request, answer(said, version), shadow)

    def tell(self, *items: Outcome) -> OutcomeReceipt:
        """Posts outcomes."""
        return self.monitor.outcomes(items)

    def read(self, name: str, **labels: str) -> list[float]:
        """Values of a reading under some labels."""
        return [
            reading.value
            for reading in self.monitor.readings()
            if reading.name == name and labels.items() <= dict(reading.labels).items()
        ]


def answer(classes: Sequence[int], version: str) -> Answer:
    """Scores that say one class a row."""
    scores = np.full((len(classes), 4), 0.1, np.float32)
    scores[np.arange(len(classes)), list(classes)] = 0.7
    return Answer({"scores": scores}, version, 0.001, 0.001, len(classes))


def test_a_label_is_joined_with_its_answer(bundle: Path) -> None:
    """The running accuracy is that of the answers which labels came back for."""
    desk = Desk(bundle)
    for i, said in enumerate([0, 1, 2, 3]):
        desk.ask(f"r{i}", [said])
    receipt = desk.tell(Outcome("r0", "ant"), Outcome("r1", 1), Outcome("r2", "dog"))
    assert (receipt.joined, receipt.paired, receipt.refused) == (3, 0, {})
    assert desk.read("jettison_quality_value", metric="accuracy") == pytest.approx([2 / 3])
    assert desk.read("jettison_quality_sealed_value") == [0.909]


def test_labels_alone_say_nothing_about_the_margin(bundle: Path) -> None:
    """A thousand wrong answers without the original's break no margin, and the receipt says so."""
    desk = Desk(bundle)
    for i in range(1000):
        desk.ask(f"r{i}", [0])
    receipt = desk.tell(*(Outcome(f"r{i}", "bee") for i in range(1000)))
    assert desk.read("jettison_quality_margin_held") == [1.0]
    assert desk.read("jettison_quality_margin_rows") == [0.0]
    assert desk.read("jettison_quality_value") == [0.0]
    assert "the original as the shadow" in receipt.notes[0]


def test_a_broken_margin_raises_the_alarm(bundle: Path) -> None:
    """Where the original is right and the served model is not, the margin is soon refuted."""
    desk = Desk(bundle)
    for i in range(60):
        desk.ask(f"r{i}", [1 if i % 4 == 0 else 0], original=[0])
    receipt = desk.tell(*(Outcome(f"r{i}", "ant") for i in range(60)))
    assert receipt.paired == 60
    assert desk.read("jettison_quality_margin_held", metric="accuracy", group="overall") == [0.0]
    assert desk.read("jettison_quality_drop") == pytest.approx([0.25])
    assert desk.read("jettison_quality_drop_low")[0] > 0.01
    assert desk.read("jettison_quality_margin_p_value")[0] < 0.05


def test_a_model_as_wrong_as_the_original_keeps_its_margin(bundle: Path) -> None:
    """Both wrong on the same rows is no drop, however bad the accuracy is."""
    desk = Desk(bundle)
    for i in range(400):
        desk.ask(f"r{i}", [0], original=[0])
    desk.tell(*(Outcome(f"r{i}", "bee") for i in range(400)))
    assert desk.read("jettison_quality_margin_held") == [1.0]
    assert desk.read("jettison_quality_drop") == [0.0]
    assert desk.read("jettison_quality_value") == [0.0]


def test_groups_are_watched_apart(bundle: Path) -> None:
    """Harm to one certified group is found in that group, not in the other."""
    groups = [claim("accuracy", "kind=low", 0.03), claim("accuracy", "kind=high", 0.03)]
    desk = Desk(bundle, [claim("accuracy"), *groups])
    for i in range(200):
        low = i % 2 == 0
        desk.ask(f"r{i}", [1 if low and i % 4 == 0 else 0], original=[0])
    desk.tell(
        *(Outcome(f"r{i}", "ant", 0, {"kind": "high" if i % 2 else "low"}) for i in range(200))
    )
    assert desk.read("jettison_quality_margin_held", group="kind=low") == [0.0]
    assert desk.read("jettison_quality_margin_held", group="kind=high") == [1.0]
    assert desk.read("jettison_quality_margin_rows", group="kind=low") == [100.0]


def test_groups_that_do_not_gate_are_not_watched(bundle: Path) -> None:
    """A group that the certificate says nothing about has no margin to break."""
    desk = Desk(bundle, [claim("accuracy"), claim("accuracy", "kind=low", 0.03, gates=False)])
    desk.ask("a", [0], original=[0])
    receipt = desk.tell(Outcome("a", "ant", 0, {"kind": "low"}))
    assert receipt.unwatched_groups == 1
    assert desk.read("jettison_quality_margin_rows", group="kind=low") == []


def test_a_thousand_invented_groups_make_no_series(bundle: Path) -> None:
    """Labels come from the certificate alone; what is posted counts only in the whole."""
    desk = Desk(bundle)
    before = len(list(desk.monitor.readings()))
    for i in range(1000):
        desk.ask(f"r{i}", [0])
    desk.tell(*(Outcome(f"r{i}", "ant", 0, {f"c{i}": f"v{i}"}) for i in range(1000)))
    after = list(desk.monitor.readings())
    assert not [r for r in after if "c1=v1" in r.labels.values()]
    assert len({(r.name, *sorted(r.labels.items())) for r in after}) == len(after)
    assert len(after) <= before + 80
    assert desk.read("jettison_quality_unwatched_groups") == [1000.0]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Outcome("nobody", "ant"), "unknown id"),
        (Outcome("a", "wolf"), "label impossible"),
        (Outcome("a", 4), "label impossible"),
        (Outcome("a", -1), "label impossible"),
        (Outcome("a", 1.5), "label impossible"),
        (Outcome("a", 2**53), "label impossible"),
        (Outcome("a", "ant", 3), "row unknown"),
        (Outcome("twice", "ant"), "id used twice"),
    ],
)
def test_what_can_not_be_counted_is_refused_and_said(bundle: Path, item: Outcome, why: str) -> None:
    """Unknown ids, impossible labels and rows, and ids of two requests count nowhere."""
    desk = Desk(bundle)
    desk.ask("a", [0, 1])
    desk.ask("twice", [0])
    desk.ask("twice", [1])
    receipt = desk.tell(item)
    assert (receipt.joined, receipt.refused) == (0, {why: 1})
    assert desk.read("jettison_quality_outcomes", result=why.replace(" ", "_")) == [1.0]
    assert desk.read("jettison_quality_value_rows") == [0.0]


def test_an_outcome_counts_once(bundle: Path) -> None:
    """The same label posted again, in one post or a later one, is refused."""
    desk = Desk(bundle)
    desk.ask("a", [0, 1], original=[0, 1])
    first = desk.tell(Outcome("a", "ant"), Outcome("a", "ant"), Outcome("a", "bee", 1))
    again = desk.tell(Outcome("a", "dog"))
    assert (first.joined, first.refused) == (2, {"told before": 1})
    assert (again.joined, again.refused) == (0, {"told before": 1})
    assert desk.read("jettison_quality_margin_rows") == [2.0]


def test_an_id_of_a_shadowed_and_a_plain_request_is_ambiguous(bundle: Path) -> None:
    """One id for two requests is no use, also where only one of them was shadowed."""
    desk = Desk(bundle)
    desk.ask("a", [0], original=[0])
    desk.ask("a", [1])
    assert desk.tell(Outcome("a", "ant")).refused == {"id used twice": 1}


def test_memory_is_bounded_and_the_oldest_go_first(bundle: Path) -> None:
    """More answers than may be remembered push out the oldest; too old ones expire."""
    desk = Desk(bundle, settings=MonitorSettings(remembered=100, remembered_seconds=1e4))
    for i in range(500):
        desk.ask(f"r{i}", [0])
    assert desk.read("jettison_quality_remembered_answers") == [100.0]
    assert desk.tell(Outcome("r0", "ant"), Outcome("r499", "ant")).refused == {"unknown id": 1}
    desk.now += 2e4
    assert desk.tell(Outcome("r498", "ant")).refused == {"unknown id": 1}
    desk.ask("new", [0])
    assert desk.read("jettison_quality_remembered_answers") == [1.0]


def test_memory_is_bounded_in_bytes(bundle: Path) -> None:
    """Large answers are remembered for fewer requests; the largest are not remembered at all."""
    desk = Desk(bundle, settings=MonitorSettings(remembered_bytes=20_000, largest_rows=500))
    for i in range(50):
        desk.ask(f"r{i}", [0] * 100)
    assert desk.read("jettison_quality_remembered_answers")[0] == 10.0
    desk.ask("huge", [0] * 501)
    assert desk.tell(Outcome("huge", "ant")).refused == {"unknown id": 1}


def test_agreement_comes_from_the_shadow_without_labels(bundle: Path) -> None:
    """Each shadowed row says whether the original gives the same class."""
    desk = Desk(bundle)
    for i in range(100):
        desk.ask("", [0], original=[0 if i % 10 else 1])
    assert desk.read("jettison_quality_agreement_ratio", metric="agreement") == pytest.approx([0.9])
    low = desk.read("jettison_quality_agreement_ratio_low")[0]
    high = desk.read("jettison_quality_agreement_ratio_high")[0]
    assert low < 0.9 < high < 1.0
    assert desk.read("jettison_quality_agreement_rows") == [100.0]


def test_a_certified_agreement_is_watched_without_labels(bundle: Path) -> None:
    """Where agreement itself was certified, the shadow alone can break the margin."""
    desk = Desk(bundle, [claim("agreement", margin=0.05), claim("agreement", "kind=low", 0.05)])
    for i in range(200):
        desk.ask(f"r{i}", [0], original=[0 if i % 4 else 1])
    assert desk.read("jettison_quality_margin_held", group="overall") == [0.0]
    assert desk.read("jettison_quality_margin_rows", group="overall") == [200.0]
    told = [Outcome(f"r{i}", None, 0, {"kind": "low"}) for i in range(0, 200, 2)]
    assert desk.tell(*told).refused == {}
    assert desk.read("jettison_quality_margin_rows", group="kind=low") == [100.0]
    assert desk.read("jettison_quality_margin_rows", group="overall") == [200.0]


def test_answers_of_another_version_are_not_taken(bundle: Path) -> None:
    """A canary's answers say nothing about the version that is watched."""
    desk = Desk(bundle)
    desk.ask("a", [0], version="ffffffffffff")
    assert desk.tell(Outcome("a", "ant")).refused == {"unknown id": 1}


def test_an_original_of_another_shape_is_not_compared(bundle: Path) -> None:
    """A shadow that answers something else is counted, and pairs nothing."""
    desk = Desk(bundle)
    request = InferenceRequest({"x": np.zeros((1, 16), np.float32)}, 1, request_id="a")
    other = Answer({"scores": np.zeros((1, 7), np.float32)}, "original", 0.0, 0.0, 1)
    desk.monitor.observe(request, answer([0], VERSION), other)
    assert desk.read("jettison_quality_shadow_rows", result="not_comparable") == [1.0]
    assert desk.tell(Outcome("a", "ant")).paired == 0


def test_a_row_that_spoils_a_metric_is_left_out_alone(bundle: Path) -> None:
    """Where the original's own answer is not finite, the other rows still count."""
    desk = Desk(bundle)
    for i in range(5):
        desk.ask(f"r{i}", [0], original=[0])
    request = InferenceRequest({"x": np.zeros((1, 16), np.float32)}, 1, request_id="bad")
    broken = Answer({"scores": np.full((1, 4), np.nan, np.float32)}, "original", 0.0, 0.0, 1)
    desk.monitor.observe(request, answer([0], VERSION), broken)
    assert desk.read("jettison_quality_agreement_rows") == [5.0]
    assert desk.read("jettison_quality_shadow_rows", result="metric_undefined") == [1.0]
    desk.tell(Outcome("bad", "ant"))
    assert desk.read("jettison_quality_drop") == [-1.0]


def test_a_metric_with_a_fault_reaches_no_caller(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in that raises is counted; requests and posts go on."""

    def score(*_: object) -> None:
        raise IndexError("a fault of the plug-in")

    monkeypatch.setattr("jettison.metrics.fidelity.Agreement.score", score)
    monkeypatch.setattr("jettison.metrics.classification.Accuracy.score", score)
    desk = Desk(bundle)
    for i in range(40):
        desk.ask(f"r{i}", [0], original=[0])
    assert desk.tell(Outcome("r1", "ant")).joined == 1
    assert desk.read("jettison_quality_shadow_rows", result="metric_undefined") == [40.0]
    assert desk.read("jettison_quality_outcomes", result="metric_undefined") == [1.0]
    assert desk.read("jettison_quality_margin_rows") == [0.0]


def test_shifted_inputs_are_drift_and_the_usual_ones_are_not(bundle: Path) -> None:
    """Enough rows like those of the fitting raise no alarm; rows that moved do, in each feature."""
    rows = np.load(bundle.with_name("release-parts") / "rows" / "x.npy")
    usual, moved = Desk(bundle), Desk(bundle)
    draw = np.random.default_rng(3)
    for _ in range(400):
        for desk, shift in ((usual, 0.0), (moved, 3.0)):
            desk.now += 1.0
            picked = rows[draw.integers(len(rows), size=1)] + np.float32(shift)
            request = InferenceRequest({"x": picked}, 1)
            desk.monitor.observe(request, answer([int(draw.integers(4))], VERSION))

    def alarms(desk: Desk) -> set[str]:
        limit = {
            r.labels["feature"]: r.value
            for r in desk.monitor.readings()
            if r.name == "jettison_drift_limit"
        }
        return {
            r.labels["feature"]
            for r in desk.monitor.readings()
            if r.name == "jettison_drift_score" and r.value > limit[r.labels["feature"]]
        }

    inputs = {f"x[{i}]" for i in range(16)}
    assert alarms(usual) & inputs == set()
    assert alarms(moved) >= inputs
    assert usual.read("jettison_drift_rows") == [400.0]


def test_sampling_is_bounded_in_time(bundle: Path) -> None:
    """At a high rate only some requests are looked at; at a low rate all."""
    desk = Desk(bundle, settings=MonitorSettings(sampled_per_second=0.1))
    for _ in range(100):
        desk.ask("", [0])
    assert desk.read("jettison_drift_rows") == [10.0]


def test_the_window_moves_on(bundle: Path) -> None:
    """Only the last rows count: after a shift has ended, its alarm ends."""
    desk = Desk(bundle)
    for _ in range(300):
        desk.ask("", [0] * 8, shift=5.0)
    moved = desk.read("jettison_drift_score", feature="x[0]")[0]
    assert moved > 1.0
    assert desk.read("jettison_drift_rows")[0] <= 2500
    for _ in range(300):
        desk.ask("", [0] * 8)
    assert desk.read("jettison_drift_rows")[0] <= 2500
    assert desk.read("jettison_drift_score", feature="x[0]")[0] < moved / 2


def test_without_a_sketch_drift_is_unavailable_and_said(bundle: Path) -> None:
    """An older bundle is served; its drift is shown as not available, never as 0."""
    desk = Desk(bundle, sketch=Sketch(reason="the bundle was made before bundles had a sketch"))
    for _ in range(200):
        desk.ask("", [0])
    assert desk.read("jettison_drift_available") == [0.0]
    assert desk.read("jettison_drift_score") == []
    assert "before bundles had a sketch" in desk.monitor.unavailable["drift"]


def test_an_uncertified_bundle_has_no_margin_to_watch(bundle: Path) -> None:
    """No claim, no alarm and no "held" either; the receipt says why."""
    desk = Desk(bundle, [])
    desk.ask("a", [0], original=[0])
    receipt = desk.tell(Outcome("a", "ant"))
    assert desk.read("jettison_quality_margin_held") == []
    assert "not certified" in receipt.notes[0]
    assert "margin" in desk.monitor.unavailable


def test_a_bounded_mean_is_watched_in_its_own_unit(bundle: Path) -> None:
    """A drop in nats is compared with a margin in nats."""
    desk = Desk(bundle, [claim("nll", margin=0.05)])
    for i in range(100):
        desk.ask(f"r{i}", [1], original=[0])
    desk.tell(*(Outcome(f"r{i}", "ant") for i in range(100)))
    assert desk.read("jettison_quality_drop") == pytest.approx([np.log(7.0)], rel=1e-5)
    assert desk.read("jettison_quality_margin") == [0.05]
    assert desk.read("jettison_quality_margin_held") == [0.0]
    assert desk.read("jettison_quality_value") == pytest.approx([-np.log(0.1)], rel=1e-5)


def test_probes_that_can_not_be_read_are_refused(bundle: Path, tmp_path: Path) -> None:
    """A monitor is not made from a bundle whose records are damaged."""
    (tmp_path / layout.PROBES).write_bytes(b"not a zip")
    with pytest.raises(CheckFailed, match="probes"):
        Watched.from_bundle(
            tmp_path,
            watched_of(bundle).model,
            watched_of(bundle).certificate,
            name="m",
            version=VERSION,
            digest="0" * 64,
        )
