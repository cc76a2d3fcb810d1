"""OpenVINO and NNCF tell nobody: no connection, and no file in the home folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.worker_client import QUIET, environment

IMPORT = "import openvino"
QUANTIZE = """
import numpy as np
from pathlib import Path
from jettison.graphs.openvino_quantize import Rounding, compress, quantize
from jettison.graphs.openvino_ir import import_openvino, write_ir
openvino = import_openvino()
from openvino import opset13
x = opset13.parameter([-1, 8], np.float32)
y = opset13.matmul(x, opset13.constant(np.eye(8, dtype=np.float32)), False, False)
graph = openvino.Model([y], [x], "tiny")
x.output(0).get_tensor().set_names({"x"})
rounding = Rounding(True, "off", "all", False, 1)
write_ir(quantize(graph, [{"x": np.ones((1, 8), np.float32)}], rounding), Path("made"))
compress(graph, 8, 0)
"""


class Listener:
    """A proxy on the loopback that counts who asks it for the world outside, and hangs up."""

    def __init__(self) -> None:
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A proxy that all traffic of a child would go through."""
    made = Listener()
    yield made
    made.close()


def run(code: str, home: Path, listener: Listener, values: dict[str, str]) -> list[str]:
    """Runs code in a process with an empty home folder; gives the files that it left there."""
    home.mkdir()
    proxy = f"http://127.0.0.1:{listener.port}"
    child = {**values, "HOME": str(home), "http_proxy": proxy, "https_proxy": proxy}
    child.pop("no_proxy", None)
    work = home.with_name("work")
    work.mkdir()
    subprocess.run(
        [sys.executable, "-c", code], env=child, cwd=work, check=True, capture_output=True
    )
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


def loud() -> dict[str, str]:
    """The environment of a user: none of our switches, and no build server."""
    hushed = {*QUIET, "CI", "TF_BUILD"}
    return {name: value for name, value in os.environ.items() if name not in hushed}


def test_openvino_by_itself_reports_its_import(listener: Listener, tmp_path: Path) -> None:
    """What the other tests rule out does happen without our switches (or they could not fail)."""
    left = run(IMPORT, tmp_path / "home", listener, loud())
    assert listener.asked > 0
    assert any("openvino" in name for name in left), left


def test_a_worker_imports_it_in_silence(listener: Listener, tmp_path: Path) -> None:
    """The environment of workers and servers is enough, before any code of ours runs."""
    left = run(IMPORT, tmp_path / "home", listener, environment(None))
    assert (listener.asked, left) == (0, [])


def test_quantizing_is_silent_without_the_environment(listener: Listener, tmp_path: Path) -> None:
    """A user's own process that opens our models tells nobody either: NNCF with it."""
    left = run(QUANTIZE, tmp_path / "home", listener, loud())
    assert listener.asked == 0
    assert [name for name in left if "openvino" in name or "nncf" in name or "intel" in name] == []
