"""Keeps the evidence about certified margins in a folder, through restarts and swaps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jettison.domain.files import exclusive_lock, sync_folder, write_atomically
from jettison.errors import UsageError
from jettison.serving.monitoring.evidence import UnusableEvidence, encode, resume, snapshot
from jettison.serving.monitoring.monitor import QualityMonitor
from jettison.serving.monitoring.readings import Reading

SAVE_SECONDS = 5.0
"""What came since the last save is lost if the process is killed."""

LOCK = ".lock"
"""No model can be called so."""

Key = tuple[str, str]

logger = logging.getLogger("jettison.serving.monitoring")


class EvidenceFolder:
    """`<folder>/<model>/<digest of the bundle>.json`, one file for each bundle.

    Args:
        place: made where it is missing.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def path(self, monitor: QualityMonitor) -> Path:
        """The file of a monitor."""
        return self.place / monitor.watched.name / f"{monitor.watched.digest}.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder: two servers would overwrite each other's evidence.

        Raises:
            Busy: if another server holds it.
            UsageError: if it can't be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.place.mkdir(parents=True, exist_ok=True)
                lock = exclusive_lock(self.place / LOCK, "another server keeps its evidence here")
                stack.enter_context(lock)
                for part in self.place.glob("*/.*.part"):
                    part.unlink()  # A process that was killed in the middle of writing left it.
            except OSError as error:
                raise UsageError(
                    f"--state-folder {self.place} can't be used ({error}): name a folder that "
                    "this user may write"
                ) from error
            yield

    def read(self, monitor: QualityMonitor) -> bytes | None:
        """What was kept for a monitor; `None` where nothing was.

        Raises:
            UsageError: if there is something that can't be read; it is left as it is.
        """
        path = self.path(monitor)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(
                f"the evidence {path} can't be read ({error}): let this user read it, or move it "
                "away to begin anew"
            ) from error

    def write(self, path: Path, evidence: Mapping[str, Any]) -> None:
        """Replaces a file in one step by a snapshot."""
        if not path.parent.is_dir():
            path.parent.mkdir()
            sync_folder(self.place)
        write_atomically(path, encode(evidence))

    def set_aside(self, monitor: QualityMonitor) -> Path:
        """Gives a file another name, under which nobody overwrites it."""
        path = self.path(monitor)
        number = 1
        while (aside := path.with_name(f"{path.name}.refused-{number}")).exists():
            number += 1
        path.rename(aside)
        return aside


class EvidenceKeeper:
    """Saves what changed every few seconds. Belongs to the event loop of the server.

    Args:
        folder: where it is kept; held from `start` to `close`.
        monitors: gives those whose evidence is kept.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: EvidenceFolder,
        monitors: Callable[[], Iterable[QualityMonitor]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._monitors = monitors
        self._clock = clock
        self._saved: dict[Key, int] = {}
        self._unsaved_since: dict[Key, float] = {}
        self._refused: Counter[str] = Counter()
        self._held = contextlib.ExitStack()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Takes the folder, and begins to save on the running event loop.

        Raises:
            Busy: if another server holds the folder.
            UsageError: if it can't be written.
        """
        self._held.enter_context(self._folder.held())
        self._task = asyncio.create_task(self._run(), name="jettison-evidence")

    async def close(self) -> None:
        """Saves what is left, saves no more, and lets go of the folder."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        self._held.close()

    async def take_up(self, monitor: QualityMonitor) -> None:
        """Lets a new monitor go on where its bundle stood; a file that is not its own is set aside.

        Raises:
            UsageError: if a file can't be read or be given another name.
        """
        data = await asyncio.to_thread(self._folder.read, monitor)
        if data is None:
            return
        watched = monitor.watched
        told = {"model": watched.name, "version": watched.version}
        try:
            resume(monitor, data)
        except UnusableEvidence as why:
            try:
                aside = self._folder.set_aside(monitor)
            except OSError as error:
                raise UsageError(f"{self._folder.path(monitor)}: {why}; move it away") from error
            self._refused[watched.name] += 1
            message = f"the evidence that was kept is not used: {why}; the watch begins anew"
            logger.error(message, extra={"fields": {**told, "kept_aside": str(aside)}})
        else:
            self._saved[_key(monitor)] = _weight(monitor)
            logger.info("evidence taken up", extra={"fields": {**told, **_alarms(monitor)}})

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            with contextlib.suppress(TimeoutError):
                stopping = await asyncio.wait_for(self._stopping.wait(), SAVE_SECONDS)
            await self._save()

    async def _save(self) -> None:
        for monitor, weight in self._changed():
            path, evidence = self._folder.path(monitor), snapshot(monitor)
            try:
                await asyncio.to_thread(self._folder.write, path, evidence)
            except OSError as error:
                self._failed(path, error)
            else:
                self._saved[_key(monitor)] = weight
                self._unsaved_since.pop(_key(monitor), None)

    def readings(self) -> Iterator[Reading]:
        """How long evidence has waited to be saved, and how many files were set aside."""
        changed = {_key(monitor) for monitor, _ in self._changed()}
        now = self._clock()
        for monitor in self._monitors():
            key, watched = _key(monitor), monitor.watched
            since = self._unsaved_since.get(key, now) if key in changed else now
            labels = {"model": watched.name, "version": watched.version}
            yield Reading("jettison_quality_evidence_unsaved_seconds", labels, now - since)
            refused = float(self._refused[watched.name])
            yield Reading("jettison_quality_evidence_refused", {"model": watched.name}, refused)

    def _changed(self) -> list[tuple[QualityMonitor, int]]:
        """Monitors that have seen something since they were saved."""
        found = []
        for monitor in self._monitors():
            key, weight = _key(monitor), _weight(monitor)
            if weight != self._saved.get(key, 0):
                self._unsaved_since.setdefault(key, self._clock())
                found.append((monitor, weight))
        return found

    def _failed(self, path: Path, error: OSError) -> None:
        """The server goes on answering; the gauge grows until a save succeeds."""
        told = {"path": str(path), "reason": str(error)}
        logger.error("evidence can't be saved", extra={"fields": told})


def _key(monitor: QualityMonitor) -> Key:
    return monitor.watched.name, monitor.watched.digest


def _weight(monitor: QualityMonitor) -> int:
    """Grows with everything that any of its tests sees."""
    return sum(test.n for test in monitor.tests().values())


def _alarms(monitor: QualityMonitor) -> dict[str, object]:
    drops = {key: test for key, test in monitor.tests().items() if key[0] == "drop"}
    broken = [" ".join(key[1:]) for key, test in drops.items() if test.broken]
    return {"pairs": sum(test.n for test in drops.values()), "broken": broken}
