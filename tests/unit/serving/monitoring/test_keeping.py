"""Evidence in a folder: saved, taken up, set aside, never half; one server to a folder."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from jettison.errors import Busy, UsageError
from jettison.serving.monitoring import QualityMonitor, keeping
from jettison.serving.monitoring.keeping import EvidenceFolder, EvidenceKeeper
from tests.unit.serving.monitoring.test_evidence import CLAIMS, shown, worn
from tests.unit.serving.monitoring.test_monitor import Desk

KILLED = """
import json, os, random, sys, time
from pathlib import Path
from jettison.serving.monitoring.keeping import EvidenceFolder
folder, chance = EvidenceFolder(Path(sys.argv[1])), random.Random(7)
path = folder.place / "m" / "b.json"
evidence = {"model": "m", "bundle": "b", "tests": [{"filler": list(range(200_000))}]}
parts = turns = 0
while turns < 8 or not parts and turns < 400:
    turns += 1
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with folder.held():
            for number in range(1_000_000):
                evidence["number"] = number
                folder.write(path, evidence)
                os.write(write, b"%d " % number)
    os.close(write)
    told = os.read(read, 1000)
    time.sleep(chance.uniform(0.0, 0.03))
    os.kill(child, 9)
    os.waitpid(child, 0)
    while more := os.read(read, 1000):
        told += more
    os.close(read)
    found = len(list(path.parent.glob(".*.part")))
    parts += found
    print(json.dumps([int(told.split()[-1]), found, path.read_text()]))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves at once instead of every five seconds."""
    monkeypatch.setattr(keeping, "SAVE_SECONDS", 0.01)


def kept(
    place: Path, monitor: QualityMonitor, work: Callable[[EvidenceKeeper], Awaitable[None]]
) -> None:
    """Keeps the evidence of a monitor while some work is done."""

    async def run() -> None:
        keeper = EvidenceKeeper(EvidenceFolder(place), lambda: [monitor])
        keeper.start()
        try:
            await keeper.take_up(monitor)
            await work(keeper)
        finally:
            await keeper.close()

    asyncio.run(run())


async def nothing(_: EvidenceKeeper) -> None:
    """Does nothing."""


def gauge(keeper: EvidenceKeeper, name: str) -> float:
    """A reading of the keeper."""
    (value,) = (r.value for r in keeper.readings() if r.name == f"jettison_quality_evidence_{name}")
    return value


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_evidence_survives_a_restart(bundle: Path, tmp_path: Path) -> None:
    """What a server saw before it ended is what the next one begins with."""
    old, new = worn(bundle), Desk(bundle, CLAIMS)
    kept(tmp_path / "state", old.monitor, nothing)
    kept(tmp_path / "state", new.monitor, nothing)
    assert shown(new) == shown(old)
    assert new.read("jettison_quality_margin_held", metric="accuracy", group="overall") == [0.0]


def test_it_is_saved_while_the_server_runs(bundle: Path, tmp_path: Path) -> None:
    """Without an orderly end too; a gauge says that nothing is unsaved."""
    desk, place = worn(bundle), tmp_path / "state"
    path = EvidenceFolder(place).path(desk.monitor)

    async def look(keeper: EvidenceKeeper) -> None:
        await until(path.exists)
        first = path.read_bytes()
        desk.ask("more", [0], original=[0])
        await until(lambda: path.read_bytes() != first)
        await until(lambda: gauge(keeper, "unsaved_seconds") == 0.0)

    kept(place, desk.monitor, look)
    assert sorted(one.name for one in place.rglob("*") if one.is_file()) == [".lock", path.name]


def test_a_new_bundle_begins_its_own(bundle: Path, tmp_path: Path) -> None:
    """Its file has another name, and the first one's stays as it is."""
    old, new = worn(bundle), Desk(bundle, CLAIMS, digest="1" * 64)
    kept(tmp_path / "state", old.monitor, nothing)
    before = EvidenceFolder(tmp_path / "state").path(old.monitor).read_bytes()
    kept(tmp_path / "state", new.monitor, nothing)
    assert new.read("jettison_quality_margin_rows", metric="accuracy", group="overall") == [0.0]
    assert EvidenceFolder(tmp_path / "state").path(old.monitor).read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_file_that_is_not_its_own_is_set_aside(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """One message, a gauge, and the file as it was under another name; twice makes two."""
    place = tmp_path / "state"
    spoilt: list[bytes] = []
    for number in (1, 2):
        desk = worn(bundle)
        kept(place, desk.monitor, nothing)
        path = EvidenceFolder(place).path(desk.monitor)
        whole = path.read_bytes()
        spoilt.append(whole[:-9] if damage == "cut" else whole.replace(b'"m"', b'"other"', 1))
        path.write_bytes(spoilt[-1])
        caplog.clear()
        seen: dict[str, float] = {}

        async def look(keeper: EvidenceKeeper, seen: dict[str, float] = seen) -> None:
            seen["refused"] = gauge(keeper, "refused")

        new = Desk(bundle, CLAIMS)
        kept(place, new.monitor, look)
        told = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(told) == 1
        assert "begins anew" in told[0].getMessage()
        aside = path.with_name(f"{path.name}.refused-{number}")
        assert told[0].fields["kept_aside"] == str(aside)  # type: ignore[attr-defined]
        assert seen["refused"] == 1.0
        assert new.read("jettison_quality_margin_rows", group="overall")[0] == 0.0
    assert [one.read_bytes() for one in sorted(path.parent.glob("*.refused-*"))] == spoilt


def test_two_servers_do_not_share_a_folder(bundle: Path, tmp_path: Path) -> None:
    """The second is told at once; when the first has ended, it may."""

    async def second(_: EvidenceKeeper) -> None:
        with pytest.raises(Busy, match="another server keeps its evidence here"):
            EvidenceKeeper(EvidenceFolder(tmp_path), lambda: []).start()

    kept(tmp_path, Desk(bundle).monitor, second)
    kept(tmp_path, Desk(bundle).monitor, nothing)


def test_a_folder_that_can_not_be_written(bundle: Path, tmp_path: Path) -> None:
    """A file in its place is a mistake of whoever started the server."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(UsageError, match="--state-folder"):
        kept(tmp_path / "state", Desk(bundle).monitor, nothing)


def test_a_file_that_can_not_be_read_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    """A fault of the disk or of rights is no reason to begin anew over it."""
    desk = Desk(bundle)
    path = EvidenceFolder(tmp_path).path(desk.monitor)
    path.mkdir(parents=True)  # Reading a folder fails for every user.
    with pytest.raises(UsageError, match="can't be read"):
        kept(tmp_path, desk.monitor, nothing)
    assert path.is_dir()


def test_a_disk_that_takes_nothing_is_seen(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on; a gauge grows until a save succeeds again, and nothing is lost."""
    desk = worn(bundle)
    path = EvidenceFolder(tmp_path).path(desk.monitor)

    async def look(keeper: EvidenceKeeper) -> None:
        await until(path.exists)
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")
        desk.ask("more", [0], original=[0])
        await until(lambda: "can't be saved" in caplog.text)
        assert gauge(keeper, "unsaved_seconds") > 0.0
        path.parent.unlink()
        await until(lambda: gauge(keeper, "unsaved_seconds") == 0.0)
        assert path.exists()

    kept(tmp_path, desk.monitor, look)


def test_kill_in_the_middle_of_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    """Killed (-9) at random moments: the file is the last save or the one after it, never a half.

    The kills go on until one came in the middle of a write, which no clock can promise.
    """
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) >= 8
    for last, _, text in told:
        evidence = json.loads(text)["evidence"]
        assert evidence["tests"][0]["filler"] == list(range(200_000))
        assert last <= evidence["number"] <= last + 1
    assert any(parts for _, parts, _ in told), "no kill came in the middle of a write"
    with EvidenceFolder(tmp_path / "state").held():
        assert [one.name for one in (tmp_path / "state" / "m").iterdir()] == ["b.json"]
