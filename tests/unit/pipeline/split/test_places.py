"""The rows of a use are found again in the user's own file; unlabelled rows can be sealed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from split_tables import SECTION, load, model, table

from jettison.errors import DataError
from jettison.pipeline.split import load_data
from jettison.pipeline.split.places import read_again


def frame(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """The shared table as a DataFrame."""
    return pd.DataFrame(table(n, seed))


def test_selection_rows_are_read_again_from_the_file(tmp_path: Path) -> None:
    """Row numbers lead to the raw rows that were encoded, in the same order, with their labels."""
    frame().to_parquet(tmp_path / "rows.parquet")
    section = dataclasses.replace(SECTION, source=str(tmp_path / "rows.parquet"))
    made = load_data(section, model(), tmp_path / "run")
    assert made.selection is not None
    again = read_again(section, model(), tmp_path / "run", "selection", labelled=True)
    encoded = made.selection.rows.column("x")
    raw = np.stack([again.table.columns["a"], again.table.columns["b"]], axis=1)
    np.testing.assert_array_equal(raw.astype(np.float32), encoded)
    np.testing.assert_array_equal(again.labels.targets, made.selection.labels.targets)
    assert again.location == str(tmp_path / "rows.parquet")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """Row numbers of another file would show a person the wrong rows."""
    frame().to_parquet(tmp_path / "rows.parquet")
    section = dataclasses.replace(SECTION, source=str(tmp_path / "rows.parquet"))
    load_data(section, model(), tmp_path / "run")
    frame(seed=1).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="was changed after the run read it"):
        read_again(section, model(), tmp_path / "run", "selection", labelled=True)


def test_rows_given_in_python_are_refused(tmp_path: Path) -> None:
    """What is no file can't be shown again; the way out is said."""
    load(table(), tmp_path)
    with pytest.raises(DataError, match="were given in Python"):
        read_again(SECTION, model(), tmp_path, "selection", labelled=True)


def test_a_certification_file_without_targets_is_sealed_unlabelled(tmp_path: Path) -> None:
    """Rows for `jettison label` need no target column; groups and units are kept."""
    whole = frame(900)
    parts = {"fitting": whole[:100], "selection": whole[100:400], "certification": whole[400:]}
    for use, rows in parts.items():
        bare = rows.drop(columns=[SECTION.target]) if use == "certification" else rows
        bare.to_parquet(tmp_path / f"{use}.parquet")
    section = dataclasses.replace(
        SECTION, unit="", **{use: str(tmp_path / f"{use}.parquet") for use in parts}
    )
    made = load_data(section, model(), tmp_path / "run")
    assert made.certification is not None
    assert not made.certification.labelled
    assert made.certification.group_sizes
    assert made.selection is not None
    assert made.selection.labels.targets is not None
    with np.load(tmp_path / "run" / "sealed" / "labels.npz") as sealed:
        assert "targets" not in sealed.files
    again = read_again(section, model(), tmp_path / "run", "certification", labelled=False)
    assert again.table.n == made.certification.n
    assert again.labels.targets is None
