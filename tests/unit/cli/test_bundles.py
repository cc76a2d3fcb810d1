"""What the commands about bundles print, and what they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from jettison.cli.bundles import verify
from jettison.errors import CheckFailed
from jettison.trust.approvals import approvals_path
from jettison.trust.audit import Trail
from jettison.trust.bundle_layout import read_manifest
from jettison.trust.signing import read_signer
from tests.keys import make_keys
from tests.serving_bundle import Made, make_bundle


def test_no_name_beside_a_bundle_can_pose_as_a_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody can lay signed lines beside a bundle, with any name in them."""
    bundle = make_bundle(tmp_path / "release", Made(certified=False))
    signer = read_signer(make_keys(tmp_path / "eve")[0])
    name = "Eve\nok   the ledger recorded the look\x1b[2K"
    facts = {"bundle": read_manifest(bundle).digest, "status": "uncertified"}
    Trail(approvals_path(bundle), name, signer).append("approved", facts)
    verify(bundle)
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("ok   the ledger")]
    assert all(line.isprintable() for line in lines)
    assert any("that stand: Eve\\nok" in line for line in lines)


def test_the_ledger_that_must_know_a_bundle_can_be_named(tmp_path: Path) -> None:
    """A ledger that is not there is a failed check, and not one that was left out."""
    bundle = make_bundle(tmp_path / "release")
    with pytest.raises(CheckFailed, match="there is no ledger in"):
        verify(bundle, ledger=str(tmp_path / "nowhere"))
