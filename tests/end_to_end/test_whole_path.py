"""The whole path on a real model, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Command, Given, looks, options, record_of

pytestmark = pytest.mark.slow


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

    refused = jettison(*options(digits, tmp_path / "ledger", "--trials", "4"))
    assert refused.returncode == 2, refused.stdout[-2000:] + refused.stderr[-2000:]
    assert "holds a certified bundle" in refused.stderr
    assert jettison("verify", str(release), "--expect", digest).returncode == 0

    model = next((release / "model").glob("*.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    assert jettison("verify", str(release)).returncode == 5

    again = jettison(*options(digits, tmp_path / "ledger", "--trials", "4", "--output", "second"))
    assert again.returncode == 4, again.stdout[-2000:] + again.stderr[-2000:]
    assert record_of(tmp_path / "second").certificate.status == "uncertified"
    assert "spent" in record_of(tmp_path / "second").certificate.reason


def test_the_seal_stays_closed_on_request(small: Given, jettison: Command, tmp_path: Path) -> None:
    """With --no-certify the bundle is uncertified, exit 4, and no ledger entry is made."""
    done = jettison(*options(small, tmp_path / "ledger", "--trials", "2", "--no-certify"))
    assert done.returncode == 4, done.stderr[-3000:]
    record = record_of(tmp_path / "jettison-run")
    assert record.certificate.status == "uncertified"
    assert record.certificate.ledger is None
    assert not looks(tmp_path / "ledger")
    manifest = json.loads((tmp_path / "jettison-run/release/manifest.json").read_text())
    assert manifest["status"] == "uncertified"


def test_a_run_without_data_is_uncertified(small: Given, jettison: Command, tmp_path: Path) -> None:
    """Speed and size on made-up inputs; nothing about quality is claimed."""
    done = jettison("optimize", str(small.model), "--trials", "2", "--minimise", "size_bytes")
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
        "--technique",
        "int8_static",
        "--trials",
        "2",
        "--ledger",
        str(tmp_path / "ledger"),
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    claims = record_of(tmp_path / "jettison-run").certificate.claims
    assert [c.metric for c in claims] == ["agreement"]
    assert claims[0].grade == "A"
