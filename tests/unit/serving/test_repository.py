"""Versions by name: loaded beside, swapped in one step, drained; canaries by lot; shadows unseen."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.errors import CheckFailed, RequestRefused, UsageError
from jettison.serving import lineup
from jettison.serving import repository as repository_module
from jettison.serving.monitoring import Journal, Outcome, QualityMonitor
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.requests import InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource
from jettison.serving.versions import ServedVersion
from tests.serving_bundle import FEATURES, LABELS, Made, make_bundle

Work = Callable[[Repository], Coroutine[Any, Any, None]]
QUICK = ServeSettings(max_batch_rows=8)


def served(source: ServedSource, work: Work, settings: ServeSettings = QUICK) -> Observability:
    """Starts a repository, does the work, drains it; gives what was watched."""
    watch = Observability()

    async def run() -> None:
        repository = Repository([source], watch, settings)
        watch.watch_quality(repository.readings)
        await repository.start()
        assert repository.ready()
        try:
            await work(repository)
        finally:
            await repository.drain()
        assert not repository.ready()

    asyncio.run(run())
    return watch


def request(seed: int = 0, rows: int = 2, name: str = "") -> InferenceRequest:
    """Some rows of the network."""
    values = np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)
    return InferenceRequest({"x": values}, rows, time.monotonic() + 30.0, request_id=name)


def test_one_bundle(bundle: Path) -> None:
    """A name is served by its bundle, under the digits of its digest."""

    async def work(repository: Repository) -> None:
        version = repository.get("m")
        assert repository.names() == ("m",)
        assert repository.states() == {"m": "READY"}
        assert repository.versions("m") == (version,)
        assert version.certified
        assert version.version == version.digest[:12]
        answer = await repository.infer("m", request())
        assert answer.version == version.version
        assert answer.arrays["scores"].shape == (2, 4)
        named = await repository.infer("m", request(), version.version)
        np.testing.assert_array_equal(named.arrays["scores"], answer.arrays["scores"])

    served(ServedSource("m", bundle), work)


def test_what_is_unknown(bundle: Path) -> None:
    """Names and versions that are not served are refused as unknown."""

    async def work(repository: Repository) -> None:
        for name, version in (("other", ""), ("m", "000000000000")):
            with pytest.raises(RequestRefused) as caught:
                await repository.infer(name, request(), version)
            assert caught.value.reason == "unknown"
        with pytest.raises(RequestRefused):
            repository.versions("other")

    served(ServedSource("m", bundle), work)


def test_not_ready_before_it_is_loaded(bundle: Path) -> None:
    """Until a name is loaded it is `not ready`, with a time to ask again; not `unknown`."""

    async def run() -> None:
        repository = Repository([ServedSource("m", bundle)], Observability(), QUICK)
        assert not repository.ready()
        assert repository.states() == {"m": "LOADING"}
        with pytest.raises(RequestRefused) as caught:
            repository.get("m")
        assert caught.value.reason == "not ready"
        assert caught.value.retry_after_seconds is not None

    asyncio.run(run())


def test_hot_swap_under_load(bundle: Path, other_bundle: Path) -> None:
    """While requests keep coming, a swap loses none, and each answer names who made it."""
    answered: list[tuple[str, np.ndarray]] = []

    async def ask(repository: Repository, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await repository.infer("m", request())
            answered.append((answer.version, np.asarray(answer.arrays["scores"])))
            await asyncio.sleep(0)

    async def work(repository: Repository) -> None:
        stop = asyncio.Event()
        callers = [asyncio.create_task(ask(repository, stop)) for _ in range(16)]
        before = repository.get("m")
        await asyncio.sleep(0.05)
        after = await repository.load("m", other_bundle)
        assert repository.versions("m") == (after,)
        assert after is not before
        with pytest.raises(RequestRefused):
            await before.batcher.submit(request())
        place = len(answered)
        await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*callers)
        versions = [version for version, _ in answered]
        assert set(versions) == {before.version, after.version}
        assert set(versions[place + 16 :]) == {after.version}
        for version in (before.version, after.version):
            mine = [scores for told, scores in answered if told == version]
            # Batches of other sizes run other kernels; the two versions differ by far more.
            assert all(np.allclose(scores, mine[0], atol=1e-5) for scores in mine)

    served(ServedSource("m", bundle), work)


def test_what_fails_to_load_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    """A damaged bundle, another signature and a missing folder leave the old version as it was."""
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    (damaged / "certificate.json").write_text("{}")
    text = make_bundle(tmp_path / "text", Made(kind="text"))
    doubtful = make_bundle(tmp_path / "doubtful", Made(seed=5, certified=False))

    async def work(repository: Repository) -> None:
        before = repository.get("m")
        for folder, error, word in (
            (damaged, CheckFailed, "was changed"),
            (text, UsageError, "under another name"),
            (tmp_path / "absent", UsageError, "there is no bundle"),
            (doubtful, CheckFailed, "--allow-uncertified"),
        ):
            with pytest.raises(error, match=word):
                await repository.load("m", folder)
        assert repository.versions("m") == (before,)
        assert (await repository.infer("m", request())).version == before.version

    served(ServedSource("m", bundle), work)


def test_a_bundle_that_is_replaced_while_it_is_loaded(
    bundle: Path, other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of two bundles are never served as one; loading again takes the new one."""
    folder = Path(shutil.copytree(other_bundle, tmp_path / "release"))
    make_monitor = repository_module.make_monitor

    async def replacing(version: ServedVersion, journal: Journal) -> QualityMonitor:
        shutil.rmtree(folder)
        shutil.copytree(bundle, folder)
        return await make_monitor(version, journal)

    async def work(repository: Repository) -> None:
        before = repository.get("m")
        with monkeypatch.context() as patched:
            patched.setattr(repository_module, "make_monitor", replacing)
            with pytest.raises(CheckFailed, match="load it again"):
                await repository.load("m", folder)
        assert repository.versions("m") == (before,)
        assert (await repository.load("m", folder)) is before

    served(ServedSource("m", bundle), work)


def test_classes_in_another_order_are_another_prediction(bundle: Path) -> None:
    """A version whose scores stand for other classes is refused; unknown names are no others."""

    async def work(repository: Repository) -> None:
        before = repository.get("m").model
        turned = replace(before, encoder=replace(before.encoder, labels=LABELS[::-1]))
        with pytest.raises(UsageError, match="`dog` where that has `ant`"):
            lineup.check_same_signature("m", before, turned)
        nameless = replace(before, encoder=replace(before.encoder, labels=()))
        lineup.check_same_signature("m", before, nameless)
        lineup.check_same_signature("m", nameless, before)

    served(ServedSource("m", bundle), work)


def test_uncertified_on_request_is_labelled_everywhere(tmp_path: Path) -> None:
    """Served on request, an uncertified bundle says so in its label and in the metrics."""
    folder = make_bundle(tmp_path / "release", Made(cpu_class="x86_64-other"))
    settings = ServeSettings(max_batch_rows=8, allow_uncertified=True)

    async def work(repository: Repository) -> None:
        version = repository.get("m")
        assert not version.certified
        assert version.label.startswith("uncertified: it was certified on a CPU of class")

    watch = served(ServedSource("m", folder), work, settings)
    (info,) = re.findall(rb"^jettison_model_info\{.*$", watch.expose()[0], re.M)
    assert b'certificate="uncertified"' in info
    assert b'reason="it was certified on a CPU of class' in info

    async def refused() -> None:
        repository = Repository([ServedSource("m", folder)], Observability(), QUICK)
        with pytest.raises(CheckFailed, match="x86_64-other"):
            await repository.start()

    asyncio.run(refused())


def test_a_canary_gets_its_share(bundle: Path, other_bundle: Path) -> None:
    """Requests that name no version are drawn by lot; those that do are not."""
    source = ServedSource("m", bundle, canary=str(other_bundle), canary_weight=0.25)

    async def work(repository: Repository) -> None:
        stable, canary = repository.versions("m")
        assert repository.get("m") is stable
        assert repository.canary_weight("m") == 0.25
        n = 1000
        answers = [(await repository.infer("m", request(rows=1))).version for _ in range(n)]
        share = answers.count(canary.version) / n
        # Five standard deviations of a draw of 1,000: a good canary fails once in 3 million runs.
        assert abs(share - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5
        named = {(await repository.infer("m", request(), canary.version)).version}
        assert named == {canary.version}
        named = {
            (await repository.infer("m", request(), stable.version)).version for _ in range(30)
        }
        assert named == {stable.version}

    served(source, work)


def test_outcomes_reach_the_version_that_answered(bundle: Path, other_bundle: Path) -> None:
    """Whoever posts labels need not know which version answered; unknown ids are counted once."""
    source = ServedSource("m", bundle, canary=str(other_bundle), canary_weight=0.5)

    async def work(repository: Repository) -> None:
        names = [f"r{i}" for i in range(40)]
        answers = [await repository.infer("m", request(name=name, rows=1)) for name in names]
        assert len({answer.version for answer in answers}) == 2
        receipt = repository.outcomes("m", [Outcome(name, 0) for name in [*names, "never"]])
        assert (receipt.received, receipt.joined) == (41, 40)
        assert receipt.refused == {"unknown id": 1}

    served(source, work)


def rows_with_a_label(repository: Repository, version: str) -> list[float]:
    """How many rows of a version had their label counted; nothing if it is not served."""
    return [
        reading.value
        for reading in repository.readings()
        if reading.name == "jettison_quality_value_rows" and reading.labels["version"] == version
    ]


def test_labels_after_a_swap_reach_the_version_that_answered(
    bundle: Path, other_bundle: Path
) -> None:
    """Posted late, they count for the old version: seen once it is served again; never twice."""

    async def work(repository: Repository) -> None:
        first = repository.get("m").version
        for number in range(5):
            await repository.infer("m", request(name=f"old{number}", rows=1))
        second = (await repository.load("m", other_bundle)).version
        await repository.infer("m", request(name="new", rows=1))
        late = [Outcome(f"old{number}", 0) for number in range(4)]
        assert repository.outcomes("m", [*late, Outcome("new", 0)]).joined == 5
        assert repository.outcomes("m", [Outcome("old4", 0)], first).joined == 1
        assert repository.outcomes("m", [Outcome("old4", 0)], second).refused == {"unknown id": 1}
        assert rows_with_a_label(repository, second) == [1.0]
        assert rows_with_a_label(repository, first) == []
        await repository.load("m", bundle)
        assert rows_with_a_label(repository, first) == [5.0]
        assert repository.outcomes("m", late).refused == {"told before": 4}

    served(ServedSource("m", bundle), work)


def test_only_the_last_versions_are_remembered(
    bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label for a version that went long ago is unknown, and its monitor is gone."""
    monkeypatch.setattr(lineup, "RETIRED", 0)

    async def work(repository: Repository) -> None:
        first = repository.get("m").version
        await repository.infer("m", request(name="old", rows=1))
        await repository.load("m", other_bundle)
        assert repository.outcomes("m", [Outcome("old", 0)]).refused == {"unknown id": 1}
        with pytest.raises(RequestRefused, match="no version"):
            repository.outcomes("m", [Outcome("old", 0)], first)

    served(ServedSource("m", bundle), work)


def test_evidence_is_kept_through_restarts_by_bundle(
    bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    """The same bundle goes on, after a restart and after a swap; another begins with nothing."""
    settings = ServeSettings(max_batch_rows=8, state_folder=str(tmp_path / "state"))
    seen: list[list[float]] = []

    async def label(repository: Repository) -> None:
        version = repository.get("m").version
        seen.append(rows_with_a_label(repository, version))
        await repository.infer("m", request(name="r", rows=3))
        items = [Outcome("r", 0, row) for row in range(3)]
        assert repository.outcomes("m", items).joined == 3
        seen.append(rows_with_a_label(repository, version))

    async def swapped(repository: Repository) -> None:
        other = await repository.load("m", other_bundle)
        seen.append(rows_with_a_label(repository, other.version))
        back = await repository.load("m", bundle)
        seen.append(rows_with_a_label(repository, back.version))

    for work in (label, label, swapped):
        served(ServedSource("m", bundle), work, settings)
    assert seen == [[0.0], [3.0], [3.0], [6.0], [0.0], [6.0]]


def test_a_canary_becomes_stable_or_goes(bundle: Path, other_bundle: Path) -> None:
    """Loading the canary's bundle with weight 1 promotes it without loading it again."""
    source = ServedSource("m", bundle, canary=str(other_bundle), canary_weight=0.5)

    async def work(repository: Repository) -> None:
        stable, canary = repository.versions("m")
        promoted = await repository.load("m", other_bundle)
        assert promoted is canary
        assert repository.versions("m") == (canary,)
        again = await repository.load("m", bundle, weight=0.1)
        assert again is not stable
        assert again.version == stable.version
        assert repository.versions("m") == (canary, again)
        with pytest.raises(UsageError, match="a canary is beside it"):
            await repository.unload("m", canary.version)
        await repository.unload("m", again.version)
        assert repository.versions("m") == (canary,)
        with pytest.raises(UsageError, match="needs another bundle"):
            await repository.load("m", other_bundle, weight=0.1)

    served(source, work)


def test_unload_and_load_again(bundle: Path) -> None:
    """An unloaded name is unknown to callers, ready to be loaded, and does not hold up `ready`."""

    async def work(repository: Repository) -> None:
        await repository.unload("m")
        assert repository.states() == {"m": "UNAVAILABLE"}
        assert repository.ready()
        with pytest.raises(RequestRefused) as caught:
            await repository.infer("m", request())
        assert caught.value.reason == "unknown"
        with pytest.raises(RequestRefused):
            await repository.unload("m")
        version = await repository.load("m")
        assert (await repository.infer("m", request())).version == version.version

    served(ServedSource("m", bundle), work)


def test_whoever_asks_to_unload_may_hang_up(bundle: Path) -> None:
    """The version is drained and let go all the same, and is shown as served no more."""
    gate, reached = threading.Event(), threading.Event()
    gone: list[ServedVersion] = []

    def hold() -> None:
        reached.set()
        gate.wait(60)

    async def work(repository: Repository) -> None:
        version = repository.get("m")
        gone.append(version)
        held = version.engine._thread.call(hold)
        await asyncio.to_thread(reached.wait, 60)
        waiting = asyncio.create_task(repository.infer("m", request()))
        await asyncio.sleep(0)
        unloading = asyncio.create_task(repository.unload("m"))
        await asyncio.sleep(0.05)
        unloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unloading
        gate.set()
        await held
        assert (await waiting).version == version.version

    watch = served(ServedSource("m", bundle), work)
    assert gone[0].engine._thread._closed
    assert b"jettison_model_info{" not in watch.expose()[0]


def test_a_swap_drains_what_waits(bundle: Path, other_bundle: Path) -> None:
    """Requests that wait for the old version are answered by it, not refused."""

    async def work(repository: Repository) -> None:
        before = repository.get("m")
        waiting = [asyncio.create_task(repository.infer("m", request(i))) for i in range(200)]
        await asyncio.sleep(0)
        loading = asyncio.create_task(repository.load("m", other_bundle))
        answers = await asyncio.gather(*waiting)
        await loading
        assert {answer.version for answer in answers} == {before.version}

    served(ServedSource("m", bundle), work)


def test_drain_answers_all_and_refuses_the_rest(bundle: Path) -> None:
    """Whatever was accepted before the drain is answered; what comes later is refused."""

    async def run() -> None:
        repository = Repository([ServedSource("m", bundle)], Observability(), QUICK)
        await repository.start()
        waiting = [asyncio.create_task(repository.infer("m", request(i))) for i in range(300)]
        await asyncio.sleep(0)
        await repository.drain()
        assert len(await asyncio.gather(*waiting)) == 300
        with pytest.raises(RequestRefused) as caught:
            await repository.infer("m", request())
        assert caught.value.reason == "drain"
        with pytest.raises(RequestRefused):
            await repository.load("m")

    asyncio.run(run())


def test_a_shadow_bundle_is_compared_unseen(bundle: Path, other_bundle: Path) -> None:
    """The shadow's answers feed the metrics; callers get those of the stable version only."""
    source = ServedSource("m", bundle, shadow=str(other_bundle))
    settings = ServeSettings(max_batch_rows=8, shadow_share=1.0)
    seen: dict[str, float] = {}

    async def work(repository: Repository) -> None:
        stable = repository.get("m")
        for i in range(40):
            assert (await repository.infer("m", request(i))).version == stable.version
            await asyncio.sleep(0.005)
        await settle(lambda: shadow_count(repository, "answered") >= 20)
        for reading in repository.readings():
            if reading.name == "jettison_quality_shadow_bundle_ratio":
                seen[reading.labels["metric"]] = reading.value

    served(source, work, settings)
    assert 0.0 <= seen["agreement"] < 1.0


def test_the_original_as_shadow_feeds_the_monitor(paired_bundle: Path) -> None:
    """The original's answers reach the monitor of the version that answered."""
    original = paired_bundle.with_name("release-parts") / "model" / "model.onnx"
    source = ServedSource("m", paired_bundle, original=str(original))
    settings = ServeSettings(max_batch_rows=8, shadow_share=1.0)
    values: dict[str, float] = {}

    async def work(repository: Repository) -> None:
        for i in range(40):
            await repository.infer("m", request(i, name=f"r{i}"))
            await asyncio.sleep(0.005)
        await settle(lambda: shadow_count(repository, "answered") >= 20)
        for reading in repository.readings():
            if reading.name == "jettison_quality_agreement_rows":
                values["rows"] = reading.value

    served(source, work, settings)
    assert values["rows"] >= 40.0


def test_another_original_is_refused(bundle: Path, other_bundle: Path) -> None:
    """A model that the bundle was not made from can't stand in for its original."""
    wrong = other_bundle.with_name("release-parts") / "model" / "model.onnx"

    async def run() -> None:
        source = ServedSource("m", bundle, original=str(wrong))
        repository = Repository([source], Observability(), QUICK)
        with pytest.raises(UsageError, match="is not the model that the bundle"):
            await repository.start()
        assert repository.versions("m") == ()

    asyncio.run(run())


def test_a_shadow_never_delays(bundle: Path, other_bundle: Path) -> None:
    """While callers wait, the shadow drops its part instead of queueing."""
    source = ServedSource("m", bundle, shadow=str(other_bundle))
    settings = ServeSettings(max_batch_rows=1, shadow_share=1.0)

    async def work(repository: Repository) -> None:
        await asyncio.gather(*(repository.infer("m", request(i)) for i in range(200)))
        assert shadow_count(repository, "dropped") > 100

    served(source, work, settings)


def shadow_count(repository: Repository, result: str) -> float:
    """Requests of the shadow that came to this."""
    return sum(
        reading.value
        for reading in repository.readings()
        if reading.name == "jettison_quality_shadow_requests" and reading.labels["result"] == result
    )


async def settle(done: Callable[[], bool]) -> None:
    """Waits until something that goes on aside is done."""
    for _ in range(2000):
        if done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not settle")


def test_versions_are_collected_when_they_are_gone(bundle: Path, other_bundle: Path) -> None:
    """Nothing in the repository holds on to a version that was swapped out."""
    import gc
    import weakref

    async def work(repository: Repository) -> None:
        before: weakref.ref[ServedVersion] = weakref.ref(repository.get("m"))
        await repository.load("m", other_bundle)
        await asyncio.sleep(0.05)
        gc.collect()
        assert before() is None

    served(ServedSource("m", bundle), work)
