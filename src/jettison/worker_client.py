"""Starts worker processes, asks them, and ends them. The parent holds no weights.

Each worker has its own process group, a log file for everything it prints, and an environment
that fixes the threads of numerical libraries before they are imported.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, TypeVar

from jettison.domain.device import ServingProfile
from jettison.domain.files import write_atomically
from jettison.domain.jobs import (
    ApplyAnswer,
    ApplyJob,
    AttributeAnswer,
    AttributeJob,
    Burst,
    Failure,
    LoadJob,
    ProfileAnswer,
    ProfileJob,
    RatesJob,
    Ready,
    Resources,
    Scored,
    SessionJob,
)
from jettison.domain.model import Model
from jettison.domain.rates import Rates
from jettison.domain.record import from_json, to_json, to_plain
from jettison.domain.rows import Rows
from jettison.domain.worker_failures import exception_of, nowhere_to_write
from jettison.errors import (
    InternalError,
    UsageError,
    WorkerDied,
)

LONGEST_ANSWER_SECONDS = 3600.0
GRACE_SECONDS = 5.0
TAIL_LINES = 15
LEAST_SPACE = 1 << 16
"""Bytes: a worker that ends without a word on a disk with less than this had nowhere to say it."""

PIECE = 65536

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)

T = TypeVar("T")

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    # The official builds of ONNX Runtime send events to Microsoft unless this is set before import.
    "ORT_DISABLE_TELEMETRY": "1",
    # OpenVINO and NNCF send events to Google from their first import on, and write into the home
    # folder. Their only switch in the environment is that of a build server: of the names that
    # they look for, this one is read by nothing else here.
    "JENKINS_URL": "jettison",
    "NNCF_CI": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Keeps libraries from the network and from telling anybody; set before they are imported."""


def environment(serving: ServingProfile | None) -> dict[str, str]:
    """Gives the environment of a worker: threads fixed, no network, no telemetry, no hash seed."""
    values = dict(os.environ)
    values.update(QUIET, PYTHONHASHSEED="0", PYTHONUNBUFFERED="1")
    if serving is not None:
        values.update({name: str(serving.threads) for name in THREAD_VARIABLES})
        values["OMP_WAIT_POLICY"] = "ACTIVE" if serving.spinning else "PASSIVE"
    return values


def run_load(job: LoadJob) -> Model:
    """Loads a source in a worker."""
    return _one_shot("load", job, None, Model)


def run_apply(job: ApplyJob) -> ApplyAnswer:
    """Applies one step in a worker.

    Raises:
        CandidateFailed: if the step can't be applied, or its plug-in failed.
        WorkerDied: if the worker ended without an answer.
    """
    return _one_shot("apply", job, job.serving, ApplyAnswer)


def run_profile(job: ProfileJob) -> ProfileAnswer:
    """Times the stages and layers of a model in a worker."""
    return _one_shot("profile", job, job.serving, ProfileAnswer)


def run_rates(job: RatesJob) -> Rates:
    """Measures in a worker how fast this machine reads and multiplies."""
    return _one_shot("rates", job, ServingProfile(threads=job.threads), Rates)


def run_attribute(job: AttributeJob) -> AttributeAnswer:
    """Attributes answers to inputs by gradients in a worker.

    Raises:
        CandidateFailed: if the runtime or the model has no gradients to ask for; says why.
        MissingDependency: if a package is missing.
    """
    return _one_shot("attribute", job, job.serving, AttributeAnswer)


def _one_shot(
    kind: Literal["load", "apply", "profile", "attribute", "rates"],
    job: LoadJob | ApplyJob | ProfileJob | AttributeJob | RatesJob,
    serving: ServingProfile | None,
    answer_type: type[T],
) -> T:
    # Beside a step's result, so that whoever clears up after a killed run clears this up too.
    beside = Path(job.folder).parent if isinstance(job, ApplyJob) else None
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"jettison-{kind}-", dir=beside) as place:
        folder = Path(place)
        write_atomically(folder / "job.json", to_json(job))
        answer = folder / "answer.json"
        process = _Process([kind, str(folder / "job.json"), str(answer)], folder, serving)
        try:
            code = process.wait(LONGEST_ANSWER_SECONDS)
            text = answer.read_bytes() if answer.exists() else b""
            if code == 0 and text:
                return from_json(answer_type, text)
            if text:
                raise exception_of(from_json(Failure, text), kind)
            raise process.died(f"{kind} worker")
        finally:
            process.kill()


class _Process:
    """One worker process with its log; it ends when its standard input closes."""

    def __init__(self, arguments: list[str], folder: Path, serving: ServingProfile | None) -> None:
        self.log = folder / "worker.log"
        with open(self.log, "wb") as log:
            # -P: the current folder must not shadow installed packages.
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "jettison.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(serving)
                # What torch.compile makes is shared by the workers of a stage, in the run's folder.
                | {"TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "torch-compile")},
                process_group=0,
            )

    @property
    def input(self) -> IO[bytes]:
        if self.popen.stdin is None:
            raise InternalError("the worker has no input pipe")
        return self.popen.stdin

    @property
    def output(self) -> IO[bytes]:
        if self.popen.stdout is None:
            raise InternalError("the worker has no output pipe")
        return self.popen.stdout

    def wait(self, seconds: float) -> int:
        """Waits for the end.

        Raises:
            WorkerDied: if it takes longer; the worker is killed.
        """
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise WorkerDied(
                f"the worker gave no answer in {seconds:.0f} s and was ended"
            ) from error

    def kill(self) -> None:
        """Ends the worker and whatever it started; safe to call again."""
        # What is gone already needs no end; unsent bytes of a command need no reader.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def died(self, who: str) -> WorkerDied | UsageError:
        """Describes an end without an answer: exit code or signal, and the end of the log.

        A full disk takes neither an answer nor a log, and it stops the whole run.
        """
        code = self.popen.wait()
        how = f"exit code {code}"
        if code < 0:
            # Real-time signals have numbers without names.
            named = {int(one): one.name for one in signal.Signals}
            how = f"signal {named.get(-code, -code)}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        full = shutil.disk_usage(self.log.parent).free < LEAST_SPACE
        if full or nowhere_to_write("\n".join(tail)):
            return UsageError(
                f"the {who} could not write in {self.log.parent}: "
                f"{os.strerror(errno.ENOSPC) if full else tail[-1]}; free some space, or choose "
                "another output folder"
            )
        said = "\n".join(f"    {line}" for line in tail) or "    (nothing)"
        return WorkerDied(
            f"the {who} ended without an answer: {how}{hint}; its last lines:\n{said}"
        )


class WorkerSession:
    """A worker that holds one prepared model and waits for its turn. A context manager.

    Args:
        job: what to serve, and how.
        folder: where the worker's job and log go while it runs.

    Raises:
        CandidateFailed: if the model can't be loaded or run.
        WorkerDied: if the process ended without an answer.
    """

    def __init__(self, job: SessionJob, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        self._name = job.runtime.name
        self._pending = b""
        write_atomically(self._folder / "job.json", to_json(job))
        self._process = _Process(
            ["session", str(self._folder / "job.json")], self._folder, job.serving
        )
        self._closed = False
        try:
            self._ready = self._read(Ready, "load")
        except BaseException:
            self._end()
            raise

    @property
    def ready(self) -> Ready:
        """Load and first-call times, base memory, batch dependence."""
        return self._ready

    @property
    def closed(self) -> bool:
        """Whether it has ended; a worker that failed once is ended."""
        return self._closed

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.popen.pid

    def burst(self, batch_size: int, calls: int, length: int = 0) -> Burst:
        """One discarded call of `batch_size` rows, then `calls` timed ones.

        Args:
            batch_size: rows of a call.
            calls: timed ones.
            length: that ragged rows are brought to; 0 takes them as they come.
        """
        return self._ask(Burst, command="burst", batch_size=batch_size, calls=calls, length=length)

    def rewind(self) -> None:
        """Lets bursts begin with the first batches again, as those of a new session do."""
        self._ask(Resources, command="rewind")

    def score(self, rows: Rows, folder: Path, batch_size: int) -> Scored:
        """Answers all rows into `.npy` files in `folder`, `batch_size` rows at a time."""
        return self._ask(
            Scored, command="score", rows=to_plain(rows), folder=str(folder), batch_size=batch_size
        )

    def resources(self) -> Resources:
        """Peak memory and CPU time so far."""
        return self._ask(Resources, command="resources")

    def close(self) -> None:
        """Asks the worker to end, and ends it if it does not; safe to call again."""
        if self._closed:
            return
        try:
            self._send({"command": "quit"})
            self._process.popen.wait(GRACE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass  # It is gone, or it is busy: it is ended below.
        finally:
            self._end()

    def __enter__(self) -> WorkerSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._process.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, answer_type: type[T], **request: Any) -> T:
        if self._closed:
            raise InternalError("this worker session is closed")
        # A worker that is gone may have left a failure in the pipe: it is read below.
        with contextlib.suppress(BrokenPipeError):
            self._send(request)
        return self._read(answer_type, str(request["command"]))

    def _send(self, request: dict[str, Any]) -> None:
        self._process.input.write(json.dumps(request).encode() + b"\n")
        self._process.input.flush()

    def _read(self, answer_type: type[T], asked: str) -> T:
        line = self._line()
        if not line:
            died = self._process.died(f"worker on `{self._name}`")
            self._end()
            raise died
        message = json.loads(line)
        if "failure" in message:
            self._end()
            what = f"`{self._name}` ({asked})" if asked != "load" else f"loading on `{self._name}`"
            raise exception_of(from_json(Failure, json.dumps(message["failure"])), what)
        return from_json(answer_type, json.dumps(message["answer"]))

    def _line(self) -> bytes:
        """Reads one protocol line; empty when the worker closed its pipe."""
        deadline = time.monotonic() + LONGEST_ANSWER_SECONDS
        descriptor = self._process.output.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._end()
                    raise WorkerDied(
                        f"the worker on `{self._name}` gave no answer in "
                        f"{LONGEST_ANSWER_SECONDS:.0f} s and was ended"
                    )
                piece = os.read(descriptor, PIECE)
                if not piece:
                    return b""
                self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return line
