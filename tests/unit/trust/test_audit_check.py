"""Whose word an audit counts: keys that were given, about this bundle, and nothing unsigned."""

from __future__ import annotations

from pathlib import Path

import pytest

from jettison.errors import CheckFailed
from jettison.trust.approvals import approvals_path, approve
from jettison.trust.audit import AUDIT, Trail
from jettison.trust.audit_check import audit
from jettison.trust.bundle_layout import read_manifest
from jettison.trust.signing import Signer, read_signer
from tests.keys import make_keys
from tests.serving_bundle import make_bundle


@pytest.fixture
def ada(tmp_path: Path) -> Signer:
    return read_signer(make_keys(tmp_path / "ada")[0])


@pytest.fixture
def run(tmp_path: Path, ada: Signer) -> Path:
    """A run with a bundle, and a trail signed by Ada."""
    make_bundle(tmp_path / "run" / "release")
    Trail(tmp_path / "run" / AUDIT, "Ada", ada).append("concluded", {"outcome": "improved"})
    return tmp_path / "run"


def test_only_the_keys_given_count(run: Path, tmp_path: Path, ada: Signer) -> None:
    """An approval by another key is named and not counted; nor is one of another bundle."""
    eve = read_signer(make_keys(tmp_path / "eve")[0])
    approve(run / "release", "Ada", ada)
    approve(run / "release", "Eve", eve)
    Trail(approvals_path(run / "release"), "Ada", ada).append("approved", {"bundle": "0" * 64})
    both = audit(run)
    assert any("2 lines of approvals of this bundle are whole" in line for line in both.lines)
    found = audit(run, [ada.public])
    assert any("1 lines of approvals" in line for line in found.lines)
    assert not any(eve.public[:12] in line for line in found.lines)
    assert f"signed by {eve.public[:12]}, not one of the keys given" in found.notes[0]
    assert "1 lines in release.approvals.jsonl are about another bundle" in found.notes[1]
    assert len(found.approvals) == 2


def test_an_unsigned_approval_is_a_fault(run: Path) -> None:
    """Anybody can write such a line."""
    digest = read_manifest(run / "release").digest
    Trail(approvals_path(run / "release"), "Ada").append("approved", {"bundle": digest})
    with pytest.raises(CheckFailed, match=r"line 1 .* is not signed"):
        audit(run)


def test_an_empty_trail_is_signed_by_nobody(run: Path, ada: Signer) -> None:
    """No line at all does not pass for lines that are all signed."""
    (run / AUDIT).write_text("")
    (run / "audit.head.json").unlink()
    with pytest.raises(CheckFailed, match="holds no line"):
        audit(run, [ada.public])
