"""From an admitted bundle to a version that could answer; nobody is served by it yet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import CandidateFailed, CheckFailed
from jettison.serving.admission import Admitted, label_of, refuse_doubtful
from jettison.serving.batcher import Batcher
from jettison.serving.encoding import open_encoder
from jettison.serving.engine import Engine
from jettison.serving.guarding import Door
from jettison.serving.monitoring import Journal, QualityMonitor, Watched
from jettison.serving.rehearsal import Rehearsal, rehearse
from jettison.serving.settings import ServeSettings
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.observability import Observability


async def prepare_version(
    name: str, admitted: Admitted, watch: Observability, settings: ServeSettings
) -> ServedVersion:
    """Loads the model on a thread of its own, rehearses it, and gives it a queue.

    Args:
        name: that it will be served under.
        admitted: the bundle.
        watch: gets the numbers of its batches.
        settings: of the server.

    Raises:
        CheckFailed: if the model can't run, or shows here that no certificate covers it.
        ConfigError: if a guardrail has settings that don't fit the model.
    """
    served = admitted.served
    guardrails = settings.guardrails.get(name)
    door = Door(served.model, guardrails) if guardrails else None
    try:
        engine = await Engine.load(served.model, served.runtime, served.serving)
    except CandidateFailed as failure:
        raise CheckFailed(f"the model of {admitted.folder} can't run: {failure}") from failure
    try:
        await asyncio.to_thread(open_encoder, served.model)
        found = await rehearse(engine, admitted, settings)
        doubts = (*admitted.doubts, *found.doubts)
        refuse_doubtful(admitted, doubts, allowed=settings.allow_uncertified)
        observer = watch.batches(name, admitted.version)
        batcher = Batcher(
            engine.run, served.model, found.policy, observer, found.pad, admitted.version
        )
    except BaseException:
        engine.close()
        raise
    return _version(name, admitted, engine, batcher, found, door)


def _version(
    name: str,
    admitted: Admitted,
    engine: Engine,
    batcher: Batcher,
    found: Rehearsal,
    door: Door | None,
) -> ServedVersion:
    served = admitted.served
    return ServedVersion(
        name=name,
        version=admitted.version,
        folder=str(admitted.folder),
        digest=admitted.digest,
        model=served.model,
        runtime=served.runtime,
        serving=served.serving,
        certificate=admitted.certificate,
        card=admitted.card,
        pad=found.pad,
        engine=engine,
        batcher=batcher,
        policy=found.policy,
        seconds_by_rows=found.seconds_by_rows,
        label=label_of((*admitted.doubts, *found.doubts)),
        notes=found.notes if door is None else (*found.notes, door.note),
        original=admitted.record.model.artifact.digest,
        door=door,
    )


async def make_monitor(version: ServedVersion, journal: Journal) -> QualityMonitor:
    """Makes what watches a version; reads the sketch and the stored answers of its bundle.

    Args:
        version: that is about to be served.
        journal: of the answers of its name.

    Raises:
        CheckFailed: if they can't be read.
    """
    watched = await asyncio.to_thread(
        Watched.from_bundle,
        Path(version.folder),
        version.model,
        version.certificate,
        name=version.name,
        version=version.version,
        digest=version.digest,
    )
    return QualityMonitor(watched, journal=journal)
