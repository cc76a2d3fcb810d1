"""The build folder: a Dockerfile that docker can read, pinned versions, and only what is needed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from jettison.domain.exports import ExportJob
from jettison.errors import UsageError
from jettison.export.docker import Docker
from jettison.trust.bundle_layout import differences, read_manifest
from tests.unit.export.conftest import job_of
from tests.unit.export.dockerfiles import Instruction, in_context, one, read_dockerfile

MakeJob = Callable[..., ExportJob]


def exported(job: ExportJob, folder: Path) -> list[Instruction]:
    """Writes an export and reads its Dockerfile."""
    folder.mkdir()
    Docker().write(job, folder)
    return read_dockerfile((folder / "Dockerfile").read_text())


def test_the_image_serves_as_one_process_without_rights(
    job: MakeJob, wheel: str, tmp_path: Path
) -> None:
    """Slim base of the certified Python, exec forms, SIGTERM, no root, a health check."""
    made = job(Docker(), wheel)
    read = exported(made, tmp_path / "out")
    python = ".".join(made.versions["python"].split(".")[:2])
    assert one(read, "FROM").argument == f"python:{python}-slim"
    assert one(read, "ENTRYPOINT").words == ["jettison", "serve"]
    command = one(read, "CMD").words
    assert command[0] == "reviews=bundle"
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert command[-2:] == ["--key-file", "/run/secrets/jettison-key"]
    assert one(read, "STOPSIGNAL").argument == "SIGTERM"
    assert one(read, "USER").argument == "10001:10001"
    assert one(read, "EXPOSE").argument == "8080 8081"
    names = [instruction.name for instruction in read]
    last_root = max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert names.index("USER") > last_root
    health = one(read, "HEALTHCHECK").argument
    assert "/v2/health/ready" in Instruction("CMD", health.partition("CMD ")[2]).words[2]
    labels = dict(i.argument.partition("=")[::2] for i in read if i.name == "LABEL")
    assert json.loads(labels["jettison.bundle.digest"]) == f"sha256:{made.manifest.digest}"
    assert json.loads(labels["jettison.certificate.status"]) == "certified"


def test_versions_are_those_of_the_certificate(job: MakeJob, wheel: str, tmp_path: Path) -> None:
    """The runtime is pinned; constraints hold every recorded version and the server's packages."""
    made = job(Docker(), wheel)
    exported(made, tmp_path / "out")
    required = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    assert required == [
        "./wheels/jettison-0.1.0-py3-none-any.whl[serve]",
        f"onnxruntime=={made.versions['onnxruntime']}",
    ]
    lines = (tmp_path / "out" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned["numpy"] == made.versions["numpy"]
    # Of the server, also what its packages bring with them.
    for name in ("uvicorn", "uvloop", "starlette", "pydantic-core", "grpcio"):
        assert pinned[name] == metadata.version(name)
    assert "jettison" not in pinned
    assert "python" not in pinned
    assert len(pinned) == len([line for line in lines if not line.startswith("#")])
    for name, version in pinned.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert re.fullmatch(r"[0-9][A-Za-z0-9.+!]*", version)


def test_the_context_holds_the_bundle_and_nothing_else(
    bundle: Path, job: MakeJob, wheel: str, tmp_path: Path
) -> None:
    """The copy is the bundle; a file that lies in the folder by chance is not sent."""
    made = job(Docker(), wheel)
    read = exported(made, tmp_path / "out")
    copy = tmp_path / "out" / "bundle"
    assert differences(copy, read_manifest(copy)) == []
    assert read_manifest(copy).digest == made.manifest.digest
    (tmp_path / "out" / "secret.env").write_text("KEY=1")
    sent = in_context(tmp_path / "out")
    assert {name for name in sent if name.startswith("bundle/")} == {
        f"bundle/{p.relative_to(bundle).as_posix()}" for p in bundle.rglob("*") if p.is_file()
    }
    others = {name for name in sent if not name.startswith("bundle/")}
    assert others == {
        "requirements.txt",
        "constraints.txt",
        "wheels/jettison-0.1.0-py3-none-any.whl",
    }
    for copied in (i for i in read if i.name == "COPY"):
        sources = [w for w in copied.argument.split()[:-1] if not w.startswith("--")]
        for source in sources:
            assert any(name == source or name.startswith(source) for name in sent)


def test_the_text_model_brings_its_tokenizer_package(
    text_bundle: Path, wheel: str, tmp_path: Path
) -> None:
    """The encoder's package is installed too, so that the server can take text."""
    made = job_of(text_bundle, Docker(), wheel)
    exported(made, tmp_path / "out")
    required = (tmp_path / "out" / "requirements.txt").read_text()
    assert f"tokenizers=={made.versions['tokenizers']}" in required


def test_a_cpu_build_of_torch_comes_from_its_own_index(
    job: MakeJob, wheel: str, tmp_path: Path
) -> None:
    """`2.13.0+cpu` is on no other index; the line that adds it is written."""
    made = job(Docker(), wheel)
    versions = {**made.versions, "torch": "2.13.0+cpu"}
    runtime = dataclasses.replace(made.runtime, name="torch_eager")
    exported(dataclasses.replace(made, runtime=runtime, versions=versions), tmp_path / "out")
    required = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    assert required[0] == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert "torch==2.13.0+cpu" in required


def test_a_jettison_that_no_index_has_needs_a_wheel(job: MakeJob, tmp_path: Path) -> None:
    """An editable install can't be installed elsewhere by its version; the message says how."""
    origin = metadata.distribution("jettison").read_text("direct_url.json")
    if origin is None:
        (tmp_path / "out").mkdir()
        Docker().write(job(Docker()), tmp_path / "out")
        wanted = f"jettison[serve]=={metadata.version('jettison')}"
        assert wanted in (tmp_path / "out" / "requirements.txt").read_text()
        return
    with pytest.raises(UsageError, match="build a wheel"):
        Docker().write(job(Docker()), tmp_path)


@pytest.mark.parametrize("given", ["wheel=setup.py", "wheel=other-1.0-py3-none-any.whl"])
def test_what_is_no_wheel_of_jettison_is_refused(job: MakeJob, given: str, tmp_path: Path) -> None:
    """Another file, or another package's wheel."""
    with pytest.raises(UsageError, match="must name a wheel file"):
        Docker().write(job(Docker(), given), tmp_path)


def test_ports_and_access_are_settings(job: MakeJob, wheel: str, tmp_path: Path) -> None:
    """Ports reach the command, EXPOSE and the health check; an open server needs the word."""
    made = job(Docker(), wheel, "http_port=9000", "grpc_port=0", "access=open", "base=debian:12")
    read = exported(made, tmp_path / "out")
    command = one(read, "CMD").words
    assert command[command.index("--port") + 1] == "9000"
    assert "--no-grpc" in command
    assert command[-1] == "--no-key"
    assert one(read, "EXPOSE").argument == "9000"
    assert ":9000/" in one(read, "HEALTHCHECK").argument
    assert one(read, "FROM").argument == "debian:12"


def test_an_uncertified_bundle_says_so(
    uncertified_bundle: Path, wheel: str, tmp_path: Path
) -> None:
    """In a label, in the first lines, and to the server."""
    read = exported(job_of(uncertified_bundle, Docker(), wheel), tmp_path / "out")
    assert one(read, "CMD").words[-1] == "--allow-uncertified"
    assert 'jettison.certificate.status="uncertified"' in [
        i.argument for i in read if i.name == "LABEL"
    ]
    assert "# UNCERTIFIED" in (tmp_path / "out" / "Dockerfile").read_text()


def test_a_reason_of_several_lines_stays_a_comment(
    job: MakeJob, wheel: str, tmp_path: Path
) -> None:
    """No text of a certificate becomes an instruction."""
    made = job(Docker(), wheel)
    certificate = dataclasses.replace(
        made.certificate, status="uncertified", reason="no rows\nRUN curl evil\n"
    )
    read = exported(dataclasses.replace(made, certificate=certificate), tmp_path / "out")
    assert not any("evil" in instruction.argument for instruction in read)
