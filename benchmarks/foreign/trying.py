"""Sends one graph through load, profile, advise and both int8 techniques, and says how it ended.

An end is `ok`, `refused` (one sentence, foreseen) or `fault` (a traceback, or a library's own
words instead of a sentence).
"""

from __future__ import annotations

import dataclasses
import io
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.foreign.sources import FREED, Graph, free_batch
from jettison import config, preparation, registry
from jettison.domain.progress import Silent
from jettison.domain.recipe import Recipe, Step
from jettison.errors import CandidateFailed, InternalError, JettisonError, ModelError, UsageError
from jettison.pipeline import profile
from jettison.pipeline.apply import apply
from jettison.preparation import Prepared
from jettison.reporting import advice

INT8 = ("int8_dynamic", "int8_static")
LONGEST_SENTENCE = 600


@dataclass(frozen=True, slots=True)
class Ending:
    """How one stage ended for one graph.

    Attributes:
        end: `ok`, `refused` or `fault`.
        said: the sentence; for `ok` of a technique, what it changed.
        seconds: wall time of the stage.
    """

    package: str
    graph: str
    form: str
    stage: str
    end: str
    said: str
    seconds: float


class TimeUp(BaseException):
    """The time limit of one graph; no handler of ours may take it for a failure of a plug-in."""


def try_out(graph: Graph, seconds: int, whole: bool) -> list[Ending]:
    """Tries one graph.

    Args:
        graph: to try.
        seconds: time limit for it.
        whole: plan with every technique and runtime; otherwise with int8 on ONNX Runtime.
    """
    endings: list[Ending] = []
    signal.signal(signal.SIGALRM, _time_up)
    signal.alarm(seconds)
    try:
        with tempfile.TemporaryDirectory(prefix="foreign-") as folder:
            path = Path(graph.path)
            if graph.form == FREED:
                path = Path(folder) / f"{path.stem}.onnx"
                if not free_batch(Path(graph.path), path):
                    return []
            _through(dataclasses.replace(graph, path=str(path)), Path(folder), whole, endings)
    except TimeUp:
        endings.append(_ending(graph, "time", "fault", f"not done in {seconds} s", seconds))
    finally:
        signal.alarm(0)
    return endings


def _time_up(number: int, frame: FrameType | None) -> None:
    raise TimeUp


def _through(graph: Graph, folder: Path, whole: bool, endings: list[Ending]) -> None:
    begun = time.monotonic()
    narrow = {"techniques": list(INT8), "runtimes": ["onnx_runtime"]}
    model = {"source": graph.path}
    asked = {
        "model": model,
        "search": {} if whole else narrow,
        "output": str(folder / "run"),
    }
    if not whole:
        # What two copies of a graph of one operator differ by is of no interest here.
        profile.LAUNCHES = 1
    try:
        while True:
            configuration = config.configuration_from(asked, registry.all_names())
            try:
                prepared = preparation.prepare(configuration, Silent())
                break
            except (ModelError, UsageError) as error:
                # As the sentence asks; once each.
                if "set `model.task`" in str(error) and "task" not in model:
                    model["task"], missing = "embedding", "no task given"
                elif "`model.prediction`" in str(error) and "prediction" not in model:
                    model["prediction"], missing = _first_output(graph), "no prediction named"
                else:
                    raise
                endings.append(_ended(graph, f"profile and advise, {missing}", error, begun))
        said = _shown(prepared)
    except Exception as error:  # noqa: BLE001
        endings.append(_ended(graph, "profile and advise", error, begun))
        return
    seconds = time.monotonic() - begun
    endings.append(_ending(graph, "profile and advise", "ok", said, seconds))
    refused = {r.name: r.reason for r in prepared.space.refused}
    for technique in INT8:
        if technique in refused:
            endings.append(_ending(graph, technique, "refused", refused[technique], 0.0))
            continue
        endings.append(_int8(graph, technique, prepared, folder))


def _first_output(graph: Graph) -> str:
    import onnx

    return str(onnx.load(graph.path, load_external_data=False).graph.output[0].name)


def _shown(prepared: Prepared) -> str:
    """Renders the advice as the command does; gives how many techniques may help."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80)
    for part in (
        advice.advice(prepared.space, prepared.profile),
        advice.where_time_goes(prepared.profile),
        advice.layers_table(prepared.profile),
        advice.refusals(prepared.space),
    ):
        if part is not None:
            console.print(part)
    return f"{len(prepared.space.advice)} may help, {len(prepared.space.refused)} not"


def _int8(graph: Graph, technique: str, prepared: Prepared, folder: Path) -> Ending:
    begun = time.monotonic()
    recipe = Recipe((Step(technique),), Step("onnx_runtime"))
    try:
        made = apply(
            prepared.model,
            recipe,
            prepared.splits.fitting,
            folder / "artifacts",
            prepared.configuration.serving,
        )
    except Exception as error:  # noqa: BLE001
        return _ended(graph, technique, error, begun)
    said = "; ".join(change.what for change in made.log)
    return _ending(graph, technique, "ok", said, time.monotonic() - begun)


def _ended(graph: Graph, stage: str, error: Exception, begun: float) -> Ending:
    said = " ".join(str(error).split()).replace(graph.path, "FILE")
    planned = isinstance(error, JettisonError) and not isinstance(error, InternalError)
    # A failure that a worker did not foresee carries its traceback as a note.
    foreseen = planned and not (isinstance(error, CandidateFailed) and _carries_trace(error))
    end = "refused" if foreseen and len(said) <= LONGEST_SENTENCE else "fault"
    if end == "fault":
        said = f"{type(error).__name__}: {said}"
    return _ending(graph, stage, end, said[: 2 * LONGEST_SENTENCE], time.monotonic() - begun)


def _carries_trace(error: Exception) -> bool:
    # Errors of ours that a worker raised on purpose have a class; a library's has its name said.
    return any("Traceback" in note for note in getattr(error, "__notes__", ())) and (
        " failed: " in str(error)
    )


def _ending(graph: Graph, stage: str, end: str, said: str, seconds: float) -> Ending:
    said = said.replace(graph.path, "FILE")
    return Ending(graph.package, graph.name, graph.form, stage, end, said, round(seconds, 2))
