"""The image's own command, run in the exported folder: a real server with the certified answers."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from jettison.export.exporting import export
from tests.end_to_end.exported_servers import compare, environment, free_ports, running, wait_until
from tests.serving_bundle import Made, make_bundle
from tests.unit.export.dockerfiles import one, read_dockerfile


@pytest.mark.parametrize("kind", ["mlp", "text"])
def test_the_command_of_the_image_serves(kind: str, tmp_path: Path) -> None:
    """Health check, answers and SIGTERM hold for what `docker run` would start."""
    bundle = make_bundle(tmp_path / "release", Made(kind=kind))
    other = make_bundle(tmp_path / "other", Made(kind=kind, seed=9))
    wheel = tmp_path / "jettison-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    http, grpc = free_ports(2)
    given = [f"http_port={http}", f"grpc_port={grpc}", "access=open", f"wheel={wheel}"]
    out = tmp_path / "out"
    export("docker", bundle, out, name="reviews", given=given)
    read = read_dockerfile((out / "Dockerfile").read_text())
    pairs = (i.argument.partition("=") for i in read if i.name == "ENV")
    variables = environment(**{name: json.loads(value) for name, _, value in pairs})
    health = json.loads(one(read, "HEALTHCHECK").argument.partition("CMD ")[2])
    command = [*one(read, "ENTRYPOINT").words, *one(read, "CMD").words]
    with running(command, out, variables) as process:
        wait_until(health, process, out)
        address = f"http://127.0.0.1:{http}"
        code, told = compare(out, address, "reviews", out / "bundle" / "probes.npz")
        assert (code, told.strip()) == (0, "8 probes, 0 differences")
        # Answers of another model are told apart: the comparison can fail.
        code, told = compare(out, address, "reviews", other / "probes.npz")
        assert code == 1, told
        assert "differs by more than" in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
