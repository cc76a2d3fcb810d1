"""Rows without labels: searched, asked for on a page in a real browser, certified, verified."""

from __future__ import annotations

import csv
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jettison.assessment.label_files import Task, read_answers
from jettison.serving.labelling_page.asking import Desk, address, open_server
from tests.end_to_end.browser import Browser
from tests.end_to_end.conftest import Given, looks, record_of

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_a_person_labels_by_keyboard_stops_and_goes_on(tmp_path: Path) -> None:
    """Number keys answer, arrows go back, each answer is on disk, a new page knows them all."""
    rows = [Task(n, {"text": f"<i>text</i> {n}"}) for n in (8, 2, 5)]
    path = tmp_path / "answers.csv"
    with Browser(tmp_path) as browser:
        for typed in ("2", "1ArrowLeft2"):
            desk = Desk(rows, ("negative", "positive"), path)
            server = open_server(desk)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser.open(address(server, desk))
            browser.wait("document.querySelectorAll('#few button').length === 2")
            for key in (typed[:1], typed[1:-1], typed[-1:]) if len(typed) > 1 else (typed,):
                before = browser.value("document.getElementById('progress').textContent")
                for kind in ("keyDown", "keyUp"):
                    browser.call("Input.dispatchKeyEvent", type=kind, key=key)
                browser.wait(
                    "document.getElementById('progress').textContent !== " + json.dumps(before)
                )
            assert "<i>" in browser.value("document.getElementById('row').textContent")
            server.shutdown()
            server.server_close()
        assert read_answers(path, [8, 2, 5], complete=False) == {8: "positive", 2: "positive"}
        assert not browser.problems
        picture = browser.picture(tmp_path / "page.png")
        assert picture.stat().st_size > 5000


@pytest.mark.slow
def test_fast_and_held_keys_label_one_row(tmp_path: Path) -> None:
    """Keys pressed while an answer is on its way do nothing, and a key held down answers once."""
    rows = [Task(n, {"text": f"text {n}"}) for n in (8, 2, 5)]
    path = tmp_path / "answers.csv"
    desk = Desk(rows, ("negative", "positive"), path)
    server = open_server(desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Browser(tmp_path) as browser:
        browser.open(address(server, desk))
        browser.wait("document.querySelectorAll('#few button').length === 2")
        browser.value(
            "(() => { const real = window.fetch; window.fetch = (...given) => new Promise("
            "(done) => setTimeout(done, 300)).then(() => real(...given)); return 1; })()"
        )
        for key in ("2", "1", "ArrowRight"):
            browser.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        browser.wait("document.getElementById('progress').textContent.startsWith('Row 2')")
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="1", autoRepeat=True)
        browser.wait("new Promise((done) => setTimeout(() => done(true), 700))")
        told = browser.value("document.getElementById('progress').textContent")
    server.shutdown()
    server.server_close()
    assert told == "Row 2 of 3; 1 of 3 have a label."
    assert read_answers(path, [8, 2, 5], complete=False) == {8: "positive"}


def unlabelled(small: Given, folder: Path) -> tuple[Path, np.ndarray]:
    """The small network with some large weights, which int8 rounds badly, and rows in three files."""
    graph = onnx.load(small.model)
    for tensor in graph.graph.initializer:
        if tensor.name == "first":
            values = numpy_helper.to_array(tensor).copy()
            values[:, ::64] *= 6
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(graph, folder / "model.onnx")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 16)).astype(np.float32)
    label = rng.integers(0, 3, 2000)
    site = np.where(np.arange(2000) % 2 == 0, "north", "south")
    for name, rows in (("fitting", slice(0, 200)), ("selection", slice(200, 800))):
        np.savez(folder / f"{name}.npz", x=x[rows], label=label[rows], site=site[rows])
    np.savez(folder / "certification.npz", x=x[800:], site=site[800:])
    toml = folder / "jettison.toml"
    toml.write_text(
        """
output = "run"
ledger = "ledger"
model = { source = "model.onnx", task = "classification" }
search = { techniques = ["int8_dynamic"], runtimes = ["onnx_runtime"], minimise = ["size_bytes"], trials = 1 }
require = [{ metric = "accuracy", max_drop = 0.05, max_drop_group = 0.1 }]
[data]
fitting = "fitting.npz"
selection = "selection.npz"
certification = "certification.npz"
inputs = ["x"]
target = "label"
groups = ["site"]
"""
    )
    return toml, label[800:]


@pytest.mark.slow
def test_a_run_without_labels_is_certified(small: Given, tmp_path: Path, jettison: Command) -> None:
    """Search stops before the seal; one look; blind rows; bad answers refused; then a bundle."""
    toml, truth = unlabelled(small, tmp_path)
    searched = jettison("optimize", toml.name)
    assert searched.returncode == 4, searched.stdout + searched.stderr
    assert "jettison label" in record_of(tmp_path / "run").next_step
    assert looks(tmp_path / "ledger") == 0

    asked = jettison("label", "run")
    assert asked.returncode == 4, asked.stdout + asked.stderr
    assert looks(tmp_path / "ledger") == 1
    with open(tmp_path / "run" / "label" / "to_label.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert 0 < len(lines) < 400
    assert set(lines[0]) == {"row", "x", "label"}

    answers = tmp_path / "answers.csv"
    answers.write_text("row,label\n")
    refused = jettison("label", "run", "--answers", str(answers))
    assert refused.returncode == 2
    assert "without a label" in refused.stderr
    said = "".join(f"{line['row']},{truth[int(line['row'])]}\n" for line in lines)
    answers.write_text(f"row,label\n{said}")
    done = jettison("label", "run", "--answers", str(answers))
    assert done.returncode == 0, done.stdout + done.stderr
    record = record_of(tmp_path / "run")
    assert record.certificate.status == "certified"
    assert f"labelled {len(lines)}" in record.certificate.assumptions[-1]
    assert looks(tmp_path / "ledger") == 1
    assert jettison("verify", "run/release").returncode == 0

    again = jettison("label", "run", "--answers", str(answers))
    assert again.returncode == 4
    assert "have their certificate already" in again.stderr

    found = jettison("find", "run")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "selection rows" in found.stdout
    planned = jettison("plan-data", "run", "--json")
    assert json.loads(planned.stdout)[0]["parts"][0]["held"] == 1200
