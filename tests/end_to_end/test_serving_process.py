"""`jettison serve` as a process: starting, refusing, swapping, draining, dying."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, aio
from tritonclient.utils import InferenceServerException

from tests.serving_bundle import FEATURES, Made, make_bundle
from tests.serving_process import ServeProcess, infer_body, metric, scores_of

KEY = "0123456789abcdef0123456789abcdef"
ROWS = np.random.default_rng(3).normal(size=(4, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions of one model, `first` and `second`, and one that is slow."""
    place = tmp_path_factory.mktemp("bundles")
    make_bundle(place / "first", Made(seed=0, loaded=True))
    make_bundle(place / "second", Made(seed=1))
    make_bundle(place / "slow", Made(seed=2, hidden=4096))
    make_bundle(place / "elsewhere", Made(seed=3, cpu_class="x86_64-avx512_vnni"))
    return place


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with a key."""
    path = tmp_path / "key"
    path.write_text(KEY)
    return path


def refused(place: Path, *words: str) -> tuple[int, str]:
    """Runs a server that is expected not to start; gives exit code and what it said."""
    with ServeProcess(place, *words, wait=False) as server:
        code = server.process.wait(60)
        return code, server.told


def answered_by(answers: Sequence[httpx.Response]) -> set[str]:
    """The versions that answered; all must be good."""
    assert {answer.status_code for answer in answers} == {200}
    return {str(answer.json()["model_version"]) for answer in answers}


async def reached(answers: Sequence[object], count: int) -> None:
    """Waits until there are so many answers."""
    async with asyncio.timeout(120):
        while len(answers) < count:
            await asyncio.sleep(0.01)


def test_from_a_bundle_to_an_answer(bundles: Path, tmp_path: Path) -> None:
    """One command; the line that says it is ready names the address, the version and its label."""
    with ServeProcess(tmp_path, str(bundles / "first"), "--name", "m") as server:
        (told,) = server.facts["models"]
        assert told["name"] == "m"
        assert told["label"] == "certified"
        line = server.told.splitlines()[0]
        assert line.startswith("jettison: ready at http://127.0.0.1:")
        assert f"m {told['version']} certified" in line
        answer = httpx.post(f"{server.url}/v2/models/m/infer", json=infer_body(ROWS))
        assert answered_by([answer]) == {told["version"]}
        assert scores_of(answer).shape == (4, 4)
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        with InferenceServerClient(server.facts["grpc"]) as client:
            assert client.is_model_ready("m", told["version"])
        assert [child.pid for child in server.family()] == [server.pid]
        assert server.end(signal.SIGTERM) == 0
        assert not server.ready_file.exists()
        assert "NaN" not in server.told
        # Logs say what happened, never what was in it.
        assert [line["event"] for line in server.logs if line["logger"].endswith("server")] == [
            "ready",
            "draining",
            "stopped",
        ]
        assert str(float(ROWS[0, 0]))[:6] not in server.told


def test_several_bundles(bundles: Path, tmp_path: Path) -> None:
    """`NAME=FOLDER` serves several at once."""
    words = [f"a={bundles / 'first'}", f"b={bundles / 'second'}", "--no-grpc"]
    with ServeProcess(tmp_path, *words) as server:
        answers = [
            httpx.post(f"{server.url}/v2/models/{name}/infer", json=infer_body(ROWS))
            for name in ("a", "b")
        ]
        assert len(answered_by(answers)) == 2
        assert not np.allclose(scores_of(answers[0]), scores_of(answers[1]), atol=1e-3)


async def nobody_listens(url: str) -> None:
    """Waits until nobody listens any more: the signal may reach the server after its last answer."""
    host, port = url.removeprefix("http://").split(":")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            return
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.sleep(0.05)
    pytest.fail("the server still listens a minute after SIGTERM")


def test_sigterm_answers_all_that_was_accepted(bundles: Path, tmp_path: Path) -> None:
    """200 requests in flight: each gets its answer, then the process ends with 0, and nothing is left."""
    rows = np.tile(ROWS, (32, 1))

    async def ask(url: str, server: ServeProcess) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=600.0) as client:
            asked = [
                asyncio.create_task(client.post(url, json=infer_body(rows))) for _ in range(200)
            ]
            while True:
                text = (await client.get(f"{server.url}/metrics")).text
                done = sum(task.done() for task in asked)
                # The scrape itself may or may not count.
                if metric(text, "jettison_in_flight") + done >= 200:
                    break
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*asked)
            await nobody_listens(server.url)
            return answers

    # So long a deadline that the queue takes all of them however slow the machine is just now.
    words = [f"m={bundles / 'slow'}", "--deadline-seconds", "600", "--max-batch-rows", "8"]
    with ServeProcess(tmp_path, *words) as server:
        family = server.family()
        answers = asyncio.run(ask(f"{server.url}/v2/models/m/infer", server))
        assert len(answered_by(answers)) == 1
        assert all(scores_of(answer).shape == (len(rows), 4) for answer in answers)
        assert server.process.wait(60) == 0
        assert not any(process.is_running() for process in family)


def test_sigterm_answers_all_that_was_accepted_over_grpc(bundles: Path, tmp_path: Path) -> None:
    """Calls in flight are answered; a call that comes later is told that nobody is there."""
    rows = np.tile(ROWS, (32, 1))

    async def ask(server: ServeProcess) -> list[np.ndarray]:
        tensor = aio.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        async with aio.InferenceServerClient(server.facts["grpc"]) as client:
            asked = [asyncio.create_task(client.infer("m", [tensor])) for _ in range(50)]
            async with httpx.AsyncClient() as looking:
                while True:
                    text = (await looking.get(f"{server.url}/metrics")).text
                    done = sum(task.done() for task in asked)
                    if metric(text, "jettison_in_flight") + done >= 50:
                        break
                    await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return [answer.as_numpy("scores") for answer in await asyncio.gather(*asked)]

    words = [f"m={bundles / 'slow'}", "--deadline-seconds", "600", "--max-batch-rows", "8"]
    with ServeProcess(tmp_path, *words) as server:
        answers = asyncio.run(ask(server))
        assert len(answers) == 50
        assert all(np.allclose(scores, answers[0], atol=1e-5) for scores in answers)
        assert server.process.wait(60) == 0
        with (
            InferenceServerClient(server.facts["grpc"]) as client,
            pytest.raises(InferenceServerException),
        ):
            client.is_server_live()


def test_sigterm_answers_on_connections_that_are_kept(bundles: Path, tmp_path: Path) -> None:
    """Callers that keep their connection get an answer to each request until it says `close`."""

    async def ask(url: str, told: list[int]) -> None:
        async with httpx.AsyncClient(timeout=30.0) as client:
            while True:
                try:
                    answer = await client.post(url, json=infer_body(ROWS))
                except httpx.ConnectError:
                    return  # The server listens no more; nothing was accepted.
                told.append(answer.status_code)

    async def run(server: ServeProcess) -> list[int]:
        told: list[int] = []
        url = f"{server.url}/v2/models/m/infer"
        callers = [asyncio.create_task(ask(url, told)) for _ in range(16)]
        await reached(told, 100)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        return told

    with ServeProcess(tmp_path, f"m={bundles / 'first'}", "--no-grpc") as server:
        told = asyncio.run(run(server))
        assert len(told) >= 100
        assert set(told) == {200}
        assert server.process.wait(60) == 0


def test_a_second_signal_ends_at_once(bundles: Path, tmp_path: Path) -> None:
    """Who doesn't want to wait for the drain sends the signal again."""
    with ServeProcess(tmp_path, f"m={bundles / 'first'}", "--no-grpc") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            head = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{"
            slow.sendall(head)
            time.sleep(0.2)
            server.process.send_signal(signal.SIGINT)
            until = time.monotonic() + 30
            while "draining" not in server.told and time.monotonic() < until:
                time.sleep(0.02)
            assert server.process.poll() is None
            assert server.end(signal.SIGINT) == -signal.SIGINT


def test_kill_leaves_nothing_behind(bundles: Path, tmp_path: Path) -> None:
    """After kill -9 there is no process, no temporary file, and the port can be taken at once."""
    with ServeProcess(tmp_path / "one", f"m={bundles / 'first'}", "--no-grpc") as server:
        family = server.family()
        port = server.url.rpartition(":")[2]
        with httpx.Client() as client:
            client.post(f"{server.url}/v2/models/m/infer", json=infer_body(ROWS))
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
    assert not any(psutil.pid_exists(process.pid) for process in family)
    assert list(server.temporary.iterdir()) == []
    words = [f"m={bundles / 'first'}", "--no-grpc", "--port", port]
    with ServeProcess(tmp_path / "two", *words) as again:
        answer = httpx.post(f"{again.url}/v2/models/m/infer", json=infer_body(ROWS))
        assert answer.status_code == 200


def test_hot_swap_under_load(bundles: Path, key_file: Path, tmp_path: Path) -> None:
    """Loads over the network while callers ask: no error, and the version label flips."""
    words = [f"m={bundles / 'first'}", "--no-grpc", "--key-file", str(key_file)]
    headers = {"authorization": f"Bearer {KEY}"}

    async def ask(url: str, stop: asyncio.Event, answers: list[httpx.Response]) -> None:
        async with httpx.AsyncClient(headers=headers, timeout=30.0) as client:
            while not stop.is_set():
                answers.append(await client.post(url, json=infer_body(ROWS)))

    async def run(server: ServeProcess) -> tuple[list[httpx.Response], httpx.Response, int]:
        answers: list[httpx.Response] = []
        stop = asyncio.Event()
        url = f"{server.url}/v2/models/m/infer"
        callers = [asyncio.create_task(ask(url, stop, answers)) for _ in range(8)]
        await reached(answers, 50)
        async with httpx.AsyncClient(timeout=60.0) as client:
            load = f"{server.url}/v2/repository/models/m/load"
            asked = {"parameters": {"folder": "second"}}
            refusal = await client.post(load, json=asked)
            assert refusal.status_code == 401
            loaded = await client.post(load, json=asked, headers=headers)
        place = len(answers)
        await reached(answers, place + 50)
        stop.set()
        await asyncio.gather(*callers)
        return answers, loaded, place

    with ServeProcess(tmp_path / "server", *words) as server:
        answers, loaded, place = asyncio.run(run(server))
        assert loaded.status_code == 200, loaded.text
        first, second = server.facts["models"][0]["version"], loaded.json()["version"]
        assert answered_by(answers) == {first, second}
        assert answered_by(answers[place + 8 :]) == {second}
        by_version = {
            version: [scores_of(a) for a in answers if a.json()["model_version"] == version]
            for version in (first, second)
        }
        for scores in by_version.values():
            assert all(np.allclose(one, scores[0], atol=1e-5) for one in scores)
        text = httpx.get(f"{server.url}/metrics", headers=headers).text
        assert metric(text, "jettison_model_info", version=second) == 1.0
        assert metric(text, "jettison_model_info", version=first) == 0.0
        for version, scores in by_version.items():
            counted = metric(text, "jettison_requests_total", version=version, code="200")
            assert counted == len(scores)


def test_shadow_and_canary_under_load(bundles: Path, tmp_path: Path) -> None:
    """The original answers too, unseen; a canary gets its share; nobody gets an error."""
    original = bundles / "first-parts" / "model" / "model.onnx"
    words = [
        f"m={bundles / 'first'}",
        "--no-grpc",
        "--canary",
        f"{bundles / 'second'}:0.3",
        "--original",
        str(original),
        "--shadow-share",
        "1.0",
    ]
    with ServeProcess(tmp_path, *words) as server:
        assert list(server.temporary.iterdir()) == []
        stable = server.facts["models"][0]["version"]
        n = 400
        with httpx.Client() as client:
            url = f"{server.url}/v2/models/m/infer"
            answers = [client.post(url, json=infer_body(ROWS)) for _ in range(n)]
            assert len(answered_by(answers)) == 2
            share = sum(a.json()["model_version"] != stable for a in answers) / n
            # Five standard deviations of a draw of 400.
            assert abs(share - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
            until = time.monotonic() + 30
            compared = 0.0
            while not compared and time.monotonic() < until:
                text = client.get(f"{server.url}/metrics").text
                compared = metric(text, "jettison_quality_agreement_rows", version=stable)
        assert compared > 0
        assert metric(text, "jettison_quality_shadow_requests", result="failed") == 0.0
        assert server.end(signal.SIGTERM) == 0


def test_a_certificate_of_another_machine(bundles: Path, tmp_path: Path) -> None:
    """Refused with exit code 5; on request served, and called uncertified wherever it shows."""
    folder = bundles / "elsewhere"
    code, told = refused(tmp_path / "refused", f"m={folder}")
    assert code == 5
    assert "avx512_vnni" in told
    assert "--allow-uncertified" in told
    assert "Traceback" not in told
    with ServeProcess(tmp_path / "allowed", f"m={folder}", "--allow-uncertified") as server:
        assert server.facts["models"][0]["label"].startswith("uncertified: ")
        assert "uncertified: " in server.told.splitlines()[0]
        warned = [line for line in server.logs if line["level"] == "warning"]
        assert any("uncertified" in str(line.get("label")) for line in warned)
        told = httpx.get(f"{server.url}/metrics").text
        assert metric(told, "jettison_model_info", certificate="uncertified") == 1.0
        assert "uncertified" in httpx.get(f"{server.url}/v2/models/m").text


def test_bundles_that_are_not_what_they_say(bundles: Path, tmp_path: Path) -> None:
    """A changed file and a half-written bundle end with 5, a missing folder with 2; no traceback."""
    changed = Path(shutil.copytree(bundles / "first", tmp_path / "changed"))
    with open(changed / "model" / "model.onnx", "ab") as file:
        file.write(b"\0")
    half = Path(shutil.copytree(bundles / "first", tmp_path / "half"))
    (half / "manifest.json").unlink()
    for folder, wanted, word in (
        (changed, 5, "model/model.onnx was changed"),
        (half, 5, "not a jettison bundle"),
        (tmp_path / "absent", 2, "there is no bundle at"),
    ):
        code, told = refused(tmp_path / f"server-{folder.name}", str(folder))
        assert code == wanted, told
        assert word in told
        assert "Traceback" not in told


def test_a_port_in_use(bundles: Path, tmp_path: Path) -> None:
    """HTTP and gRPC ports that are taken are told before anything is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for option in ("--port", "--grpc-port"):
            code, told = refused(tmp_path / option, f"m={bundles / 'first'}", option, port)
            assert code == 2
            assert f"port {port} on 127.0.0.1 is in use" in told
            assert option in told
            assert "Traceback" not in told


def test_not_open_to_others_by_accident(bundles: Path, tmp_path: Path) -> None:
    """Beyond loopback the server wants a key, or the word that none is wanted."""
    folder = str(bundles / "first")
    code, told = refused(tmp_path / "open", folder, "--host", "0.0.0.0")
    assert code == 2
    assert "--key-file" in told
    words = [f"m={folder}", "--host", "0.0.0.0", "--no-key", "--no-grpc"]
    with ServeProcess(tmp_path / "meant", *words) as server:
        port = server.url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200


def test_encrypted(bundles: Path, tmp_path: Path) -> None:
    """With a certificate and its key, the server speaks TLS and nothing else."""
    certificate, key = str(tmp_path / "server.pem"), str(tmp_path / "server.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    words = [f"m={bundles / 'first'}", "--no-grpc"]
    words += ["--tls-certificate", certificate, "--tls-key", key]
    with ServeProcess(tmp_path / "server", *words) as server:
        assert server.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=certificate)
        url = f"{server.url}/v2/models/m/infer"
        assert httpx.post(url, json=infer_body(ROWS), verify=trusting).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"))
        assert server.end(signal.SIGTERM) == 0


def test_a_signal_while_it_loads(bundles: Path, tmp_path: Path) -> None:
    """A server that is told to stop before it is ready stops, and leaves nothing behind."""
    with ServeProcess(tmp_path, f"m={bundles / 'slow'}", wait=False) as server:
        until = time.monotonic() + 60
        while time.monotonic() < until and not _listens(server.pid):
            time.sleep(0.01)
        assert server.end(signal.SIGTERM) == 0
        assert list(server.temporary.iterdir()) == []
        assert "Traceback" not in server.told


def _listens(pid: int) -> bool:
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN for one in connections)


def test_the_command_needs_its_extra(bundles: Path, tmp_path: Path) -> None:
    """Without a package of the extra, the message names what to install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, package=None: "
        "None if name == 'httptools' else find(name, package)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jettison", "serve", str(bundles / "first")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "httptools" in done.stderr
    assert "pip install 'jettison[serve]'" in done.stderr
