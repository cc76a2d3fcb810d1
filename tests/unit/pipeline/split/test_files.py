"""Rows that are files: folders of images, columns of paths, bytes in tables, lines of JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from jettison.domain.configuration import DataSection  # noqa: E402
from jettison.domain.extension_points import Example  # noqa: E402
from jettison.domain.raw_examples import read_raw, write_raw  # noqa: E402
from jettison.errors import DataError  # noqa: E402
from jettison.numerics.ragged_columns import column_of  # noqa: E402
from jettison.pipeline.split.files import open_paths, with_files  # noqa: E402
from jettison.pipeline.split.raw_keys import raw_digests  # noqa: E402
from jettison.pipeline.split.reading import read_file, read_object  # noqa: E402


def write(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    """Subfolders are the labels; rows are in the order of their paths; other files are left."""
    write(tmp_path, dog__b_png=b"3", cat__a_jpg=b"1", cat__b_JPG=b"2", cat__notes_txt=b"x")
    table = read_file(str(tmp_path), "source")
    assert table.columns["image"].tolist() == [b"1", b"2", b"3"]
    assert table.columns["label"].tolist() == ["cat", "cat", "dog"]


def test_a_plain_folder(tmp_path: Path) -> None:
    """Images without subfolders have no label; a mixture and an empty folder are refused."""
    with pytest.raises(DataError, match="folder without files"):
        read_file(str(tmp_path), "source")
    write(tmp_path, b_png=b"2", a_png=b"1")
    assert list(read_file(str(tmp_path), "source").columns) == ["image"]
    write(tmp_path, cat__c_png=b"3")
    with pytest.raises(DataError, match="beside subfolders"):
        read_file(str(tmp_path), "source")


def test_columns_of_paths(tmp_path: Path) -> None:
    """Paths become the bytes of their files; text stays; a path without a file names its row."""
    write(tmp_path, a_png=b"1", sub__b_png=b"2")
    columns = {
        "file": np.array(["a.png", "sub/b.png"], dtype=object),
        "text": np.array(["a dog", "b.png is nice"], dtype=object),
        "label": np.array([0, 1]),
    }
    opened = open_paths(Example(columns, 2), tmp_path, "`source`")
    assert opened.columns["file"].tolist() == [b"1", b"2"]
    assert opened.columns["text"] is columns["text"]
    columns["file"] = np.array(["a.png", "gone.png"], dtype=object)
    with pytest.raises(DataError, match=r"row 1 holds 'gone\.png'"):
        open_paths(Example(columns, 2), tmp_path, "`source`")


def test_names_of_pictures_stay_names(tmp_path: Path) -> None:
    """Only what feeds the model is opened: no unit, and no name beside the bytes of a picture."""
    write(tmp_path, a_png=b"1", b_png=b"2")
    names = np.array(["a.png", "b.png"], dtype=object)
    held = {"source": Example({"file": names, "whose": np.array(["x.png"] * 2, dtype=object)}, 2)}
    where = {"source": str(tmp_path / "t.csv")}
    made = with_files(held, where, DataSection(unit="whose"))["source"].columns
    assert made["file"].tolist() == [b"1", b"2"]
    assert made["whose"].tolist() == ["x.png", "x.png"]
    made = with_files(held, where, DataSection(inputs=("file",)))["source"].columns
    assert made["whose"].tolist() == ["x.png", "x.png"]
    held = {"source": Example({"image": column_of([b"1", b"2"]), "file": names}, 2)}
    assert with_files(held, {}, DataSection())["source"].columns["file"] is names


def test_bytes_in_tables(tmp_path: Path) -> None:
    """Bytes, and the images of Hugging Face datasets, are columns of bytes."""
    kept = pa.array([{"bytes": b"1", "path": "a"}, {"bytes": b"2", "path": None}])
    pq.write_table(pa.table({"plain": [b"1", b"2"], "kept": kept}), tmp_path / "t.parquet")
    table = read_file(str(tmp_path / "t.parquet"), "source")
    assert table.columns["plain"].tolist() == table.columns["kept"].tolist() == [b"1", b"2"]
    assert read_object({"x": [b"1", b"2"]}, "source").columns["x"].tolist() == [b"1", b"2"]


def test_bytes_are_kept_and_known_again(tmp_path: Path) -> None:
    """Raw examples keep bytes as base64, and rows are known again by their bytes."""
    column = np.array([b"\xff" * 30, b"\x00" * 3], dtype=object)
    table = Example({"image": column}, 2)
    write_raw(table, tmp_path / "raw")
    assert read_raw(tmp_path / "raw").columns["image"].tolist() == ["/" * 40, "AAAA"]
    first, second = raw_digests(table, ("image",), np.array([0, 1]))
    assert first
    assert first != second


def test_lines_of_json(tmp_path: Path) -> None:
    """Each line is a row; lists of numbers are stacked; a broken line is refused."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": [1.5, 2], "y": "a"}\n{"x": [3, 4], "y": null}\n')
    table = read_file(str(path), "source")
    np.testing.assert_array_equal(table.columns["x"], [[1.5, 2], [3, 4]])
    assert table.columns["y"].tolist() == ["a", None]
    path.write_text('{"x": 1}\n{"x": "text"}\n')
    with pytest.raises(DataError, match="`x` in line 2"):
        read_file(str(path), "source")
