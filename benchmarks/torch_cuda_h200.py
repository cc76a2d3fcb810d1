"""The whole tool on a GPU: search, timing, certificate and bundle with the runtime `torch_cuda`.

    JETTISON_DATA=../shared/data OUT=/tmp/out python -m benchmarks.torch_cuda_h200 resnet20
    JETTISON_DATA=../shared/data OUT=/tmp/out python -m benchmarks.torch_cuda_h200 digits

Needs an NVIDIA GPU, PyTorch with CUDA, pyarrow and Pillow. `resnet20` reads the CIFAR-10 test
images as JPEG; `digits` trains a wide network on MNIST first and prunes it 2:4 by magnitude. The
margin, one point of accuracy, stands here before the first run. Times are those of the run itself:
fresh processes side by side in random order, from arrays on the host to answers on the host. The
original runs on the processor with one thread. Writes `torch_cuda-<model>.json` into `$OUT`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import Row
from jettison import preparation, whole_run
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ImageSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.device import ServingProfile
from jettison.domain.measurement import OVERALL, Measurement
from jettison.domain.progress import Silent
from jettison.domain.run import RunRecord
from jettison.pipeline.verify import verify

WORK = Path(".bench/torch_cuda").absolute()
DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
SHOWN = ("latency_ms", "cpu_ms", "peak_memory_bytes", "load_s", "first_call_ms")
EPOCHS, BATCH = 6, 256
INT8 = {"calibrator": "histogram", "engine": "x86", "exclude_layers": 0, "rows": 300}
SERVING = ServingProfile((1, 64), (0.1, 0.9))
"""Nine rows of ten come in batches of 64, as a server with a GPU gathers them."""
NOTES = (
    "Intervals of 95 % are over fresh processes (n of them), side by side in random order. The "
    "original is PyTorch on the processor with 1 thread; gains are the original's cost over the "
    "candidate's, and at each batch size apart. A call is timed from arrays on the host to answers "
    "on the host. Quality that is not certified is of the selection rows. Gains in the search are of "
    "one launch and 3 to 6 rounds each: they steer it, and are no claims.",
)


class Lines(Silent):
    """Prints what a run says."""

    def say(self, text: str) -> None:
        """Prints a sentence."""
        print(text, flush=True)

    def advance(self, note: str = "") -> None:
        """Prints the note of a step."""
        if note:
            print("  ", note, flush=True)

    def stage(self, name: str, total: int | None = None) -> None:
        """Prints the name of a stage."""
        print(datetime.datetime.now().strftime("%H:%M:%S"), name, flush=True)


def resnet20() -> Configuration:
    """ResNet-20 for CIFAR-10: on the GPU in each precision, and in 8 bits on the processor."""
    import pyarrow
    from pyarrow import parquet

    with np.load(DATA / "vision/cifar10-jpeg-test.npz") as stored:
        jpeg, ends, labels = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    files = [jpeg[ends[i] : ends[i + 1]] for i in range(len(labels))]
    table = {"image": pyarrow.array(files, pyarrow.binary()), "label": labels.astype(np.int64)}
    parquet.write_table(pyarrow.table(table), WORK / "images.parquet")
    return Configuration(
        ModelSection(
            "examples/cifar_resnet.py:resnet20",
            weights=str(DATA / "models/resnet20-cifar10-chita.safetensors"),
            inputs=("image: float32[batch, 3, 32, 32]",),
        ),
        DataSection(str(WORK / "images.parquet"), target="label"),
        image=ImageSection(mean=(0.5,), std=(0.5,)),
        search=SearchSection(("torch_fx_int8",), ("torch_cuda", "torch_eager"), ("latency_ms",)),
        settings={"torch_fx_int8": INT8},
    )


def digits() -> Configuration:
    """A wide network for MNIST, trained here; float16, dense and 2:4."""
    weights = train_digits(WORK / "digits.safetensors")
    with np.load(DATA / "vision/mnist.npz") as stored:
        np.savez(WORK / "digits.npz", image=pixels(stored["x_test"]), label=stored["y_test"])
    return Configuration(
        ModelSection(
            "benchmarks/torch_cuda_models.py:make",
            weights=str(weights),
            inputs=("image: float32[batch, 784]",),
        ),
        DataSection(str(WORK / "digits.npz"), target="label"),
        search=SearchSection(("magnitude_pruning",), ("torch_cuda",), ("latency_ms",)),
        settings={
            "magnitude_pruning": {"pattern": "2:4", "keep_outer": False},
            "torch_cuda": {"precision": "float16"},
        },
    )


SUBJECTS = {"resnet20": resnet20, "digits": digits}


def pixels(images: Any) -> Any:
    """Rows of pixels from 0 to 1."""
    return (images.reshape(len(images), -1) / 255.0).astype(np.float32)


def train_digits(path: Path) -> Path:
    """Trains the wide network on the GPU; some seconds."""
    import torch
    from safetensors.torch import save_file

    from benchmarks.torch_cuda_models import make

    torch.manual_seed(0)
    with np.load(DATA / "vision/mnist.npz") as stored:
        x = torch.from_numpy(pixels(stored["x_train"])).cuda()
        y = torch.from_numpy(stored["y_train"].astype(np.int64)).cuda()
    net = make().cuda()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x), device="cuda").split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
    save_file({k: v.cpu().contiguous() for k, v in net.state_dict().items()}, path)
    return path


def rows_of(title: str, record: RunRecord) -> Iterator[Row]:
    """Every finalist's costs, what the search saw of quality, and the certificate."""
    names = {"baseline": "original", "a/a": "a/a"}
    names |= {trial.recipe.digest: str(trial.recipe) for trial in record.trials}
    for key, measurement in record.claims.items():
        yield from _cost_rows(title, names[key], measurement)
    for trial in record.trials:
        name = str(trial.recipe)
        yield Row(title, name, "search", trial.state, None, None, "", 1, trial.reason)
        ranked: Measurement | None = trial.ranking
        for e in ranked.estimates if ranked is not None else ():
            if e.metric == "accuracy" and e.group == OVERALL:
                yield Row(title, name, e.metric, e.value, e.low, e.high, e.unit, e.n, "selection")
            elif e.metric == "latency_ms:gain":
                metric = f"gain in the search, {e.group}"
                yield Row(title, name, metric, e.value, None, None, e.unit, 1, "no claim")
    shipped = record.trial_of(record.shipped)
    name = str(shipped.recipe) if shipped is not None else "none"
    yield Row(title, name, "outcome", record.outcome, None, None, "", 1, record.answer)
    for claim in record.certificate.claims:
        if claim.gates:
            told = f"{claim.verdict}, margin {claim.margin:g}, grade {claim.grade}"
            metric = f"certified drop of {claim.metric}, {claim.group}"
            yield Row(
                title, name, metric, claim.estimate, None, claim.bound, "fraction", claim.n, told
            )
    floor = record.noise_floor
    yield Row(title, "a/a", "noise floor", floor, None, None, "fraction", 1)
    for stage, seconds in record.stage_seconds.items():
        yield Row(title, "run", f"seconds of {stage}", seconds, None, None, "s", 1)


def _cost_rows(title: str, name: str, measurement: Measurement) -> Iterator[Row]:
    for e in measurement.estimates:
        if e.metric.partition(":")[0] in SHOWN:
            metric = e.metric if e.group == OVERALL else f"{e.metric} {e.group}"
            note = "" if e.state == "ok" else e.state
            yield Row(title, name, metric, e.value, e.low, e.high, e.unit, e.n, note)


def main(names: list[str]) -> None:
    """Runs each subject as a user would, verifies its bundle, and writes what was found."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in names or list(SUBJECTS):
        folder = WORK / f"run-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        given = SUBJECTS[name]()
        search = dataclasses.replace(given.search, trials=8, max_minutes=8.0)
        configuration = dataclasses.replace(
            given,
            search=search,
            serving=SERVING,
            requirements=(Requirement("accuracy", 0.01, 0.03),),
            output=str(folder),
            ledger=str(folder / "ledger"),
        )
        with preparation.run_folder(folder):
            record = whole_run.run(preparation.prepare(configuration, Lines()), Lines())
        print(record.answer, flush=True)
        rows = list(rows_of(name, record))
        print(f"wrote {store(name, rows, record.started)}", flush=True)
        if record.shipped:
            checked = verify(folder / "release")
            print(*checked.checks, *checked.notes, sep="\n", flush=True)


def store(name: str, rows: list[Row], date: str) -> Path:
    """Writes what was found into `$OUT`, in the form of `benchmarks.results_file`."""
    import torch

    content = {
        "machine": f"{torch.cuda.get_device_name(0)}, {processor()}, lent by the hour",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
            "numpy": np.__version__,
        },
        "date": date,
        "notes": list(NOTES),
        "rows": [asdict(row) for row in rows],
    }
    path = Path(os.environ.get("OUT", ".")) / f"torch_cuda-{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def processor() -> str:
    """The processor's name as the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


if __name__ == "__main__":
    main(sys.argv[1:])
