"""Times the stages of answering (encode, model, decode) and the layers of the model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example, Runner
from jettison.domain.jobs import ProfileAnswer, ProfileJob
from jettison.domain.model import Model
from jettison.domain.profile import StageCost
from jettison.domain.raw_examples import read_raw
from jettison.domain.rows import Array
from jettison.worker.bursts import Bursts
from jettison.worker.workbench import prepare

MODEL_CALLS = 5
READINGS = 7
SHORTEST_SECONDS = 0.01


def profile(job: ProfileJob) -> ProfileAnswer:
    """Times a model on its runtime, per example, weighted by the serving profile."""
    runner = prepare(job.model, job.runtime, job.serving)
    notes: list[str] = []
    model_ms = _model_milliseconds(runner, job)
    encode_ms, note = _encode_milliseconds(job)
    notes.append(note)
    decode_ms, note = _decode_milliseconds(runner, job)
    notes.append(note)
    total = encode_ms + model_ms + decode_ms
    stages = tuple(
        StageCost(name, value, value / total)
        for name, value in (("encode", encode_ms), ("model", model_ms), ("decode", decode_ms))
    )
    usual = _usual_batch(job.serving)
    layers = runner.layer_costs(job.rows.batch(np.arange(usual) % job.rows.n))
    return ProfileAnswer(stages, layers, tuple(note for note in notes if note))


def _usual_batch(serving: ServingProfile) -> int:
    """The batch size that most rows are served at."""
    return max(zip(serving.weights, serving.batch_sizes))[1]


def _model_milliseconds(runner: Runner, job: ProfileJob) -> float:
    bursts = Bursts(runner, job.rows, one_by_one=False)
    value = 0.0
    for size, weight in zip(job.serving.batch_sizes, job.serving.weights):
        value += weight * statistics.median(bursts.run(size, MODEL_CALLS).seconds) / size * 1e3
    return value


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
