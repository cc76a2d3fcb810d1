"""Rows of different lengths on their way into batches: padded to the longest of each, as served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from split_tables import model

from jettison.domain.configuration import DataSection
from jettison.domain.encoder import Encoder
from jettison.domain.model import Model, TensorSpec
from jettison.domain.raw_examples import read_raw
from jettison.errors import DataError
from jettison.pipeline.split import load_data

pytest.importorskip("pyarrow")


@pytest.fixture
def sound() -> Model:
    """A model of sound of any length, with a mask."""
    inputs = (
        TensorSpec("frames", "float32", ("batch", "time", 2)),
        TensorSpec("padding_mask", "bool", ("batch", "time")),
    )
    return dataclasses.replace(
        model(), inputs=inputs, encoder=Encoder.of("arrays", {}, labels=("no", "yes"))
    )


def write(folder: Path, *, empty: bool = False) -> DataSection:
    rng = np.random.default_rng(0)
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as file:
        for row in range(120):
            length = 0 if empty and row == 77 else 1 + row % 9
            frames = rng.normal(size=(length, 2)).round(3).tolist()
            file.write(json.dumps({"frames": frames, "label": row % 2}) + "\n")
    return DataSection(source=str(folder / "rows.jsonl"), target="label")


def test_batches_are_padded_as_served(sound: Model, tmp_path: Path) -> None:
    """A row alone has no padding; in a batch it is filled up to the longest, and masked."""
    splits = load_data(write(tmp_path), sound, tmp_path / "run")
    assert splits.selection is not None
    rows = splits.selection.rows
    assert set(rows.pad) == {"frames", "padding_mask"}
    lengths = rows.lengths()
    assert lengths is not None
    assert len(set(lengths.tolist())) > 2
    for row in range(3):
        alone = rows.batch(slice(row, row + 1))
        assert alone["frames"].shape == (1, lengths[row], 2)
        assert alone["padding_mask"].all()
    batch = rows.batch(slice(0, 4))
    assert batch["frames"].shape[1] == lengths[:4].max()
    np.testing.assert_array_equal(batch["padding_mask"].sum(axis=1), lengths[:4])
    assert not batch["frames"][~batch["padding_mask"]].any()


def test_raw_rows_are_encoded_again(sound: Model, tmp_path: Path) -> None:
    """The few raw rows that are kept to time the encoder are read as they were."""
    from jettison import registry

    splits = load_data(write(tmp_path), sound, tmp_path / "run")
    assert splits.encoder is not None
    raw = read_raw(Path(splits.raw))
    encoded = registry.get("encoders", "arrays").encode(splits.encoder, sound, raw)
    np.testing.assert_allclose(
        encoded.arrays["frames"], splits.fitting.rows.batch(slice(0, raw.n))["frames"]
    )


def test_a_row_of_length_0(sound: Model, tmp_path: Path) -> None:
    """It is one message that names the table and the row."""
    with pytest.raises(DataError, match=r"`source`.* at row 77"):
        load_data(write(tmp_path, empty=True), sound, tmp_path / "run")


@pytest.mark.parametrize("even", ["fitting", "selection", "certification"])
def test_one_file_whose_rows_are_equally_long(even: str, sound: Model, tmp_path: Path) -> None:
    """Its rows keep their length beside files whose rows differ, whatever the order of the files."""
    rng = np.random.default_rng(3)

    def rows(use: str) -> list[dict[str, object]]:
        sizes = [30] * 40 if use == even else rng.integers(1, 9, 40).tolist()
        return [
            {"frames": rng.normal(size=(size, 2)), "label": i % 2} for i, size in enumerate(sizes)
        ]

    uses = ("fitting", "selection", "certification")
    section = DataSection(target="label")
    splits = load_data(section, sound, tmp_path / "run", {use: rows(use) for use in uses})
    assert splits.selection is not None
    for use, read in (("fitting", splits.fitting.rows), ("selection", splits.selection.rows)):
        lengths = read.lengths()
        assert lengths is not None
        assert (set(lengths.tolist()) == {30}) == (use == even)
        np.testing.assert_array_equal(read.column("padding_mask").sum(axis=1), lengths)


def test_files_of_two_widths(sound: Model, tmp_path: Path) -> None:
    """They are refused with both shapes: nothing says that they are to be padded."""
    wide, narrow = ({"frames": np.full((9, n, 2), 0.5), "label": np.arange(9) % 2} for n in (5, 4))
    live = {"fitting": wide, "selection": narrow, "certification": wide}
    with pytest.raises(DataError, match=r"`frames` have the shape \(4, 2\) .* \(5, 2\)"):
        load_data(DataSection(target="label"), sound, tmp_path / "run", live)


def test_a_mask_of_another_length(sound: Model, tmp_path: Path) -> None:
    """A mask of one width beside rows of several lengths is refused, with the row."""
    rng = np.random.default_rng(4)
    rows = [
        {"frames": rng.normal(size=(5 + i % 3, 2)), "padding_mask": [True] * 5} for i in range(30)
    ]
    with pytest.raises(DataError, match=r"row 1 has .* entries for"):
        load_data(DataSection(), sound, tmp_path / "run", rows)
