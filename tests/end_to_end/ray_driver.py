"""Runs the exported app on a Ray cluster of this machine; prints JSON. Its folder is the first word.

A process of its own: Ray keeps threads, and leaves its cluster when the process ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import ray
from ray import serve


def asked(url: str, body: bytes | None = None) -> tuple[int, str, Any]:
    """Status, the replica that answered, and the JSON answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["x-replica"], json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("x-replica", ""), json.loads(error.read() or b"{}")


def main(folder: Path, name: str, port: int, row: list[float]) -> dict[str, Any]:
    """Starts the app, asks it, and stops it."""
    sys.path.insert(0, str(folder))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    import serve_app  # type: ignore[import-not-found]

    serve.run(serve_app.app, name="app", route_prefix="/")
    address = f"http://127.0.0.1:{port}"
    status = serve.status().applications["app"].deployments[name]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(row)], "data": row}]}
    url = f"{address}/v2/models/{name}"
    answers = [asked(f"{url}/infer", json.dumps(body).encode()) for _ in range(60)]
    words = [sys.executable, "check_answers.py", address, name, "--probes", "bundle/probes.npz"]
    check = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    told = {
        "states": dict(status.replica_states),
        "codes": sorted({code for code, _, _ in answers}),
        "replicas": sorted({replica for _, replica, _ in answers}),
        "answer": answers[0][2],
        "same": all(answer["outputs"] == answers[0][2]["outputs"] for _, _, answer in answers),
        "metadata": asked(url)[2],
        "ready": asked(f"{address}/v2/health/ready")[0],
        "malformed": asked(f"{url}/infer", b"{")[0],
        "unknown": asked(f"{address}/v2/models/nobody/infer", json.dumps(body).encode())[0],
        "check": check.stdout + check.stderr,
    }
    serve.shutdown()
    ray.shutdown()
    return told


if __name__ == "__main__":
    place, model, number, values = sys.argv[1:]
    print(json.dumps(main(Path(place), model, int(number), json.loads(values))))
