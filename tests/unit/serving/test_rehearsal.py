"""What a new version shows on its stored probes, before anybody meets it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from jettison.errors import CheckFailed
from jettison.serving import rehearsal
from jettison.serving.admission import Admitted, admit
from jettison.serving.engine import Engine
from jettison.serving.rehearsal import Rehearsal, batch_seconds, queue_bound, rehearse
from jettison.serving.settings import ServeSettings
from tests.serving_bundle import Made, make_bundle

T = TypeVar("T")


def rehearsed(admitted: Admitted, settings: ServeSettings | None = None) -> Rehearsal:
    """Loads and rehearses."""

    async def run() -> Rehearsal:
        served = admitted.served
        engine = await Engine.load(served.model, served.runtime, served.serving)
        try:
            return await rehearse(engine, admitted, settings or ServeSettings())
        finally:
            engine.close()

    return finish(run())


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine."""
    return asyncio.run(work)


def test_a_good_bundle(bundle: Path) -> None:
    """The cap is measured, the queue bounded, and nothing is to be explained below what is certified."""
    found = rehearsed(admit(bundle, 0))
    assert found.doubts == ()
    assert 1 <= found.policy.max_batch_rows <= 128
    assert found.policy.max_queue_rows >= found.policy.max_batch_rows
    assert found.policy.max_queue_bytes == ServeSettings().max_queue_bytes
    assert found.policy.hold_seconds == 0.0
    assert min(found.seconds_by_rows) == 1


def test_the_user_names_the_cap(bundle: Path) -> None:
    """`max_batch_rows` is taken as it is, up to what was certified."""
    found = rehearsed(admit(bundle, 0), ServeSettings(max_batch_rows=5))
    assert found.policy.max_batch_rows == 5
    assert found.notes == ()


def test_beyond_what_was_certified_only_rounding_is_allowed(tmp_path: Path) -> None:
    """A float32 model certified at batch 1 is batched, and says on what grounds."""
    folder = make_bundle(tmp_path / "release", Made(batch_sizes=(1,)))
    found = rehearsed(admit(folder, 0), ServeSettings(max_batch_rows=16))
    assert found.policy.max_batch_rows == 16
    (note,) = found.notes
    assert "certified in batches of up to 1, batched up to 16" in note
    assert "rounding" in note


@pytest.mark.parametrize(("seconds", "seen"), [(60.0, 64), (0.0, 8)])
def test_all_probes_are_looked_at_where_time_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, seen: int
) -> None:
    """A large model is looked at by the first eight: a start must not take a minute."""
    monkeypatch.setattr(rehearsal, "LOOK_SECONDS", seconds)
    admitted = admit(make_bundle(tmp_path / "release", Made(batch_sizes=(1,))), 0)
    found = rehearsed(admitted, ServeSettings(max_batch_rows=16))
    assert f"{seen} probe rows" in found.notes[0]
    probes = dict(admitted.probes)
    probes["output.scores"] = probes["output.scores"].copy()
    probes["output.scores"][39] += 1.0
    found = rehearsed(dataclasses.replace(admitted, probes=probes))
    assert len(found.doubts) == (1 if seen == 64 else 0)


def test_rows_that_heed_their_neighbours_are_served_alone(dynamic_bundle: Path) -> None:
    """The test at load finds batch dependence, whatever the certificate says."""
    found = rehearsed(admit(dynamic_bundle, 0))
    assert found.policy.max_batch_rows == 1
    (note,) = found.notes
    assert note.startswith("served one row at a time: the test at load found")


def test_what_was_certified_alone_is_served_alone(tmp_path: Path) -> None:
    """A batch policy of 1 holds whatever the user asks for, and says why."""
    folder = make_bundle(tmp_path / "release", Made(one_by_one=True))
    found = rehearsed(admit(folder, 0), ServeSettings(max_batch_rows=32))
    assert found.policy.max_batch_rows == 1
    (note,) = found.notes
    assert "batch-dependent" in note
    assert "batch size 1 only" in note


def test_too_few_probes_are_said(tmp_path: Path) -> None:
    """Without rows to exchange, the batch is not larger than what was certified."""
    folder = make_bundle(tmp_path / "release", Made(batch_sizes=(1, 4), probes=2))
    found = rehearsed(admit(folder, 0), ServeSettings(max_batch_rows=64))
    assert found.policy.max_batch_rows == 4
    assert found.notes[0].startswith("only 2 probe row(s) are stored, too few to test")


def test_other_answers_are_a_doubt(bundle: Path) -> None:
    """A runtime that answers the probes otherwise than stored is not what was certified."""
    admitted = admit(bundle, 0)
    probes = dict(admitted.probes)
    probes["output.scores"] = np.roll(probes["output.scores"], 1, axis=1)
    found = rehearsed(dataclasses.replace(admitted, probes=probes))
    (doubt,) = found.doubts
    assert doubt.startswith("here, output `scores` on the stored probes differs")


def test_a_model_that_can_not_answer(bundle: Path) -> None:
    """A model that fails on its own probes fails the check."""
    admitted = admit(bundle, 0)
    probes = dict(admitted.probes)
    probes["input.x"] = probes["input.x"][:, :3]
    with pytest.raises(CheckFailed, match="can't answer its stored probes"):
        rehearsed(dataclasses.replace(admitted, probes=probes))


def test_ragged_rows_are_rehearsed(text_bundle: Path) -> None:
    """Texts of other lengths are padded as they will be served."""
    found = rehearsed(admit(text_bundle, 0))
    assert found.pad == {"input_ids": 0.0, "attention_mask": 0.0}
    assert found.doubts == ()
    assert found.policy.max_batch_rows >= 1


def test_the_queue_holds_what_is_answered_in_time() -> None:
    """Rows wait only if they can be answered within the deadline, and fit in memory."""
    times = {1: 0.010, 8: 0.040}
    settings = ServeSettings(deadline_seconds=1.0)
    # Three quarters of a second hold 18 batches of 8; one more is being computed.
    assert queue_bound(8, times, 64, settings) == (18 - 1) * 8
    assert queue_bound(8, times, 64, ServeSettings(deadline_seconds=0.001)) == 8
    assert queue_bound(8, times, 1000, ServeSettings(max_queue_bytes=10_000)) == 10


def test_seconds_of_a_size_that_was_not_measured() -> None:
    """By the next larger size, or in proportion to the largest."""
    times = {1: 0.01, 8: 0.04}
    assert batch_seconds(4, times) == 0.04
    assert batch_seconds(16, times) == pytest.approx(0.08)
