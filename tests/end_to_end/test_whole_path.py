"""The whole path on a real model, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jettison.domain.record import from_json
from jettison.domain.run import RunRecord
from tests.end_to_end.conftest import Command, Given, options

pytestmark = pytest.mark.slow


def record_of(folder: Path) -> RunRecord:
    """What the run wrote down."""
    return from_json(RunRecord, (folder / "run.json").read_bytes())


def test_a_model_goes_all_the_way(digits: Given, jettison: Command, tmp_path: Path) -> None:
    """One command gives an answer, a certified bundle, a card and a report; verify agrees."""
    done = jettison(*options(digits, tmp_path / "ledger", "--trials", "4"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    run = tmp_path / "jettison-run"
    record = record_of(run)
    assert record.outcome == "improved"
    assert record.certificate.status == "certified"
    assert {c.verdict for c in record.certificate.claims if c.gates} == {"held"}
    assert {c.group for c in record.certificate.claims} == {
        "overall",
        "site=north",
        "site=south",
    }
    release = run / "release"
    for name in ("README.md", "report.html", "recipe.toml", "certificate.json", "manifest.json"):
        assert (release / name).stat().st_size > 0
    assert "certified" in done.stdout
    checked = jettison("verify", str(release))
    assert checked.returncode == 0, checked.stderr
    digest = checked.stdout.split("bundle ")[-1].split(":")[0]
    assert jettison("verify", str(release), "--expect", digest).returncode == 0
    assert jettison("verify", str(release), "--expect", "0" * 64).returncode == 5
    model = next((release / "model").glob("*.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    assert jettison("verify", str(release)).returncode == 5

    again = jettison(*options(digits, tmp_path / "ledger", "--trials", "4", "--output", "second"))
    assert again.returncode == 4, again.stdout[-2000:] + again.stderr[-2000:]
    assert record_of(tmp_path / "second").certificate.status == "uncertified"
    assert "spent" in record_of(tmp_path / "second").certificate.reason


def test_the_seal_stays_closed_on_request(digits: Given, jettison: Command, tmp_path: Path) -> None:
    """With --no-certify the bundle is uncertified, exit 4, and no ledger entry is made."""
    done = jettison(*options(digits, tmp_path / "ledger", "--trials", "2", "--no-certify"))
    assert done.returncode == 4, done.stderr[-3000:]
    record = record_of(tmp_path / "jettison-run")
    assert record.certificate.status == "uncertified"
    assert record.certificate.ledger is None
    manifest = json.loads((tmp_path / "jettison-run/release/manifest.json").read_text())
    assert manifest["status"] == "uncertified"


def test_a_run_without_data_is_uncertified(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """Speed and size on made-up inputs; nothing about quality is claimed."""
    done = jettison("optimize", str(digits.model), "--trials", "2", "--minimise", "size_bytes")
    assert done.returncode == 4, done.stderr[-3000:]
    record = record_of(tmp_path / "jettison-run")
    assert record.data is None
    assert record.certificate.status == "uncertified"
    assert record.certificate.claims == ()


def test_agreement_is_certified_where_there_are_no_labels(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """Without a target, quality is agreement with the original, and it is called so."""
    done = jettison(
        "optimize",
        str(digits.model),
        "--data",
        str(digits.data),
        "--input",
        "Input3",
        "--max-drop",
        "0.02",
        "--minimise",
        "size_bytes",
        "--trials",
        "2",
        "--ledger",
        str(tmp_path / "ledger"),
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    claims = record_of(tmp_path / "jettison-run").certificate.claims
    assert [c.metric for c in claims] == ["agreement"]
    assert claims[0].grade == "A"


def test_kill_loses_at_most_the_running_trial(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """After kill -9 in the search the same command goes on; finished trials are not repeated."""
    words = options(digits, tmp_path / "ledger", "--trials", "4", "--no-certify")
    process = subprocess.Popen(
        [sys.executable, "-m", "jettison.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    trials = tmp_path / "jettison-run/work/search/trials"
    deadline = time.monotonic() + 400
    while len(list(trials.glob("*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    kept = {path.name: path.read_bytes() for path in trials.glob("*.json")}
    assert len(kept) >= 2
    done = jettison(*words)
    assert done.returncode == 4, done.stderr[-3000:]
    for name, content in kept.items():
        assert (trials / name).read_bytes() == content
    recipes = [str(t.recipe) for t in record_of(tmp_path / "jettison-run").trials]
    assert len(recipes) == 4
    assert len(set(recipes)) == 4


def test_interrupt_ends_tidily_and_keeps_the_seal(digits: Given, tmp_path: Path) -> None:
    """Ctrl-C in the search gives exit 4 and a report; the ledger has no look."""
    words = options(digits, tmp_path / "ledger", "--trials", "40")
    process = subprocess.Popen(
        [sys.executable, "-m", "jettison.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    trials = tmp_path / "jettison-run/work/search/trials"
    deadline = time.monotonic() + 400
    while not list(trials.glob("*.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 4, output[-3000:]
    record = record_of(tmp_path / "jettison-run")
    assert record.outcome == "interrupted"
    assert record.certificate.ledger is None
    assert not (tmp_path / "jettison-run/release").exists()
    assert not list((tmp_path / "ledger").rglob("*.jsonl"))


def test_two_runs_in_one_folder_are_refused(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """The second run ends at once with exit 2 and says what holds the folder."""
    words = options(digits, tmp_path / "ledger", "--trials", "3", "--no-certify")
    first = subprocess.Popen(
        [sys.executable, "-m", "jettison.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 100
        while not (tmp_path / "jettison-run/run.log").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = jettison(*words)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert "another jettison run is using" in second.stderr


def test_a_folder_with_another_search_is_refused(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """Trials of another serving profile don't apply; the message says what differs."""
    words = options(digits, tmp_path / "ledger", "--trials", "1", "--no-certify")
    assert jettison(*words).returncode in (3, 4)
    other = jettison(*words, "--batch-size", "1", "--batch-size", "4")
    assert other.returncode == 2, other.stderr[-2000:]
    assert "another serving profile" in other.stderr
