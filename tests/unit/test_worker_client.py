"""The parent's side of a worker: answers, failures, and the end of either process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import ApplyJob, Failure, SessionJob
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.record import to_json
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.domain.worker_failures import exception_of
from jettison.errors import (
    CandidateFailed,
    InternalError,
    ModelError,
    NothingChanged,
    UnknownName,
    UsageError,
    WorkerDied,
)
from jettison.worker_client import WorkerSession, environment, run_apply

ORT = Step("onnx_runtime")


def session_job(
    model: Model, rows: Rows, serving: ServingProfile, runtime: Step = ORT
) -> SessionJob:
    return SessionJob(model, runtime, rows, serving)


def apply_job(model: Model, rows: Rows, serving: ServingProfile, step: Step, to: Path) -> ApplyJob:
    return ApplyJob(model, step, FittingData(rows), str(to / "step"), str(to / "cache"), serving)


def test_a_session_times_scores_and_reports(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """A session answers bursts, scores all rows into files, and leaves nothing else behind."""
    with WorkerSession(session_job(network, rows, serving), tmp_path / "logs") as session:
        burst = session.burst(8, 3)
        scored = session.score(rows, tmp_path / "out", 8)
        used = session.resources()
    assert len(burst.seconds) == 3
    assert all(seconds > 0 for seconds in burst.seconds)
    assert scored.outputs == ("scores",)
    scores = np.load(tmp_path / "out" / "scores.npy")
    assert scores.shape == (rows.n, 4)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)
    assert used.peak_memory_bytes >= used.base_memory_bytes > 0
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_killed_worker_is_reported_with_its_signal(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """SIGKILL between two commands becomes `WorkerDied` that names the signal."""
    with WorkerSession(session_job(network, rows, serving), tmp_path) as session:
        os.kill(session.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="SIGKILL"):
            session.burst(1, 1)


def test_a_crash_in_native_code_shows_the_last_lines(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path, plugins: Path
) -> None:
    """A crash while applying becomes `WorkerDied` with the signal and the end of the log."""
    job = apply_job(network, rows, serving, Step("crashing"), tmp_path)
    with pytest.raises(WorkerDied, match=r"SIGSEGV[\s\S]*about to end"):
        run_apply(job)


PARENT = """
import sys
from pathlib import Path
from jettison.domain.jobs import SessionJob
from jettison.domain.record import from_json
from jettison.worker_client import WorkerSession

session = WorkerSession(from_json(SessionJob, Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
print(session.pid, flush=True)
session.burst(8, 1_000_000)
"""


def test_no_worker_outlives_its_parent(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """When the parent is killed in the middle of a burst, the worker ends too."""
    job = tmp_path / "job.json"
    job.write_text(to_json(session_job(network, rows, serving)))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(job), str(tmp_path / "logs")], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    # Raises TimeoutExpired, and so fails, if the worker lives on.
    worker.wait(timeout=60)
    assert not worker.is_running()


def test_noise_on_standard_output_does_not_reach_the_protocol(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path, plugins: Path
) -> None:
    """A library that prints, writes to descriptor 1, or starts a child that prints, is harmless."""
    job = session_job(network, rows, serving, Step("noisy"))
    with WorkerSession(job, tmp_path) as session:
        assert len(session.burst(1, 2).seconds) == 2


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (Step("raising", {"how": "ours"}), CandidateFailed, "no last layer"),
        (Step("raising", {"how": "theirs"}), CandidateFailed, "KeyError.*w3"),
        (Step("idle"), NothingChanged, "changed no operator"),
        (Step("forgetful"), CandidateFailed, r"declares adds=\['int8'\]"),
        (Step("wrong_conversion"), CandidateFailed, "answers differently"),
        (Step("no_such_step"), UnknownName, "no_such_step"),
    ],
)
def test_failures_come_back_as_the_same_class(
    step: Step,
    error: type[Exception],
    message: str,
    network: Model,
    rows: Rows,
    serving: ServingProfile,
    tmp_path: Path,
    plugins: Path,
) -> None:
    """What a step raises in the worker is raised again, with the worker's traceback as a note."""
    with pytest.raises(error, match=message) as caught:
        run_apply(apply_job(network, rows, serving, step, tmp_path))
    assert type(caught.value) is error
    assert "Traceback" in "".join(caught.value.__notes__)


def test_a_faithful_conversion_passes_and_reports_memory(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path, plugins: Path
) -> None:
    """A conversion that keeps the answers is accepted; peak and base memory are reported."""
    job = apply_job(network, rows, serving, Step("faithful_conversion"), tmp_path)
    answer = run_apply(job)
    assert answer.model.artifact.digest != network.artifact.digest
    assert answer.peak_memory_bytes >= answer.base_memory_bytes > 0


def test_a_model_that_cannot_be_loaded_says_why(
    make_network: Callable[..., Model], rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """A damaged file of the right size gives `CandidateFailed` with the runtime's reason."""
    model = make_network()
    model.artifact.path.write_bytes(b"\xff" * model.artifact.size_bytes)
    with pytest.raises(CandidateFailed, match="could not load"):
        WorkerSession(session_job(model, rows, serving), tmp_path / "logs")


@pytest.mark.parametrize(
    ("failure", "asked", "error"),
    [
        (Failure("OSError", "[Errno 28] No space left on device: 'm'"), "apply", UsageError),
        (Failure("OSError", "[Errno 30] Read-only file system: 'm'"), "load", UsageError),
        (Failure("OSError", "[Errno 27] File too large: 'm'"), "apply", UsageError),
        (Failure("OSError", "4096 requested and 12 written"), "profile", UsageError),
        (Failure("CandidateFailed", "save: No space left on device"), "apply", UsageError),
        (Failure("MemoryError", ""), "apply", CandidateFailed),
        (Failure("KeyError", "'x'"), "load", InternalError),
        (Failure("ModelError", "not a model"), "load", ModelError),
        (Failure("Exception", "shadowed name"), "apply", CandidateFailed),
    ],
)
def test_a_full_disk_stops_the_run_and_a_bad_candidate_does_not(
    failure: Failure, asked: str, error: type[Exception]
) -> None:
    """Only what no candidate can get round is an error of the whole request."""
    assert type(exception_of(failure, asked)) is error


def test_threads_come_from_the_serving_profile() -> None:
    """Numerical libraries read their thread counts before they are imported."""
    values = environment(ServingProfile(threads=3))
    assert values["OMP_NUM_THREADS"] == values["OPENBLAS_NUM_THREADS"] == "3"
    assert values["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment(ServingProfile(spinning=True))["OMP_WAIT_POLICY"] == "ACTIVE"


HOLDS_NOTHING = """
import resource, sys
from pathlib import Path
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.record import from_json
from jettison.domain.recipe import Recipe
from jettison.domain.splits import FittingData
from jettison import machine
from jettison.pipeline import apply, measure

job = from_json(SessionJob, Path(sys.argv[1]).read_bytes())
machine.describe_device()
before = machine.peak_memory_bytes()
work = Path(sys.argv[2])
apply.apply(job.model, Recipe((), job.runtime), FittingData(job.rows), work, job.serving)
with measure.Sessions(job.rows, job.serving, work / "workers") as workers:
    baseline = Variant("baseline", job.model, job.runtime)
    measure.score_rows(baseline, job.rows, workers, work / "o")
loaded = {"onnxruntime", "onnx", "torch", "sklearn"} & set(sys.modules)
print(sorted(loaded), machine.peak_memory_bytes() - before)
"""


def test_the_parent_holds_no_weights(
    make_network: Callable[..., Model], rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Applying and scoring a 42 MB model costs the parent no framework and little memory."""
    model = make_network(hidden=500_000)
    assert model.artifact.size_bytes > 40_000_000
    job = tmp_path / "job.json"
    job.write_text(to_json(session_job(model, rows, serving)))
    said = subprocess.run(
        [sys.executable, "-c", HOLDS_NOTHING, str(job), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    loaded, _, grown = said.rpartition(" ")
    assert loaded == "[]"
    assert int(grown) < 20_000_000


def test_closing_twice_is_harmless(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """A closed session can be closed again, and its process is gone."""
    session = WorkerSession(session_job(network, rows, serving), tmp_path)
    pid = session.pid
    session.close()
    session.close()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_an_end_by_a_signal_without_a_name_is_told(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Real-time signals have numbers only; the reason is a sentence all the same."""
    session = WorkerSession(session_job(network, rows, serving), tmp_path)
    os.kill(session.pid, 40)
    with pytest.raises(WorkerDied, match="signal 40"):
        session.burst(1, 1)
