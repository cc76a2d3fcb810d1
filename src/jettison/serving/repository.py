"""`Repository`: all that is served, by name. Versions are loaded beside, and swapped in one step."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import RequestRefused, UsageError
from jettison.serving.admission import Admitted, admit, check_still_there, refuse_doubtful
from jettison.serving.lineup import Accepted, Lineup, check_same_signature
from jettison.serving.loading import make_monitor, prepare_version
from jettison.serving.monitoring.keeping import EvidenceFolder, EvidenceKeeper
from jettison.serving.requests import Answer, Caller, InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.shadow import load_original, start_shadow, understudy_of
from jettison.serving.sources import ServedSource
from jettison.serving.versions import ServedVersion
from jettison.trust.approvals import require_approval

if TYPE_CHECKING:
    from jettison.serving.monitoring import Outcome, OutcomeReceipt, QualityMonitor, Reading
    from jettison.serving.observability import Observability

logger = logging.getLogger("jettison.serving.repository")


class Repository:
    """Names with their versions. Every method belongs to the event loop of the server."""

    def __init__(
        self, sources: Sequence[ServedSource], watch: Observability, settings: ServeSettings
    ) -> None:
        """Knows the names; `start` loads them."""
        self._lineups = {source.name: Lineup(source) for source in sources}
        self._watch = watch
        self._settings = settings
        self._draining = False
        self._retiring: set[asyncio.Task[None]] = set()
        self._keeper: EvidenceKeeper | None = None
        if settings.state_folder:
            self._keeper = EvidenceKeeper(
                EvidenceFolder(Path(settings.state_folder)), self._watched
            )

    def names(self) -> tuple[str, ...]:
        """All names, loaded or not, in the order in which they were given."""
        return tuple(self._lineups)

    def states(self) -> Mapping[str, str]:
        """Each name with `READY`, `LOADING` or `UNAVAILABLE`."""
        return {name: lineup.state for name, lineup in self._lineups.items()}

    def versions(self, name: str) -> tuple[ServedVersion, ...]:
        """What is loaded under a name, the stable version first; may be empty.

        Raises:
            RequestRefused: `unknown`, if there is no such name.
        """
        return tuple(self._lineup(name))

    def get(self, name: str, version: str = "") -> ServedVersion:
        """A loaded version: the one that is named, or the stable one.

        Raises:
            RequestRefused: `unknown`, or `not ready` while it is being loaded.
        """
        return self._lineup(name).get(version)

    def pick(self, name: str, version: str = "") -> ServedVersion:
        """Who answers the next request: the version that is named, or by lot.

        Raises:
            RequestRefused: `unknown`, or `not ready` while it is being loaded.
        """
        return self._lineup(name).pick(version)

    def monitor(self, name: str, version: str = "") -> QualityMonitor:
        """What watches the quality of a version: the one that is named, or the stable one.

        Raises:
            RequestRefused: `unknown`, or `not ready` while it is being loaded.
        """
        lineup = self._lineup(name)
        return lineup.monitors.get(version) or lineup.monitors[lineup.get(version).version]

    def outcomes(self, name: str, items: Sequence[Outcome], version: str = "") -> OutcomeReceipt:
        """Tells each version what became true of the rows that it answered.

        Args:
            name: one of `names()`.
            items: what is known now.
            version: the one that answered; empty for whichever answered the request, also if it is
                not served any more.

        Raises:
            RequestRefused: `unknown`, or `not ready` while it is being loaded.
        """
        self.monitor(name, version)
        return self._lineup(name).outcomes(items, version)

    def canary_weight(self, name: str) -> float:
        """Share of the requests that the second version of a name gets; 0 without one."""
        return self._lineup(name).canary_weight

    async def infer(self, name: str, request: InferenceRequest, version: str = "") -> Answer:
        """Answers a request that was checked against the signature of the name.

        Whoever names no version is answered by the stable one, or by lot by the canary.

        Raises:
            RequestRefused: with the reason.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        accepted = self.ask(name, request, future, version)
        try:
            answer = await future
        except asyncio.CancelledError:
            accepted.cancel()
            raise
        accepted.observe(answer)
        return answer

    def ask(
        self, name: str, request: InferenceRequest, caller: Caller, version: str = ""
    ) -> Accepted:
        """As `infer`, for a caller that is told its answer; it then calls `observe`.

        Raises:
            RequestRefused: with the reason; the caller is then told nothing.
        """
        lineup = self._lineup(name)
        chosen = lineup.pick(version)
        self._let_in(chosen, request)
        try:
            ticket = chosen.batcher.accept(request, caller)
        except RequestRefused as refusal:
            # A version that is being swapped out refuses; the one that took its place answers.
            if refusal.reason != "drain" or self._draining:
                raise
            after = lineup.pick(version)
            if after is chosen:
                raise
            chosen = after
            self._let_in(chosen, request)
            ticket = chosen.batcher.accept(request, caller)
        return Accepted(lineup, chosen, request, ticket)

    def _let_in(self, chosen: ServedVersion, request: InferenceRequest) -> None:
        """Asks the guardrails; what they refuse is counted as what a batcher refuses."""
        if chosen.door is None:
            return
        try:
            chosen.door.check(request.arrays)
        except RequestRefused as refusal:
            self._watch.batches(chosen.name, chosen.version).rejected(refusal.reason)
            raise

    async def start(self) -> None:
        """Loads everything that was asked for, one after the other, so that timings are true.

        Raises:
            JettisonError: for the first bundle that is not served; says why.
        """
        if self._keeper is not None:
            self._keeper.start()
        try:
            await self._load_all()
        except BaseException:
            await self._close_keeper()
            raise

    async def _load_all(self) -> None:
        for lineup in self._lineups.values():
            source = lineup.source
            await self.load(source.name)
            if source.canary:
                await self.load(source.name, Path(source.canary), source.canary_weight)

    async def load(
        self, name: str, folder: Path | None = None, weight: float = 1.0
    ) -> ServedVersion:
        """Loads a bundle beside what is served, warms it, swaps it in, drains the old version.

        A bundle that is loaded already is only moved to its new place: this is how a canary
        becomes the stable version. What fails leaves everything as it was.

        Args:
            name: one of `names()`.
            folder: of the bundle; `None` for the folder that the name was started with.
            weight: 1 for the stable version, less for a canary that gets this share.

        Raises:
            RequestRefused: `unknown` name, or `drain` while the server stops.
            UsageError: if there is no such folder, or it takes other inputs than the name does.
            CheckFailed: if the bundle is not what it says, no certificate covers it here, or nobody
                approved it whose approval was asked for.
        """
        lineup = self._lineup(name)
        if not 0.0 < weight <= 1.0:
            raise UsageError(f"the weight of a version must be above 0, at most 1; got {weight}")
        lineup.loading += 1
        try:
            async with lineup.lock:
                self._refuse_draining()
                if self._retiring:
                    # A version may come back while it is still being drained.
                    await asyncio.wait(self._retiring)
                place = folder or lineup.source.folder
                admitted = await asyncio.to_thread(admit, place, self._settings.threads)
                return await self._load(lineup, admitted, weight)
        finally:
            lineup.loading -= 1

    async def _load(self, lineup: Lineup, admitted: Admitted, weight: float) -> ServedVersion:
        if self._settings.approvers:
            require_approval(admitted.folder, admitted.digest, self._settings.approvers)
        loaded = next((v for v in lineup if v.digest == admitted.digest), None)
        if weight < 1.0 and (lineup.stable is None or loaded is lineup.stable):
            raise UsageError(
                f"a canary of `{lineup.source.name}` needs another bundle as the stable version "
                "beside it"
            )
        if loaded is not None:
            await self._put(lineup, loaded, weight)
            return loaded
        refuse_doubtful(admitted, admitted.doubts, allowed=self._settings.allow_uncertified)
        if lineup.stable is not None:
            before, after = lineup.stable.model, admitted.served.model
            check_same_signature(lineup.source.name, before, after)
        version = await prepare_version(lineup.source.name, admitted, self._watch, self._settings)
        try:
            monitor = await self._monitor_of(lineup, version)
            if weight == 1.0:
                await self._follow(lineup, admitted)
            await asyncio.to_thread(check_still_there, admitted)
            self._refuse_draining()
        except BaseException:
            version.engine.close()
            raise
        lineup.monitors[version.version] = monitor
        await self._put(lineup, version, weight)
        return version

    async def _monitor_of(self, lineup: Lineup, version: ServedVersion) -> QualityMonitor:
        """The monitor that a version had before, or one that goes on from the evidence kept."""
        known = lineup.monitors.get(version.version)
        if known is not None:
            return known
        monitor = await make_monitor(version, lineup.journal)
        if self._keeper is not None:
            await self._keeper.take_up(monitor)
        return monitor

    async def unload(self, name: str, version: str = "") -> None:
        """Takes a name out of service, or only its canary, once all that waits is answered.

        Args:
            name: one of `names()`; it can be loaded again.
            version: of the canary, to take out that alone; empty for everything.

        Raises:
            RequestRefused: `unknown`, if nothing of the kind is loaded.
            UsageError: for the stable version while a canary is there.
        """
        lineup = self._lineup(name)
        async with lineup.lock:
            chosen = lineup.get(version)
            if version and chosen is lineup.canary:
                lineup.canary, lineup.canary_weight = None, 0.0
                await self._let_go(chosen)
                return
            if version and lineup.canary is not None:
                raise UsageError(
                    f"`{version}` is the stable version of `{name}`, and a canary is beside it: "
                    "load the canary as the stable version first, or unload the whole name"
                )
            gone = tuple(lineup)
            lineup.wanted = False
            lineup.stable = lineup.canary = None
            await self._close_shadow(lineup)
            await self._let_go(*gone)

    def ready(self) -> bool:
        """Whether every name that should be served is, and the server is not about to stop."""
        return not self._draining and all(
            lineup.stable is not None for lineup in self._lineups.values() if lineup.wanted
        )

    def stop_soon(self) -> None:
        """Makes `ready` false; requests are still answered until `drain`."""
        self._draining = True

    async def drain(self) -> None:
        """Refuses new requests, and answers all that were accepted; then lets go of the models."""
        self.stop_soon()
        for lineup in self._lineups.values():
            await self._close_shadow(lineup)
        versions = [version for lineup in self._lineups.values() for version in lineup]
        try:
            drained = (version.batcher.drain() for version in versions)
            await asyncio.gather(*drained, *self._retiring)
        finally:
            await self._close_keeper()
        for version in versions:
            version.engine.close()

    async def _close_keeper(self) -> None:
        if self._keeper is not None:
            await self._keeper.close()

    def readings(self) -> Iterable[Reading]:
        """The gauges of all monitors, for `Observability.watch_quality`."""
        for name, lineup in self._lineups.items():
            for version in lineup:
                yield from lineup.monitors[version.version].readings()
            if lineup.shadow is not None:
                yield from lineup.shadow.comparison.readings(name)
        if self._keeper is not None:
            yield from self._keeper.readings()

    def _watched(self) -> Iterator[QualityMonitor]:
        return (one for lineup in self._lineups.values() for one in lineup.monitors.values())

    def _lineup(self, name: str) -> Lineup:
        lineup = self._lineups.get(name)
        if lineup is None:
            raise RequestRefused("unknown", f"there is no model `{name[:100]}` here")
        return lineup

    def _refuse_draining(self) -> None:
        if self._draining:
            raise RequestRefused("drain", "the server is about to stop; nothing is loaded any more")

    async def _put(self, lineup: Lineup, version: ServedVersion, weight: float) -> None:
        """Swaps in one step, then drains what had the place."""
        if weight < 1.0:
            old, lineup.canary = lineup.canary, version
            lineup.canary_weight = weight
        else:
            old, lineup.stable = lineup.stable, version
            lineup.wanted = True
            if version is lineup.canary:
                lineup.canary, lineup.canary_weight = None, 0.0
        self._watch.loaded(version)
        self._tell("loaded", version, weight=weight, notes=list(version.notes))
        if old is not None and old is not version:
            await self._let_go(old)

    async def _let_go(self, *versions: ServedVersion) -> None:
        """Drains versions that are taken out, also if whoever asked for it hangs up meanwhile."""
        tasks = [asyncio.create_task(self._retire(version)) for version in versions]
        for task in tasks:
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        await asyncio.shield(asyncio.gather(*tasks))

    async def _retire(self, version: ServedVersion) -> None:
        await version.batcher.drain()
        version.engine.close()
        self._watch.unloaded(version)
        self._lineups[version.name].retire(version.version)
        self._tell("unloaded", version)

    async def _follow(self, lineup: Lineup, admitted: Admitted) -> None:
        """Starts the shadow that was asked for, if it is not there yet.

        One that does not fit a later version stays, and gets none of its requests.
        """
        source, share = lineup.source, self._settings.shadow_share
        if lineup.shadow is not None or not (source.original or source.shadow):
            return
        with tempfile.TemporaryDirectory(prefix="jettison-original-") as folder:
            if source.original:
                understudy = await load_original(source.original, admitted, Path(folder))
            else:
                threads = self._settings.threads
                other = await asyncio.to_thread(admit, Path(source.shadow), threads)
                understudy = understudy_of(other)
            lineup.shadow = await start_shadow(understudy, admitted, share, lineup.compare)
        told = {"model": source.name, "shadow": understudy.title, "share": share}
        logger.info("shadow follows", extra={"fields": told})

    async def _close_shadow(self, lineup: Lineup) -> None:
        shadow, lineup.shadow = lineup.shadow, None
        if shadow is not None:
            await shadow.close()

    def _tell(self, event: str, version: ServedVersion, **fields: object) -> None:
        told = {"model": version.name, "version": version.version, "label": version.label}
        level = logging.INFO if version.certified else logging.WARNING
        logger.log(level, event, extra={"fields": told | fields})
