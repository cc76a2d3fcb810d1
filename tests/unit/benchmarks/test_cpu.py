"""The peers' benchmark: who is compared, what is judged, and what the bar says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cpu import judging, measuring, speech, writing
from benchmarks.cpu.building import ORIGINAL
from benchmarks.cpu.records import Built, Claimed, Judged, State, Subject
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Estimate
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData

ROWS = Rows("/nowhere", ("x",), 4)


def subject(metric: str = "accuracy") -> Subject:
    artifact = Artifact("onnx_file", "/nowhere", ("model.onnx",), "", 100)
    spec = TensorSpec("x", "float32", ("batch", 4))
    model = Model(
        artifact,
        frozenset({"onnx"}),
        (spec,),
        (spec,),
        "x",
        "classification",
        Encoder.of("arrays", {}),
    )
    timed = {"": ROWS}
    return Subject(
        "resnet20", model, FittingData(ROWS), ROWS, ROWS, metric, timed, serving=ServingProfile()
    )


def state(owners: dict[str, str], verdicts: dict[str, str], ranking: dict[str, float]) -> State:
    one = subject()
    built = tuple(
        Built(name, owner, Variant(name, one.model, Step("onnx_runtime")), 60.0, "")
        for name, owner in owners.items()
    )
    judged = {name: Judged(0.9, 0.0, 0.01, verdict, 100) for name, verdict in verdicts.items()}
    return State(one, built, judged, {"": ranking})


def estimate(metric: str, value: float, low: float, high: float) -> Estimate:
    return Estimate(metric, OVERALL, value, low, high, 5, "ms", "lower")


OWNERS = {
    ORIGINAL: "original",
    "fast and wrong": "peer",
    "slow and right": "peer",
    "float": "float",
    "jettison": "jettison",
    "jettison's trial 2": "jettison",
}
VERDICTS = dict.fromkeys(OWNERS, "held") | {"fast and wrong": "broken"}
RANKING = {
    ORIGINAL: 1.0,
    "fast and wrong": 9.0,
    "slow and right": 1.5,
    "float": 1.1,
    "jettison": 2.0,
    "jettison's trial 2": 2.5,
}


def test_a_peer_beyond_the_margin_is_no_rival() -> None:
    """The fastest peer is left out of the claim where its loss is not within the margin."""
    found = measuring.contenders(state(OWNERS, VERDICTS, RANKING), "")
    assert found == [ORIGINAL, "float", "slow and right", "jettison", "jettison's trial 2"]


def test_the_best_peer_is_never_ours() -> None:
    """Of all that were timed, the fastest one that is not jettison's and meets the margin."""
    times = {ORIGINAL: 9.0, "fast and wrong": 1.0, "slow and right": 4.0, "jettison": 2.0}
    costs = {n: (estimate("latency_ms", t, t, t),) for n, t in times.items()}
    assert measuring.fastest_peer(state(OWNERS, VERDICTS, RANKING), costs) == "slow and right"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.80, 0.94, "slower: the bar is missed"),
        (0.80, 0.97, "no difference shown"),
        (1.02, 1.20, "no difference shown"),
        (1.06, 1.20, "faster"),
    ],
)
def test_the_bar_is_missed_only_beyond_the_noise(low: float, high: float, said: str) -> None:
    """An interval wholly below 1 minus the noise floor misses it, and nothing else does."""
    assert writing.verdict(estimate("latency_ms:gain", 1.0, low, high), 0.05) == said


def test_rows_hold_losers_failures_and_the_ratio() -> None:
    """What failed to build, what was only ranked, and what was claimed all have their rows."""
    found = state(OWNERS, VERDICTS, RANKING)
    broken = Built("a peer that fails", "peer", None, 3.0, "ValueError: no")
    cost = (estimate("latency_ms", 2.0, 1.9, 2.1),)
    claimed = Claimed(
        {ORIGINAL: cost, "jettison": cost},
        ORIGINAL,
        (estimate("latency_ms:gain", 2.0, 1.9, 2.1),),
        {},
        0.02,
        5,
        "quiet",
        False,
    )
    found = dataclasses.replace(found, built=(*found.built, broken), claims={"": claimed})
    again = from_json(State, to_json(found))
    rows = list(writing.rows_of(again))
    told = {(row.method, row.metric): row for row in rows}
    assert told["a peer that fails", "built"].note == "ValueError: no"
    assert told["float", "speed over the original (one launch)"].value == 1.1
    assert ("jettison", "speed over the original (one launch)") not in told
    assert told["jettison", writing.RATIO].note == f"best: {ORIGINAL}; faster"
    assert told["jettison", "CPU minutes to get there"].value == 1.0
    (mean,) = writing.summary(rows)
    assert mean.value == pytest.approx(2.0)
    assert mean.n == 1


def test_words_are_counted_as_a_recogniser_hears_them() -> None:
    """Repeats without a blank are one word; missing, added and wrong words each cost one."""
    paths: Sequence[Sequence[int]] = ([1, 1, 0, 2, 3], [1, 0, 1, 2, 0], [5, 0, 0, 0, 0])
    scores = np.eye(11)[np.array(paths)]
    said = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]])
    assert speech.words_right(scores, said) == pytest.approx([1.0, 1 / 3, 0.0])


def test_features_are_those_of_the_training_script(shared_data: Path) -> None:
    """Strings of unseen clips come out normalised, of the asked length, and as said."""
    x, y = speech.strings(shared_data / "speech/fsdd.npz", 3, 3, 256)
    assert x.shape == (3, 256, 40)
    assert y.shape == (3, 3)
    assert abs(float(x[0].mean())) < 1e-4
    assert math.isclose(float(x[0].std()), 1.0, abs_tol=1e-3)


def test_an_answer_is_judged_by_its_metric() -> None:
    """Right or wrong by the largest score, or by the class that is named; cosine by direction."""
    scores = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert judging.quality_of("accuracy", scores, scores, np.array([1, 1])).tolist() == [1.0, 0.0]
    names = np.array(["a", "b"])
    assert judging.quality_of("accuracy", names, names, np.array(["a", "a"])).tolist() == [1.0, 0.0]
    turned = judging.quality_of("cosine", scores, -scores, None)
    assert turned == pytest.approx([-1.0, -1.0])
