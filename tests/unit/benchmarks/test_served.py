"""What becomes of turns, answers and LoadGen's summary."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("httptools", reason="NO HTTPTOOLS: pip install 'jettison[serve]'")

from benchmarks.load import metrics_page, mlperf, tensors
from benchmarks.load.connection import Reply
from benchmarks.served import models, rows
from benchmarks.served.identity import Identity, numbered_requests
from benchmarks.served.rounds import Turn

SUMMARY = """
SUT name : PySUT
Scenario : Server
Completed samples per second    : 99.51
Result is : VALID
  Performance constraints satisfied : Yes
50.00 percentile latency (ns)   : 1200000
99.00 percentile latency (ns)   : 3400000
"""


def turn(arm: str, number: int, answered: int, cpu_seconds: float, **more: object) -> Turn:
    """A turn of one second."""
    given = {"failed": 0, "busy": False, "latency": np.full(answered, 0.01)} | more
    return Turn(
        arm,
        number,
        answered,
        seconds=1.0,
        cpu_seconds=cpu_seconds,
        **given,  # type: ignore[arg-type]
    )


def test_ratios_compare_turns_of_one_round() -> None:
    """Above 1 the arm is better: less CPU, more answers."""
    turns = [turn("a", n, 200, 0.2) for n in range(4)] + [turn("b", n, 100, 0.2) for n in range(4)]
    cpu, rate = rows.ratio_rows("case", turns, {"a": ("b", "a", "nobody")})
    assert (cpu.metric, cpu.value, cpu.n) == ("CPU of b / its own", pytest.approx(2.0), 4)
    assert (rate.metric, rate.value) == ("answers/s / those of b", pytest.approx(2.0))


def test_rows_say_when_others_used_the_machine() -> None:
    """More than a quarter of busy turns makes a row noisy; failures stand in the note."""
    turns = [turn("a", n, 100, 0.1, busy=n < 2, failed=n) for n in range(4)]
    found = rows.arm_rows("case", turns)[0]
    assert found.value == pytest.approx(1.0)
    assert found.note == (
        "noisy: others used the machine in 2 of 4 turns; 6 requests were not answered with 200"
    )


def test_percentiles_without_enough_answers_are_left_open() -> None:
    """400 answers give p95 and no p99."""
    found = {r.metric: r for r in rows.arm_rows("case", [turn("a", n, 100, 0.1) for n in range(4)])}
    assert found["p95, closed loop"].value == pytest.approx(10.0)
    assert found["p99, closed loop"].value is None
    assert found["p99, closed loop"].note == "400 answers; 1,000 are needed"


def test_the_summary_of_loadgen_is_read() -> None:
    """Verdict and percentiles; a summary without a verdict is an error."""
    found = mlperf.read_summary(SUMMARY)
    assert found.verdict == "VALID"
    assert found.percentiles_ms == {0.5: 1.2, 0.99: 3.4}
    with pytest.raises(ValueError, match="no verdict"):
        mlperf.read_summary("nothing")


def test_metrics_are_summed_by_label() -> None:
    """Comments are left out, labels with commas and quotes are read."""
    page = (
        '# HELP a_total x\na_total{code="200",m="a,b"} 2\na_total{code="200",m="\\"c"} 3.0\nb 1\n'
    )
    samples = metrics_page.parse(page)
    assert metrics_page.by_label(samples, "a_total", "code") == {"200": 5.0}
    assert samples[1].labels["m"] == '\\"c'


def answer(echo: float, scores: np.ndarray) -> Reply:
    """What a server says about one row."""
    outputs = [
        {"name": "echo", "shape": [1, 1], "datatype": "FP32", "data": [echo]},
        {"name": "scores", "shape": [1, 8], "datatype": "FP32", "data": scores.tolist()},
    ]
    return Reply(200, json.dumps({"outputs": outputs}).encode(), 0.0)


def test_an_answer_to_another_request_is_found() -> None:
    """A swapped echo, a second answer, and a refusal without Retry-After are counted."""
    identity = Identity()
    scores = np.zeros(8)
    identity.look(5, answer(5.0, scores))
    identity.look(6, answer(7.0, scores))
    identity.look(6, answer(6.0, scores))
    identity.look(8, Reply(200, b"{}", 0.0))
    identity.look(9, Reply(429, b"", 0.0, {"retry-after": "1"}))
    identity.look(10, Reply(429, b"", 0.0))
    assert identity.wrong == 2
    assert identity.several_times == 1
    assert identity.without_retry == 1
    assert identity.statuses == {200: 4, 429: 2}


def test_the_echo_is_the_number_of_the_request(tmp_path: Path) -> None:
    """The model gives back the first feature exactly, beside its scores, whatever the batch."""
    import onnxruntime

    network = models.Network(hidden=(32, 32), again=3, echo=True)
    models.write_network(tmp_path / "m.onnx", network)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    identity = Identity()
    for number, request in enumerate(itertools.islice(numbered_requests("/p"), 98)):
        row = np.frombuffer(request[-4 * models.FEATURES :], np.float32).reshape(1, -1)
        scores, echo = session.run(["scores", "echo"], {"x": row})
        identity.look(number, answer(float(echo[0, 0]), scores[0]))
    assert identity.wrong == 0
    assert sorted(identity.kept) == [0, 97]
    assert identity.differing(session) == 0
    identity.kept[97] = identity.kept[97] + 1.0
    assert identity.differing(session) == 1


def test_requests_of_a_case_differ(tmp_path: Path) -> None:
    """Each number stands in its own request, in bytes that the protocol can read."""
    first, second = itertools.islice(numbered_requests("/p", {"timeout-ms": "5"}), 2)
    assert len(first) == len(second)
    assert first[-4 * models.FEATURES :][:4] == np.float32(0).tobytes()
    assert second[-4 * models.FEATURES :][:4] == np.float32(1).tobytes()
    assert b"timeout-ms: 5" in first
    assert tensors.infer_path("a") == "/v2/models/a/infer"
