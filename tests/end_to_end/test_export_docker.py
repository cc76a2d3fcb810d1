"""The image's own command, run in the exported folder: a real server with the certified answers."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from jettison.export.docker import KEY_FILE
from jettison.export.exporting import export
from tests.end_to_end.exported_servers import compare, environment, free_ports, running, wait_until
from tests.serving_bundle import Made, make_bundle
from tests.unit.export.dockerfiles import one, read_dockerfile


def altered(bundle: Path, folder: Path) -> Path:
    """The probes of a bundle with one answer of another model among them."""
    with np.load(bundle / "probes.npz") as stored:
        arrays = {name: stored[name] for name in stored}
    arrays["output.scores"][3] = arrays["output.scores"][3, ::-1]
    np.savez(folder / "altered.npz", **arrays)
    return folder / "altered.npz"


@pytest.mark.parametrize(("kind", "access"), [("mlp", "open"), ("text", "key")])
def test_the_command_of_the_image_serves(kind: str, access: str, tmp_path: Path) -> None:
    """Health check, key, answers and SIGTERM hold for what `docker run` would start."""
    bundle = make_bundle(tmp_path / "release", Made(kind=kind))
    wheel = tmp_path / "jettison-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    http, grpc = free_ports(2)
    given = [f"http_port={http}", f"grpc_port={grpc}", f"access={access}", f"wheel={wheel}"]
    out = tmp_path / "out"
    export("docker", bundle, out, name="reviews", given=given)
    read = read_dockerfile((out / "Dockerfile").read_text())
    pairs = (i.argument.partition("=") for i in read if i.name == "ENV")
    variables = environment(**{name: json.loads(value) for name, _, value in pairs})
    health = json.loads(one(read, "HEALTHCHECK").argument.partition("CMD ")[2])
    command = [*one(read, "ENTRYPOINT").words, *one(read, "CMD").words]
    # `docker run --volume` mounts the key there; nothing else of the command is changed.
    command = [str(key) if word == KEY_FILE else word for word in command]
    shown = ["--key-file", str(key)] if access == "key" else []
    with running(command, out, variables) as process:
        wait_until(health, process, out)
        address = f"http://127.0.0.1:{http}"
        probes = out / "bundle" / "probes.npz"
        code, told = compare(out, address, "reviews", probes, *shown)
        assert (code, told.strip()) == (0, "64 probes, 0 differences")
        code, told = compare(out, address, "reviews", altered(bundle, tmp_path), *shown)
        assert code == 1, told
        assert "probe 3: output `scores` differs by more than" in told
        assert "64 probes, 1 differences" in told
        if shown:
            code, told = compare(out, address, "reviews", probes)
            assert code != 0
            assert "401" in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
