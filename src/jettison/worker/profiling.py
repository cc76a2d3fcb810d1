"""Times the stages of answering (encode, model, decode) and the layers of the model."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example, Runner, TellsSensitivity
from jettison.domain.files import write_atomically
from jettison.domain.jobs import ProfileAnswer, ProfileJob
from jettison.domain.model import Model
from jettison.domain.profile import LayerLosses, StageCost
from jettison.domain.raw_examples import read_raw
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.worker.bursts import Bursts
from jettison.worker.workbench import Bench, prepare

MODEL_CALLS = 5
READINGS = 7
SHORTEST_SECONDS = 0.01
LONGEST_REASON = 300
"""Characters of a library's message that a note quotes."""


def profile(job: ProfileJob) -> ProfileAnswer:
    """Times a model on its runtime, per example, weighted by the serving profile."""
    runner = prepare(job.model, job.runtime, job.serving)
    usual = _usual_batch(job.serving)
    common = job.rows.batch(np.arange(usual) % job.rows.n)
    if not job.stages:
        return ProfileAnswer((), runner.layer_costs(common))
    notes: list[str] = []
    per_size = _model_milliseconds(runner, job)
    model_ms = sum(per_size[s] * w for s, w in zip(job.serving.batch_sizes, job.serving.weights))
    encode_ms, note = _encode_milliseconds(job)
    notes.append(note)
    decode_ms, note = _decode_milliseconds(runner, job)
    notes.append(note)
    total = encode_ms + model_ms + decode_ms
    stages = tuple(
        StageCost(name, value, value / total)
        for name, value in (("encode", encode_ms), ("model", model_ms), ("decode", decode_ms))
    )
    layers = runner.layer_costs(common)
    losses, note = _losses(job)
    notes.append(note)
    known = any(layer.time_share is not None for layer in layers)
    return ProfileAnswer(
        stages,
        layers,
        tuple(note for note in notes if note),
        losses,
        per_size[usual] if known else 0.0,
        usual if known else 0,
    )


def _losses(job: ProfileJob) -> tuple[LayerLosses | None, str]:
    """What layers lose when they alone are changed, found once for a model and its rows."""
    runtime = registry.get("runtimes", job.runtime.name)
    if job.fitting is None or not isinstance(runtime, TellsSensitivity):
        return None, ""
    cache = Path(job.cache)
    memory = cache / f"losses-{_losses_key(job, job.fitting)}.json"
    if memory.exists():
        return from_json(LayerLosses, memory.read_bytes()), ""
    cache.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jettison-sensitivity-") as folder:
        bench = Bench(Path(folder), cache, machine.describe_device(), job.serving)
        try:
            found = runtime.sensitivity(job.model, job.fitting, bench)
        except CandidateFailed as failure:
            return None, f"The sensitivity of layers was not found: {failure}."
        except Exception as failure:  # noqa: BLE001 - onnxruntime's derive from nothing narrower
            told = " ".join(str(failure).split())[:LONGEST_REASON] or "no reason was given"
            kind = type(failure).__name__
            return None, f"The sensitivity of layers was not found ({kind}): {told}."
    found = LayerLosses(found.losses, found.note, time.monotonic() - begun)
    write_atomically(memory, to_json(found))
    return found, ""


def _losses_key(job: ProfileJob, fitting: FittingData) -> str:
    facts = (
        job.model.artifact.digest,
        job.model.prediction,
        job.model.task,
        job.runtime.name,
        registry.source_digest("runtimes", job.runtime.name),
        fitting.rows.digest,
        fitting.rows.n,
        fitting.target_digest,
        fitting.seed,
        sorted(machine.describe_device().versions.items()),
        metadata.version("jettison"),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _usual_batch(serving: ServingProfile) -> int:
    """The batch size that most rows are served at."""
    return max(zip(serving.weights, serving.batch_sizes))[1]


def _model_milliseconds(runner: Runner, job: ProfileJob) -> dict[int, float]:
    """Milliseconds per example at each batch size of the serving profile."""
    bursts = Bursts(runner, job.rows, one_by_one=False)
    return {
        size: statistics.median(bursts.run(size, MODEL_CALLS).seconds) / size * 1e3
        for size in job.serving.batch_sizes
    }


def _encode_milliseconds(job: ProfileJob) -> tuple[float, str]:
    """Times the encoder on raw examples, in the batch sizes of the serving profile."""
    if not job.raw:
        return 0.0, "Encoding was not timed: the rows were given as arrays, ready for the model."
    raw = read_raw(Path(job.raw))
    columns, count = raw.columns, raw.n
    kind = registry.get("encoders", job.model.encoder.kind)

    def encode(place: int, size: int) -> None:
        index = (place * size + np.arange(size)) % count
        some = {name: values[index] for name, values in columns.items()}
        kind.encode(job.model.encoder, job.model, Example(some, size))

    value = _weighted(job.serving, encode)
    return value, ""


def _decode_milliseconds(runner: Runner, job: ProfileJob) -> tuple[float, str]:
    """Times the way from scores to names of classes."""
    model = job.model
    if model.task != "classification":
        return 0.0, ""
    usual = max(job.serving.batch_sizes)
    scores = runner.run(job.rows.batch(np.arange(usual) % job.rows.n))[model.prediction]
    if scores.ndim != 2:
        return 0.0, "Decoding was not timed: the model gives labels, not scores."

    def decode(place: int, size: int) -> None:
        _names(model, scores[:size])

    return _weighted(job.serving, decode), ""


def _names(model: Model, scores: Array) -> list[str | int]:
    chosen = scores.argmax(axis=1)
    labels = model.encoder.labels
    return [labels[i] if i < len(labels) else int(i) for i in chosen]


def _weighted(serving: ServingProfile, call: Callable[[int, int], None]) -> float:
    """Milliseconds per example of a call, weighted by the serving profile."""
    return sum(
        weight * _seconds(call, size) / size * 1e3
        for size, weight in zip(serving.batch_sizes, serving.weights)
    )


def _seconds(call: Callable[[int, int], None], size: int) -> float:
    """Median seconds of one call; short calls are repeated until a reading lasts 10 ms."""
    begun = time.perf_counter()
    call(0, size)
    once = max(time.perf_counter() - begun, 1e-7)
    repeats = max(1, int(SHORTEST_SECONDS / once))
    readings = []
    for reading in range(READINGS):
        begun = time.perf_counter()
        for repeat in range(repeats):
            call(reading * repeats + repeat, size)
        readings.append((time.perf_counter() - begun) / repeats)
    return statistics.median(readings)
