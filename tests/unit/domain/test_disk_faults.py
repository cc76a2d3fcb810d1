"""Disks that refuse: which file, why, what to do."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.disk_faults import explained, in_words, is_full, named
from jettison.domain.files import new_array, write_atomically
from jettison.domain.progress import Journal, Silent
from jettison.errors import UsageError


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As on a full disk: the system refuses what would make a file longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_write_names_its_file(tmp_path: Path) -> None:
    """The system names no file when a write fails; the message does, and nothing is left."""
    with (
        pytest.raises(UsageError, match=r"the run can't write `.*run\.json`.*space"),
        explained("the run", tmp_path),
        no_file_beyond(100),
    ):
        write_atomically(tmp_path / "run.json", "x" * 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_can_not_grow_is_named(tmp_path: Path) -> None:
    """The journal of a run says which file is full."""
    with (
        pytest.raises(OSError, match=r"run\.log"),
        no_file_beyond(10),
    ):
        Journal(Silent(), tmp_path / "run.log").say("a line that is too long")


def test_numpy_gives_no_number_for_a_short_write(tmp_path: Path) -> None:
    """An array that the disk cut short is known by the words of NumPy."""
    with (
        pytest.raises(UsageError, match="Free some space"),
        explained("the run", tmp_path),
        no_file_beyond(1000),
    ):
        np.save(tmp_path / "x.npy", np.zeros(10_000))


def test_space_for_an_array_is_reserved(tmp_path: Path) -> None:
    """What does not fit fails when the file is made, not when memory is touched."""
    with pytest.raises(OSError, match=r"x\.npy"), no_file_beyond(1 << 16):
        new_array(tmp_path / "x.npy", np.dtype(np.float64), (1 << 16,))
    assert list(tmp_path.iterdir()) == []
    array = new_array(tmp_path / "x.npy", np.dtype(np.float64), (3, 2))
    array[:] = 7
    array.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.full((3, 2), 7.0))
    assert (tmp_path / "x.npy").stat().st_blocks > 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "Give this user the right"),
        (errno.EACCES, "Give this user the right"),
    ],
)
def test_what_to_do_fits_the_fault(number: int, words: str, tmp_path: Path) -> None:
    """Space and rights are different ways out."""
    told = in_words(OSError(number, "reason", "/a/file"), "the run", tmp_path)
    assert told is not None
    assert words in str(told)
    assert "`/a/file`: reason" in str(told)


def test_a_file_in_the_way_is_told_as_such(tmp_path: Path) -> None:
    """A file for a folder, and a folder for a file; a folder that lies there already is our fault."""
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"file`: File exists\. A file stands where a folder"),
        explained("the run", tmp_path),
    ):
        (tmp_path / "file").mkdir(exist_ok=True)
    with (
        pytest.raises(UsageError, match=r"file/below`: Not a directory\. A file stands"),
        explained("the run", tmp_path),
    ):
        (tmp_path / "file" / "below").mkdir()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UsageError, match=r"folder`: Is a directory\. A file stands"),
        explained("the run", tmp_path),
    ):
        write_atomically(tmp_path / "folder", "x")
    with pytest.raises(FileExistsError), explained("the run", tmp_path):
        (tmp_path / "folder").mkdir()


def test_other_faults_pass(tmp_path: Path) -> None:
    """A fault that is none of the disk stays what it was."""
    with pytest.raises(FileNotFoundError), explained("the run", tmp_path):
        (tmp_path / "absent").read_bytes()
    with pytest.raises(ConnectionError), explained("the run", tmp_path), named("x"):
        raise ConnectionError("gone")


def test_words_of_other_libraries() -> None:
    """Only what a full disk makes a library say counts."""
    assert is_full("RuntimeError: write failed: No space left on device")
    assert is_full("OSError: 1024 requested and 96 written")
    assert not is_full("the original gives NaN too")
