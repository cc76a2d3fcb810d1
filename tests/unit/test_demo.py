"""The demo's rows are those that the magika package itself would feed its network."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from jettison import demo
from jettison.domain.progress import Silent

CONTENTS = {
    "short": b"import os\nprint(os.name)\n",
    "blank ends": b"  \n\t " + b"x = 1\n" * 10 + b"   \n\n",
    "longer than a block": b" \n" + bytes(range(256)) * 40 + b"\n \n",
    "between one and two inputs": b"a" * 1500,
    "zeros": b"\0" * 3000,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_features_are_those_of_the_package(content: bytes) -> None:
    """First and last 1,024 bytes, stripped and padded as magika's own code does it."""
    from magika.magika import Magika
    from magika.types.seekable import Seekable

    network = demo.find_network()
    theirs = Magika._extract_features_from_seekable(
        Seekable(io.BytesIO(content)),
        network.begin,
        0,
        network.end,
        network.padding,
        network.block,
        False,
    )
    mine = demo.features(content[: network.block], content[-network.block :], network)
    assert mine is not None
    np.testing.assert_array_equal(mine, [*theirs.beg, *theirs.end])


def test_a_file_below_the_minimum_is_left_out() -> None:
    """Eight bytes after stripping are the network's minimum."""
    network = demo.find_network()
    assert demo.features(b"  1234567", b"  1234567", network) is None


def test_rows_are_capped_deduplicated_and_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies count once, a type is capped, unknown extensions are left out."""
    for number in range(6):
        (tmp_path / f"file{number}.py").write_text(f"import os  # {number % 4}\n")
        (tmp_path / f"file{number}.unknown").write_text(f"some text {number}\n")
    monkeypatch.setattr(demo, "roots", lambda: (tmp_path,))
    monkeypatch.setattr(demo, "PER_TYPE", 3)
    inputs, labels, types = demo.collect(demo.find_network(), Silent())
    assert inputs.shape == (3, 2048)
    assert set(labels) == {"python"}
    assert set(types) == {"py"}
