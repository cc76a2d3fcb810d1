"""Spoken digits from sound to a certificate: texts as targets, word errors, contexts of waveforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jettison as jt
from examples import spoken_digits
from jettison.domain.run import RunRecord

pytest.importorskip("jiwer")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """One recipe, with one context; what must shrink is the file, so nothing hangs on time."""
    folder = tmp_path_factory.mktemp("digits")
    model = spoken_digits.recogniser(shared_data / "speech", folder)
    found = jt.optimize(
        model,
        spoken_digits.utterances(shared_data / "speech"),
        target="spoken",
        groups=["speaker"],
        require=[{"metric": "wer", "max_drop": 0.03, "max_drop_group": 0.06}],
        on_undecided="ship_listed",
        model_options={"task": "transcription"},
        data_options={"inputs": ["sound"]},
        contexts=spoken_digits.CONTEXTS[:1],
        search={
            "techniques": ["half_precision"],
            "runtimes": ["onnx_runtime"],
            "minimise": ["size_bytes"],
            "trials": 1,
        },
        output=str(folder / "run"),
        ledger=str(folder / "ledger"),
    )
    return found.record


def test_the_whole_and_the_context_are_certified(record: RunRecord) -> None:
    """300 utterances suffice for both; half precision answers as the original."""
    claims = {claim.group: claim for claim in record.certificate.claims}
    assert record.certificate.status == "certified"
    for name in ("overall", "context=telephone"):
        assert (claims[name].verdict, claims[name].n) == ("held", 300)
    whole, telephone = claims["overall"].baseline, claims["context=telephone"].baseline
    assert whole is not None
    assert telephone is not None
    assert whole < 0.15 < 0.4 < telephone


def test_fifty_utterances_certify_no_speaker(record: RunRecord) -> None:
    """Each speaker is listed, never passed, and the answer counts them."""
    speakers = [c for c in record.certificate.claims if c.group.startswith("speaker=")]
    assert len(speakers) == 6
    assert {(c.verdict, c.gates, c.n) for c in speakers} == {("undecided", False, 50)}
    assert "not certified for 6 groups" in record.answer


def test_the_features_are_those_that_the_recogniser_learned(shared_data: Path) -> None:
    """The graph in front gives the log-mel features of the training script, in NumPy."""
    from onnx.reference import ReferenceEvaluator

    sound = spoken_digits.utterances(shared_data / "speech")["fitting"]["sound"][0]
    (made,) = ReferenceEvaluator(spoken_digits.features()).run(None, {"sound": sound[None]})
    half = spoken_digits.TAPS // 2
    padded = np.pad(sound.astype(np.float64), half, mode="reflect")
    window = np.zeros(spoken_digits.TAPS)
    window[28:228] = np.hanning(201)[:200]
    starts = range(0, len(padded) - spoken_digits.TAPS + 1, spoken_digits.HOP)
    frames = np.stack([padded[s : s + spoken_digits.TAPS] * window for s in starts])
    power = np.abs(np.fft.rfft(frames)) ** 2
    logs = np.log(power @ spoken_digits.mel_filters() + 1e-6)
    expected = (logs - logs.mean()) / (logs.std() + 1e-5)
    assert made[0] == pytest.approx(expected, abs=2e-3)
