"""Builds every row of one model: peers, jettison's choice; judges them; ranks them in one launch."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.cpu import peers_olive, peers_onnx, peers_openvino, peers_sklearn, peers_torch
from benchmarks.cpu.choosing import chosen
from benchmarks.cpu.judging import judged
from benchmarks.cpu.margins import SHORT
from benchmarks.cpu.records import TORCH, Built, State, Subject, cpu_seconds, keep, kept
from benchmarks.cpu.subjects import SUBJECTS
from jettison import registry
from jettison.domain.jobs import Variant
from jettison.domain.recipe import Step
from jettison.errors import CandidateFailed
from jettison.pipeline.measure import Sessions
from jettison.timing.estimates import launch_log_ratios
from jettison.timing.launches import Setting, play_launch

ORIGINAL = "original"
ROUNDS, CALLS = (3, 1) if SHORT else (5, 3)
HOPELESS = 0.4
"""Speed over the original in the second call of one row, below which no rounds are played."""

NEED_LABELS_OR_FLOATS = ("NNCF quantize with accuracy control",)

Maker = Callable[[Subject, Path], Variant]


def build_peers(name: str) -> State:
    """Loads one model with its rows, and asks every peer; keeps the result. Wants no quiet."""
    state = kept(name)
    subject = state.subject if state is not None else SUBJECTS[name]()
    original = Variant(ORIGINAL, subject.model, Step(subject.runtime), subject.one_by_one)
    built = [Built(ORIGINAL, "original", original, 0.0, "")]
    done = {b.name: b for b in state.built if b.variant is not None} if state is not None else {}
    for title, maker in makers(subject).items():
        built.append(done.get(title) or made(subject, title, maker))
        keep(State(subject, tuple(built)))
    state = State(subject, (*built, *(b for b in done.values() if b.owner == "jettison")))
    keep(state)
    return state


def choose(state: State) -> State:
    """Asks jettison, which times what it tries: this wants a quiet machine."""
    others = tuple(b for b in state.built if b.owner != "jettison")
    state = State(state.subject, (*others, *chosen(state.subject)))
    keep(state)
    return state


def judge(state: State) -> State:
    """Says of every row what it lost. Wants no quiet."""
    verdicts, usable = judged(state.subject, state.built, state.ranking)
    state = dataclasses.replace(state, built=usable, judged=verdicts)
    keep(state)
    return state


def makers(subject: Subject) -> dict[str, Maker]:
    """The peers that can take this model."""
    if "sklearn" in subject.model.traits:
        return dict(peers_sklearn.PEERS)
    found: dict[str, Maker] = {**peers_onnx.PEERS, **peers_olive.PEERS, **peers_openvino.PEERS}
    if not subject.metric:
        for title in NEED_LABELS_OR_FLOATS:
            found.pop(title)
    if subject.net:
        found.update(peers_torch.PEERS)
    if len(subject.model.inputs) > 1:
        found.pop("torch FX static", None)  # Its tracer does not take the branches of BERT.
    return found


def made(subject: Subject, title: str, maker: Maker) -> Built:
    """Calls one peer; whatever it raises becomes a row that says so."""
    place = subject.folder / "peers" / title.replace(" ", "-").replace(",", "")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    begun = cpu_seconds()
    owner = "float" if title in {"openvino float", "torch eager"} else "peer"
    try:
        # Some leave files where they are called.
        with contextlib.chdir(place):
            variant = dataclasses.replace(maker(subject, place), name=title)
    except Exception as error:  # noqa: BLE001
        note = f"{type(error).__name__}: {' '.join(str(error).split())[:240]}"
        print(f"  {title}: {note}", flush=True)
        return Built(title, owner, None, cpu_seconds() - begun, note)
    seconds = cpu_seconds() - begun
    print(f"  {title}: built in {seconds:.0f} s", flush=True)
    return Built(
        title, owner, dataclasses.replace(variant, one_by_one=subject.one_by_one), seconds, ""
    )


def rank(state: State) -> State:
    """One launch of all rows side by side: enough to see which deserve a claim, never quoted alone."""
    subject = state.subject
    variants = [b.variant for b in state.built if b.variant is not None]
    if SHORT:
        variants = [v for v in variants if v.runtime.name != TORCH]
    ranking: dict[str, Mapping[str, float]] = {}
    cost = registry.get("costs", "latency_ms")
    for title, rows in subject.timed.items():
        setting = Setting(rows, subject.serving, (cost,), ROUNDS, CALLS, subject.folder / "rank")
        with Sessions(rows, subject.serving, subject.folder / "rank") as workers:
            able = []
            for variant in variants:
                try:
                    workers.of(variant)
                    able.append(variant)
                except CandidateFailed as failure:
                    print(f"  {variant.name}: {str(failure)[:200]}", flush=True)
            hopeless = _hopeless(able, workers) if SHORT else {}
            played = [variant for variant in able if variant.name not in hopeless]
            launch = play_launch(played, workers, setting, random.Random(0))
        ranking[title] = hopeless | {
            v.name: math.exp(launch_log_ratios(ORIGINAL, v.name, [launch], cost)[0]) for v in played
        }
        for name, gain in sorted(ranking[title].items(), key=lambda pair: -pair[1]):
            print(f"  {title} {name:45} {gain:.2f}x", flush=True)
    state = dataclasses.replace(state, ranking=ranking)
    keep(state)
    return state


def _hopeless(variants: Sequence[Variant], workers: Sessions) -> dict[str, float]:
    """Rows so slow that more than two calls of one row would be wasted on them, with their speed."""
    seconds = {v.name: workers.of(v).burst(1, 2).seconds[-1] for v in variants}
    speeds = {name: seconds[ORIGINAL] / own for name, own in seconds.items()}
    return {name: speed for name, speed in speeds.items() if speed < HOPELESS}
