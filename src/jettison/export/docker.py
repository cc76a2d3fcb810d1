"""The export `docker`: a folder from which `docker build` makes an image that serves the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from jettison.domain.exports import ExportJob, ExportSetting
from jettison.errors import UsageError
from jettison.export import pins
from jettison.export.bundle_copy import copy_bundle, copy_check, standing
from jettison.export.serve_command import (
    ACCESS,
    READY,
    image_tag,
    serve_arguments,
    thread_variables,
)
from jettison.trust.bundle_layout import PROBES

BUNDLE = "bundle"
HOME = "/srv"
KEY_FILE = "/run/secrets/jettison-key"
USER = 10001
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

HEALTH = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}{path}', timeout=2)"
"""Fails unless the answer is 2xx; the image has no curl."""


class Docker:
    """A Dockerfile with pinned versions, the bundle, and nothing else in its context."""

    name: ClassVar[str] = "docker"
    requires: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[Mapping[str, ExportSetting]] = {
        "access": ACCESS,
        "http_port": ExportSetting(8080, "port of HTTP inside the container"),
        "grpc_port": ExportSetting(8081, "port of gRPC inside the container; 0: none", lowest=0),
        "base": ExportSetting(
            "", "base image; empty: python:X.Y-slim of the Python that certified the model"
        ),
        "wheel": ExportSetting("", "wheel of jettison to install; empty: from the package index"),
    }

    def write(self, job: ExportJob, folder: Path) -> tuple[str, ...]:
        """Writes Dockerfile, .dockerignore, requirements, constraints and a copy of the bundle."""
        jettison = _wheel(job, folder)
        copy_bundle(job, folder / BUNDLE)
        (folder / "requirements.txt").write_text(_requirements(job, jettison), "utf-8")
        (folder / "constraints.txt").write_text(_constraints(job), "utf-8")
        (folder / ".dockerignore").write_text(_ignored(), "utf-8")
        (folder / "Dockerfile").write_text(_dockerfile(job), "utf-8")
        return (*_steps(job), copy_check(job, folder, f"{BUNDLE}/{PROBES}"))


def _wheel(job: ExportJob, folder: Path) -> str:
    """The requirement that installs jettison; copies the wheel where one is given.

    Raises:
        UsageError: if no index has this jettison, or the wheel is none.
    """
    given, version = job.text("wheel"), metadata.version("jettison")
    if not given:
        if pins.origin() == "":
            return f"jettison[serve]=={version}"
        raise UsageError(
            f"this jettison was installed from {pins.origin()}, so no package index is known to "
            "have it: build a wheel (pip wheel --no-deps --wheel-dir wheels FOLDER_OF_JETTISON) "
            "and name it with --set wheel=wheels/FILE.whl"
        )
    path = Path(given)
    if path.suffix != ".whl" or not path.name.startswith("jettison-") or not path.is_file():
        raise UsageError(f"`wheel` must name a wheel file jettison-....whl; got {given}")
    (folder / "wheels").mkdir()
    shutil.copyfile(path, folder / "wheels" / path.name)
    return f"./wheels/{path.name}[serve]"


def _requirements(job: ExportJob, jettison: str) -> str:
    needed = pins.needed(job)
    index = [
        f"--extra-index-url {TORCH_INDEX}"
        for name, version in needed.items()
        if name == "torch" and version.endswith("+cpu")
    ]
    exact = [f"{name}=={version}" if version else name for name, version in needed.items()]
    return "\n".join([*index, jettison, *exact]) + "\n"


def _constraints(job: ExportJob) -> str:
    recorded, server = pins.recorded(job), pins.of_the_server()
    known = {pins.pip_name(name) for name in recorded}
    lines = ["# As recorded when the model was certified (run.json of the bundle)."]
    lines += [f"{name}=={version}" for name, version in recorded.items()]
    lines.append("# As installed where this was exported.")
    lines += [f"{name}=={version}" for name, version in server.items() if name not in known]
    return "\n".join(lines) + "\n"


def _ignored() -> str:
    """Nothing enters the image that is not named here."""
    kept = ("requirements.txt", "constraints.txt", f"{BUNDLE}/**", "wheels/**")
    return "\n".join(["*", *(f"!{name}" for name in kept)]) + "\n"


def _dockerfile(job: ExportJob) -> str:
    base = job.text("base") or f"python:{pins.python_version(job)}-slim"
    ports = (job.whole("http_port"), job.whole("grpc_port"))
    command = serve_arguments(job, BUNDLE, KEY_FILE, ports)
    check = HEALTH.format(port=ports[0], path=READY)
    wheels = ["COPY wheels/ wheels/"] if job.text("wheel") else []
    variables = {"PYTHONUNBUFFERED": "1", **thread_variables(job)}
    lines = [
        f"# {job.name}: jettison bundle {job.manifest.digest}",
        *(f"# {' '.join(sentence.split())}" for sentence in standing(job)),
        f"FROM {base}",
        *(f"LABEL {key}={json.dumps(value)}" for key, value in _labels(job).items()),
        *(f"ENV {key}={json.dumps(value)}" for key, value in variables.items()),
        f"WORKDIR {HOME}",
        f"RUN useradd --system --uid {USER} --home-dir {HOME} --shell /usr/sbin/nologin jettison",
        "COPY requirements.txt constraints.txt ./",
        *wheels,
        "RUN pip install --no-cache-dir --requirement requirements.txt --constraint constraints.txt",
        f"COPY --chown={USER}:{USER} {BUNDLE}/ {BUNDLE}/",
        f"USER {USER}:{USER}",
        f"EXPOSE {' '.join(str(port) for port in ports if port)}",
        "STOPSIGNAL SIGTERM",
        "HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \\",
        f"  CMD {_exec('python', '-c', check)}",
        f"ENTRYPOINT {_exec('jettison', 'serve')}",
        f"CMD {_exec(*command)}",
    ]
    return "\n".join(lines) + "\n"


def _labels(job: ExportJob) -> dict[str, str]:
    subject = job.certificate.subject
    return {
        "org.opencontainers.image.title": job.name,
        "org.opencontainers.image.created": job.manifest.created,
        "jettison.bundle.digest": f"sha256:{job.manifest.digest}",
        "jettison.certificate.status": job.certificate.status,
        "jettison.certificate.cpu-class": subject.cpu_class if subject else "",
    }


def _exec(*words: str) -> str:
    """The exec form: no shell stands between the container and the signal that stops it."""
    return json.dumps(words)


def _steps(job: ExportJob) -> tuple[str, ...]:
    tag = image_tag(job)
    http = job.whole("http_port")
    mount, first = "", tuple[str, ...]()
    if job.text("access") == "key":
        first = ("openssl rand -hex 32 > jettison-key && chmod 644 jettison-key",)
        mount = f" --volume $PWD/jettison-key:{KEY_FILE}:ro"
    return (
        f"docker build --tag {tag} <this folder>",
        *first,
        f"docker run --read-only --tmpfs /tmp --publish 127.0.0.1:{http}:{http}{mount} {tag}",
    )
