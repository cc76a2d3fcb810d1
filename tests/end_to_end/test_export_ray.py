"""The exported Ray Serve app on a real Ray cluster: two replicas, one model, the same answers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.export.exporting import export
from jettison.pipeline.verify import open_for_serving
from jettison.worker.workbench import prepare
from tests.end_to_end.exported_servers import environment, free_ports
from tests.serving_bundle import make_bundle

DRIVER = Path(__file__).with_name("ray_driver.py")


def driven(folder: Path, name: str, row: list[float]) -> dict[str, Any]:
    """Runs the driver in a folder; gives what it printed last."""
    (port,) = free_ports(1)
    variables = environment(RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_LOG_TO_STDERR="0")
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(folder), name, str(port), json.dumps(row)],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_two_replicas_answer_as_the_engine_does(tmp_path: Path) -> None:
    """Both replicas answer protocol v2 with the outputs of the certified model; refusals hold."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("NO RAY: pip install 'jettison[ray]'; the exported Ray app did not run")
    bundle = make_bundle(tmp_path / "release")
    export("ray", bundle, tmp_path / "out", name="reviews", given=["replicas=2"])
    with np.load(bundle / "probes.npz") as probes:
        batch = {"x": probes["input.x"][:1]}
    told = driven(tmp_path / "out", "reviews", batch["x"][0].tolist())
    assert told["states"] == {"RUNNING": 2}
    assert told["codes"] == [200]
    assert len(told["replicas"]) == 2
    assert told["same"]
    served = open_for_serving(bundle).served
    expected = prepare(served.model, served.runtime, served.serving).run(batch)["scores"]
    (output,) = told["answer"]["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("scores", "FP32", [1, 4])
    np.testing.assert_allclose(output["data"], expected.reshape(-1), rtol=1e-6)
    assert told["metadata"]["name"] == "reviews"
    assert (told["ready"], told["malformed"], told["unknown"]) == (200, 400, 404)
    assert told["check"].strip() == "64 probes, 0 differences"


def test_the_app_is_the_file_that_is_checked_here(tmp_path: Path) -> None:
    """What is exported is a file of jettison, word for word, and its settings as data."""
    from jettison.export import ray_serve

    bundle = make_bundle(tmp_path / "release")
    given = ["replicas=3", "key_file=/etc/key", "max_ongoing_requests=8"]
    export("ray", bundle, tmp_path / "out", name="reviews", given=given)
    assert (tmp_path / "out" / "serve_app.py").read_bytes() == ray_serve.APP.read_bytes()
    settings = json.loads((tmp_path / "out" / "serve.json").read_text())
    assert settings == {
        "name": "reviews",
        "digest": open_for_serving(bundle).digest,
        "threads": 1,
        "allow_uncertified": False,
        "replicas": 3,
        "max_ongoing_requests": 8,
        "key_file": "/etc/key",
    }
    required = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    assert required[0].removeprefix("# ").startswith("jettison[serve,ray]")
    assert any(line.startswith("onnxruntime==") for line in required)
