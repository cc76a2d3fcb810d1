"""Approvals: only a key's own word counts, for one bundle, until it is taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jettison.errors import CheckFailed, UsageError
from jettison.pipeline.verify import verify
from jettison.trust.approvals import (
    approval_problems,
    approvals,
    approvals_path,
    approve,
    require_approval,
    sheet_path,
    withdraw,
)
from jettison.trust.bundle_layout import read_manifest
from jettison.trust.signing import read_signer
from tests.keys import make_keys
from tests.serving_bundle import Made, make_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "release")


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy to sign off."""
    return Path(shutil.copytree(made, tmp_path / "release"))


def test_an_approval_counts_until_it_is_taken_back(bundle: Path, tmp_path: Path) -> None:
    """The bundle is unchanged; the key's last word counts, and no other key's."""
    signer = read_signer(make_keys(tmp_path / "ada")[0])
    other = read_signer(make_keys(tmp_path / "eve")[0])
    digest = read_manifest(bundle).digest
    with pytest.raises(CheckFailed, match="not approved"):
        require_approval(bundle, digest, [signer.public])
    event = approve(bundle, "Ada Lovelace", signer, "read the report")
    assert event.facts["bundle"] == digest == read_manifest(bundle).digest
    assert [e.who for e in approvals(bundle, digest, [signer.public])] == ["Ada Lovelace"]
    require_approval(bundle, digest, [other.public, signer.public])
    for keys in ([], [other.public], [""]):
        with pytest.raises(CheckFailed, match="not approved"):
            require_approval(bundle, digest, keys)
    with pytest.raises(UsageError, match="has not approved"):
        withdraw(bundle, "Eve", other)
    withdraw(bundle, "Ada Lovelace", signer, "found a fault")
    with pytest.raises(CheckFailed, match="not approved"):
        require_approval(bundle, digest, [signer.public])


def test_an_approval_is_of_one_bundle(bundle: Path, tmp_path: Path) -> None:
    """Another bundle in the same place is not approved by what was said of the first."""
    signer = read_signer(make_keys(tmp_path)[0])
    approve(bundle, "Ada", signer)
    shutil.rmtree(bundle)
    make_bundle(bundle, Made(seed=5))
    with pytest.raises(CheckFailed, match="not approved"):
        require_approval(bundle, read_manifest(bundle).digest, [signer.public])


def test_a_forged_approval_shows(bundle: Path, tmp_path: Path) -> None:
    """An edited line is refused, and so is a bundle that was changed."""
    signer = read_signer(make_keys(tmp_path)[0])
    digest = read_manifest(bundle).digest
    approve(bundle, "Ada", signer)
    path = approvals_path(bundle)
    path.write_text(path.read_text().replace("Ada", "Eve"))
    with pytest.raises(CheckFailed, match=r"line 1 .* was changed"):
        require_approval(bundle, digest, [signer.public])
    (bundle / "README.md").write_text("better")
    with pytest.raises(CheckFailed, match=r"README.md was changed"):
        approve(bundle, "Ada", signer)


def test_an_uncertified_bundle_is_approved_on_purpose_only(tmp_path: Path) -> None:
    """The word of a person is no certificate; they say that they know."""
    bundle = make_bundle(tmp_path / "release", Made(certified=False))
    signer = read_signer(make_keys(tmp_path)[0])
    with pytest.raises(UsageError, match="--allow-uncertified"):
        approve(bundle, "Ada", signer)
    with pytest.raises(UsageError, match="name of a person"):
        approve(bundle, " ", signer, uncertified=True)
    with pytest.raises(UsageError, match="can't be printed"):
        approve(bundle, "Ada\n   2  Eve", signer, uncertified=True)
    assert approve(bundle, "Ada", signer, uncertified=True).facts["status"] == "uncertified"


def test_the_sheet_says_what_the_signed_lines_say(bundle: Path, tmp_path: Path) -> None:
    """Each approval and withdrawal renews it; a changed or orphaned sheet is a fault of the bundle."""
    ada, eve = (read_signer(make_keys(tmp_path / who)[0]) for who in ("ada", "eve"))
    digest = read_manifest(bundle).digest
    assert approval_problems(bundle, digest) == ([], [])
    approve(bundle, "Ada <b>", ada, "read | it")
    sheet = sheet_path(bundle)
    told = sheet.read_text()
    assert "Approved by **Ada &lt;b&gt;**." in told
    assert "read \\| it" in told
    assert sheet.name in (bundle / "README.md").read_text()
    approve(bundle, "Eve", eve)
    withdraw(bundle, "Ada", ada)
    assert "Approved by **Eve**." in sheet.read_text()
    assert "took the approval back" in sheet.read_text()
    checks, problems = approval_problems(bundle, digest)
    assert not problems
    assert f"that stand: Eve (key {eve.public[:12]})" in checks[0]
    # Signed lines about another bundle don't make its sheet a fault of this one.
    assert "is about another bundle" in approval_problems(bundle, "0" * 64)[0][0]
    sheet.write_text(sheet.read_text().replace("Eve", "Bob"))
    assert "does not say what the signed lines" in approval_problems(bundle, digest)[1][0]
    with pytest.raises(CheckFailed, match="does not say what the signed lines"):
        verify(bundle)
    approvals_path(bundle).unlink()
    assert "is not there" in approval_problems(bundle, digest)[1][0]


def test_a_sheet_that_is_no_text_is_a_fault_and_no_crash(bundle: Path, tmp_path: Path) -> None:
    """Saved by an editor in another encoding, say."""
    approve(bundle, "Ada", read_signer(make_keys(tmp_path)[0]))
    sheet_path(bundle).write_bytes(b"\xff\xfeA\0d\0a\0")
    _, problems = approval_problems(bundle, read_manifest(bundle).digest)
    assert "does not say what the signed lines" in problems[0]
