"""The key of the account: made once, closed to others, the same from then on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jettison.domain.local_key import keyed_digest, state_folder
from jettison.errors import UsageError


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "jettison" / "local.key"


def test_digests_depend_on_key_purpose_and_text(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for this account, and different in each of the three."""
    first = keyed_digest("pseudonym", "patient 7")
    assert first == keyed_digest("pseudonym", "patient 7")
    assert key.stat().st_mode & 0o777 == 0o600
    others = {keyed_digest("pseudonym", "patient 8"), keyed_digest("noise", "patient 7")}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    others.add(keyed_digest("pseudonym", "patient 7"))
    assert len(others | {first}) == 4
    assert sorted(p.name for p in key.parent.iterdir()) == ["local.key"]


def test_a_key_that_others_may_read_or_that_is_cut_is_refused(key: Path) -> None:
    """The message says what to do."""
    keyed_digest("pseudonym", "x")
    key.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        keyed_digest("pseudonym", "x")
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(UsageError, match="5 bytes in place of 32"):
        keyed_digest("pseudonym", "x")


def test_a_part_left_by_a_killed_process_does_no_harm(key: Path) -> None:
    """Numbers of processes come again; names of parts do not."""
    key.parent.mkdir()
    (key.parent / f".local.key.{os.getpid()}.part").touch()
    assert len(keyed_digest("pseudonym", "x")) == 64


def test_a_disk_without_hard_links_is_told_of(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is made by a link, which some disks refuse."""

    def refuse(*given: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UsageError, match="hard links"):
        keyed_digest("pseudonym", "x")
    assert not list(key.parent.iterdir())


def test_a_relative_state_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specification of base directories says."""
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", "/home/ada")
    assert state_folder() == Path("/home/ada/.local/state/jettison")
