"""What each way to static int8 is worth: quality against the float model, time against the default.

    python -m benchmarks.int8_methods make     # builds every variant and answers the judged rows
    python -m benchmarks.int8_methods again MODEL TITLE   # builds one way anew, among what stands
    python -m benchmarks.int8_methods time     # times them, on a quiet machine
    python -m benchmarks.int8_methods write    # stores the rows; models without times have none

Quality differences are paired by row, with a 95 % interval; nothing is chosen on the judged rows.
Variants of a model take turns in one process with one thread; each round gives one ratio.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_file
from benchmarks.int8.arms import ARMS, Arm
from benchmarks.int8.subjects import Subject, subjects
from benchmarks.load.ratios import ratio
from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, NothingChanged
from jettison.worker.workbench import Bench

WORK = Path(".bench/int8").absolute()
JUDGED = {"minilm": 256, "resnet20": 2000, "magika": 700, "mnist-cnn": 2000}
ROUNDS = 12
SECONDS = 0.03
FLOAT, DEFAULT = "float", "static, default"


def make(names: list[str]) -> None:
    """Builds the variants of these models and stores what they answer."""
    for name in names:
        subject = subjects(WORK / "subjects", {name: JUDGED[name]})[name]()
        folder = WORK / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        answers = {FLOAT: _answers(subject, subject.model, folder / "float")}
        told: dict[str, Any] = {}
        paths = {FLOAT: str(subject.model.artifact.path)}
        facts = {"told": told, "paths": paths, "title": subject.title}
        for arm in ARMS[name]:
            _build(subject, arm, folder, answers, facts)
        np.savez(folder / "answers.npz", **answers)
        (folder / "facts.json").write_text(json.dumps(facts, indent=1))
        _store_rows(subject, folder)


def again(names: list[str]) -> None:
    """Builds the ways of one model whose titles are given anew, and keeps all others."""
    name, *titles = names
    subject = subjects(WORK / "subjects", {name: JUDGED[name]})[name]()
    folder = WORK / name
    facts = json.loads((folder / "facts.json").read_text())
    with np.load(folder / "answers.npz") as file:
        answers = {key: file[key] for key in file.files}
    for arm in ARMS[name]:
        if arm.title in titles:
            _build(subject, arm, folder, answers, facts)
    np.savez(folder / "answers.npz", **answers)
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def _build(
    subject: Subject, arm: Arm, folder: Path, answers: dict[str, Array], facts: dict[str, Any]
) -> None:
    """Builds one way, and notes what it answers, where it is and what was told of it."""
    begun = time.monotonic()
    try:
        model, what = _apply(subject, arm, folder)
    except (CandidateFailed, NothingChanged) as refused:
        facts["told"][arm.title] = {"refused": str(refused)}
        print(subject.title, arm.title, refused, flush=True)
        return
    seconds = time.monotonic() - begun
    answers[arm.title] = _answers(subject, model, folder / "run")
    facts["told"][arm.title] = {"what": what, "seconds": seconds}
    facts["paths"][arm.title] = str(model.artifact.path)
    print(subject.title, arm.title, f"{seconds:.1f} s", what[:160], flush=True)


def _store_rows(subject: Subject, folder: Path) -> None:
    if subject.targets is not None:
        np.save(folder / "targets.npy", subject.targets)
    np.savez(folder / "one-row.npz", **{k: v[:1] for k, v in subject.judged.items()})


def _bench(folder: Path) -> Bench:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cache = folder.parent / "cache"
    cache.mkdir(exist_ok=True)
    return Bench(folder, cache, machine.describe_device(), ServingProfile(threads=1))


def _apply(subject: Subject, arm: Arm, folder: Path) -> tuple[Model, str]:
    model, told = subject.model, []
    for place, (technique, settings) in enumerate(arm.steps):
        bench = _bench(folder / f"{arm.title.replace(' ', '-').replace(',', '')}-{place}")
        applied = registry.get("techniques", technique).apply(
            model, settings, subject.fitting, bench
        )
        model = applied.model
        told += [change.what for change in applied.changes]
    return model, "; ".join(told)


def _answers(subject: Subject, model: Model, folder: Path) -> Array:
    runner = _bench(folder).runner(model)
    n = len(next(iter(subject.judged.values())))
    found = []
    for start in range(0, n, subject.batch):
        rows = {k: v[start : start + subject.batch] for k, v in subject.judged.items()}
        found.append(np.asarray(runner.run(rows)[model.prediction]))
    return np.concatenate(found)


def quality(reference: Array, found: Array, targets: Array | None) -> tuple[str, str, Array]:
    """Metric, unit and each row's part in the difference to the float answers."""
    if targets is None:
        sizes = np.linalg.norm(reference, axis=1) * np.linalg.norm(found, axis=1)
        return "cosine distance to float", "", 1.0 - (reference * found).sum(axis=1) / sizes
    right = (found.argmax(axis=1) == targets).astype(float)
    before = (reference.argmax(axis=1) == targets).astype(float)
    return "accuracy less float", "points", 100.0 * (right - before)


def distances(reference: Array, found: Array) -> Array:
    """How far each row's answer moved, as a share of its size, in percent."""
    moved = np.linalg.norm(found - reference, axis=1)
    share: Array = 100.0 * moved / np.linalg.norm(reference, axis=1)
    return share


def with_interval(values: Array) -> tuple[float, float, float]:
    """The mean with its 95 % interval by the normal approximation."""
    mean, half = float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def measure(names: list[str]) -> None:
    """Times what `make` has built."""
    for name in names:
        folder = WORK / name
        facts = json.loads((folder / "facts.json").read_text())
        times = _times(facts["paths"], folder / "one-row.npz")
        (folder / "times.json").write_text(json.dumps(times))
        print(name, {title: f"{1e3 * np.median(t):.3f} ms" for title, t in times.items()})


def store(names: list[str]) -> None:
    """Writes the stored result of what `make` and `time` found."""
    rows: list[results_file.Row] = []
    for name in names:
        folder = WORK / name
        facts = json.loads((folder / "facts.json").read_text())
        with np.load(folder / "answers.npz") as file:
            answers = {key: file[key] for key in file.files}
        targets = folder / "targets.npy"
        labels = np.load(targets) if targets.exists() else None
        timed = folder / "times.json"
        times = json.loads(timed.read_text()) if timed.exists() else {}
        for title, found in answers.items():
            if title != FLOAT:
                rows += _quality_rows(facts, title, answers[FLOAT], found, labels)
                rows += _time_rows(facts["title"], title, times)
        for title, one in facts["told"].items():
            if "refused" in one:
                row = results_file.Row(
                    facts["title"], title, "result", None, None, None, "", 1, one["refused"]
                )
                rows.append(row)
    results_file.write("int8_methods", rows, NOTES)


NOTES = [
    "Fitting rows: 128; judged rows are others and no technique saw them.",
    "Times: batch 1, one thread, ONNX Runtime defaults; medians over rounds of one launch, 95 % "
    "bootstrap interval over rounds (a second launch can differ by 1 to 1.5 %).",
    "Default: u8s8, one scale per channel, minmax; 8-bit weights on CPUs with VNNI, else 7-bit.",
]


def _quality_rows(
    facts: Mapping[str, Any], title: str, reference: Array, found: Array, labels: Array | None
) -> list[results_file.Row]:
    what = facts["told"][title]["what"]
    metric, unit, parts = quality(reference, found, labels)
    value, low, high = with_interval(parts)
    moved, least, most = with_interval(distances(reference, found))
    model, n = facts["title"], len(found)
    size = Path(facts["paths"][title]).stat().st_size
    return [
        results_file.Row(model, title, metric, value, low, high, unit, n, what),
        results_file.Row(model, title, "answers moved", moved, least, most, "%", n),
        results_file.Row(model, title, "size", size, None, None, "bytes", 1),
    ]


def _time_rows(model: str, title: str, times: Mapping[str, list[float]]) -> list[results_file.Row]:
    found = []
    for metric, other in (("time of float / time", FLOAT), ("time / time of default", DEFAULT)):
        pair = (other, title) if other == FLOAT else (title, other)
        if title != other and set(pair) <= set(times):
            got = ratio(times[pair[0]], times[pair[1]])
            found.append(
                results_file.Row(model, title, metric, got.value, got.low, got.high, "x", got.n)
            )
    return found


def _times(paths: Mapping[str, str], rows: Path) -> dict[str, list[float]]:
    """Seconds of one call of each variant in each round; the order changes from round to round."""
    with np.load(rows) as file:
        batch = {key: file[key] for key in file.files}
    calls = {title: _call(path, batch) for title, path in paths.items()}
    counts = {}
    for title, call in calls.items():
        call()
        begun = time.perf_counter()
        call()
        counts[title] = max(1, round(SECONDS / (time.perf_counter() - begun)))
    seen: dict[str, list[float]] = {title: [] for title in calls}
    order = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for title in order.permutation(sorted(calls)):
            calls[title]()
            begun = time.perf_counter()
            for _ in range(counts[title]):
                calls[title]()
            seen[title].append((time.perf_counter() - begun) / counts[title])
    return seen


def _call(path: str, batch: Mapping[str, Array]) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(batch))


def main() -> None:
    stages = {"make": make, "again": again, "time": measure, "write": store}
    if len(sys.argv) < 2 or sys.argv[1] not in stages:
        raise SystemExit("python -m benchmarks.int8_methods make|again|time|write [model ...]")
    stages[sys.argv[1]](sys.argv[2:] or list(JUDGED))


if __name__ == "__main__":
    main()
