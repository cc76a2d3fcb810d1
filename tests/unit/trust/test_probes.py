"""How many probes a bundle holds, and that fewer are as good to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison.domain.rows import Rows
from jettison.trust.probes import LARGEST_BYTES, probe_count, read_probes, unlike_stored
from tests.serving_bundle import Made, make_bundle


@pytest.mark.parametrize(
    ("n", "row_bytes", "expected"),
    [
        (3, 400, 3),
        (500, 400, 64),
        (500, 3 * 224 * 224 * 4, 8),
        (500, LARGEST_BYTES // 20, 20),
        (5, LARGEST_BYTES, 5),
    ],
)
def test_as_many_as_are_useful_and_small(
    tmp_path: Path, n: int, row_bytes: int, expected: int
) -> None:
    """64 rows, fewer where they are large, 8 at least where there are so many."""
    shape = (n, row_bytes // 4)
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, shape).flush()
    assert probe_count(Rows(str(tmp_path), ("x",), n)) == expected


@pytest.mark.parametrize("probes", [2, 8, 40])
def test_bundles_with_fewer_probes_are_read(tmp_path: Path, probes: int) -> None:
    """Those of before have 8; each is checked whole."""
    folder = make_bundle(tmp_path / "release", Made(probes=probes))
    assert len(read_probes(folder / "probes.npz")["input.x"]) == probes


def test_a_bundle_has_all_it_may(tmp_path: Path) -> None:
    """Both sides of 64 rows; an answer that differs in the fortieth alone is seen."""
    stored = read_probes(make_bundle(tmp_path / "release") / "probes.npz")
    assert {len(stored["input.x"]), len(stored["output.scores"])} == {64}
    found = {"scores": stored["output.scores"].copy()}
    assert unlike_stored(stored, found) == []
    found["scores"][39] += 1.0
    assert "differs by 1" in unlike_stored(stored, found)[0]
