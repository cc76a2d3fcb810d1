"""Names of inputs come from models; files of their rows stay in their folder, one each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.extension_points import Encoded
from jettison.domain.rows import LENGTHS, column_file
from jettison.domain.splits import FittingData, Labels
from jettison.pipeline.split.encoding import write_encoded
from jettison.trust.seal import seal_rows

NAMES = st.text(max_size=300)


@given(NAMES)
def test_a_file_lies_in_its_folder(name: str) -> None:
    """Slashes, dots, zero bytes and length can't lead out of the folder or past the file system."""
    path = column_file("/rows", name)
    assert path.parent == Path("/rows")
    assert path.resolve().parent == Path("/rows")
    assert len(path.name.encode()) <= 250
    assert "\0" not in path.name


@given(NAMES, NAMES)
def test_two_names_are_two_files(one: str, other: str) -> None:
    """Also where one is what the other is written as, and in the files beside the inputs."""
    if one != other:
        assert column_file("r", one) != column_file("r", other)
    assert column_file("r", column_file("r", one).stem) != column_file("r", one) or (
        column_file("r", one).stem == one
    )
    if one != LENGTHS:
        assert not column_file("r", one).name.startswith("_")


@pytest.mark.parametrize("long", [200, 5000])
def test_long_names_stay_apart(long: int) -> None:
    """Names that differ at their end only have two files."""
    assert column_file("r", "a" * long + "b") != column_file("r", "a" * long + "c")


def test_rows_of_such_inputs_are_written_read_and_sealed(tmp_path: Path) -> None:
    """`/`, `..` and the name of a file beside the inputs: the arrays come back, also from a seal."""
    names = ("tower/../../ids", "/etc/x", "_targets", "a%2Fb", "a/b")
    arrays = {name: np.full((3, 2), float(place)) for place, name in enumerate(names)}
    rows = write_encoded(Encoded(arrays), names, tmp_path / "rows")
    FittingData.of(rows, 0, np.array([7, 8, 9]))
    for place, name in enumerate(names):
        assert rows.column(name).tolist() == [[place, place]] * 3
    assert {path.parent for path in tmp_path.rglob("*.npy")} == {tmp_path / "rows"}
    seal_rows(rows, Labels(np.arange(3)), ["0" * 64, "1" * 64, "2" * 64], tmp_path / "sealed")
    for place, name in enumerate(names):
        stored = np.load(column_file(tmp_path / "sealed" / "rows", name))
        assert stored.tolist() == [[place, place]] * 3
