"""Writing beside and renaming; one holder of a lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jettison.domain.files import exclusive_lock, replace_folder, write_atomically
from jettison.errors import Busy


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk refuses, the file that stood there is whole and nothing lies beside it."""
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    """The new folder stands under the final name, the old one is gone."""
    final, part = tmp_path / "final", tmp_path / "part"
    for folder, text in ((final, "old"), (part, "new")):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/file").write_text(text)
    replace_folder(part, final)
    assert (final / "deep/file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_lock_has_one_holder_and_dies_with_it(tmp_path: Path) -> None:
    """Another process that holds the lock makes us Busy; after kill -9 the lock is free."""
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from jettison.domain.files import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1]), 'x'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(Busy, match="someone is writing"),
            exclusive_lock(lock, "someone is writing"),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    with exclusive_lock(lock, "x"):
        assert lock.exists()
