"""A disk that takes no more: one clear error, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.trust.bundle_layout import read_manifest
from tests.end_to_end.conftest import Given, prepared, record_of


def words(given: Given, output: Path) -> list[str]:
    """A short run whose cost is the size of the file."""
    return [
        *("optimize", str(given.model), "--data", str(given.data), "--target", "label"),
        *("--minimise", "size_bytes", "--technique", "half_precision", "--trials", "1"),
        *("--no-certify", "--output", str(output), "--ledger", str(output / "ledger")),
    ]


def run(arguments: list[str], folder: Path, largest: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command line; no file may grow beyond `largest` bytes (0: no limit)."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))"
    return subprocess.run(
        prepared(limit if largest else "pass", arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=800,
    )


def check_refused(done: subprocess.CompletedProcess[str], reason: str) -> None:
    """Exit code 2 and one message, with the reason and what to do; no traceback."""
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("jettison: ")]
    assert len(said) == 1
    assert re.search(reason, said[0], re.IGNORECASE)
    assert "ree some" in said[0] or "Give this user the right" in said[0]


def check_whole(output: Path) -> None:
    """What stands under a final name is whole; nothing stands under a passing one."""
    assert not list(output.rglob("*.part"))
    if (output / "run.json").exists():
        record_of(output)
    if (output / "release").exists():
        read_manifest(output / "release")


@pytest.mark.parametrize(
    ("largest", "what"),
    [
        (10, "run.log"),
        pytest.param(3_000, "work", id="rows"),
        pytest.param(50_000, "search.db", marks=pytest.mark.slow),
        pytest.param(1_000_000, "report.html", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_can_not_grow(small: Given, tmp_path: Path, largest: int, what: str) -> None:
    """Log, rows, study database and report: each names its file, and the way out."""
    done = run(words(small, tmp_path / "run"), tmp_path, largest)
    check_refused(done, what)
    check_whole(tmp_path / "run")


@pytest.mark.slow
def test_the_run_goes_on_when_there_is_space_again(small: Given, tmp_path: Path) -> None:
    """After the report could not be written, the same command ends the run; trials are kept."""
    arguments = words(small, tmp_path / "run")
    assert run(arguments, tmp_path, 1_000_000).returncode == 2
    kept = {p.name: p.read_bytes() for p in (tmp_path / "run/work/search/trials").iterdir()}
    assert kept
    done = run(arguments, tmp_path)
    assert done.returncode == 4, done.stderr[-3000:]
    for name, content in kept.items():
        assert (tmp_path / "run/work/search/trials" / name).read_bytes() == content
    check_whole(tmp_path / "run")


def test_a_folder_that_may_not_be_written(small: Given, tmp_path: Path) -> None:
    """The kernel's own folder takes no files, not even from root."""
    done = run(words(small, Path("/sys/jettison-run")), tmp_path)
    check_refused(done, "/sys/jettison-run")


def test_a_file_in_place_of_the_folder(small: Given, tmp_path: Path) -> None:
    """An output that is a file, or lies under one, is named."""
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file/run"):
        done = run(words(small, output), tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert str(output) in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A place for a small disk of its own; a loud skip where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and mount(place, "size=64k")
    if not mounted:
        pytest.skip("NO MOUNTS: only root can give this test a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def mount(place: Path, *options: str) -> bool:
    """Mounts a disk in memory; says whether it could."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", ["16k", "100k", "300k", "2m"])
def test_a_full_disk(small: Given, disk: Path, tmp_path: Path, size: str) -> None:
    """Wherever the space runs out, the run ends with one message, and what is there is whole."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
    done = run(words(small, disk / "run"), tmp_path)
    check_refused(done, "no space (is )?left|the disk is full")
    check_whole(disk / "run")


@pytest.mark.slow
def test_a_disk_that_became_read_only(small: Given, disk: Path, tmp_path: Path) -> None:
    """A finished run on a disk that takes nothing any more is not begun again."""
    subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
    assert run(words(small, disk / "run"), tmp_path).returncode == 4
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    check_refused(run(words(small, disk / "run"), tmp_path), "Read-only file system")
    check_whole(disk / "run")
