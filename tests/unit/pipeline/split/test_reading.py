"""Reading tables: what each kind of file gives, and why others are refused."""

from __future__ import annotations

import gzip
import mmap
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jettison.errors import DataError
from jettison.pipeline.split.reading import read_file, read_object


def bad_files(folder: Path) -> dict[str, str]:
    """Files that can't be read, with the words that say why."""
    folder.joinpath("folder.csv").mkdir()
    np.savez(folder / "pickled.npz", x=np.array([{}, 1], dtype=object))
    np.savez(folder / "lengths.npz", x=np.zeros(3), y=np.zeros(4))
    contents = {
        "none.csv": None,
        "empty.parquet": b"",
        "table.xlsx": b"PK",
        "torn.parquet": b"PAR1 and then nothing",
        "torn.npz": b"PK\x03\x04 and then nothing",
        "torn.csv.gz": gzip.compress(b"a,b\n1,2\n" * 999)[:40],
        "plain.csv.gz": b"a,b\n1,2\n",
        "ragged.csv": b"a,b\n1,2\n1,2,3\n",
        "short.csv": b"a,b\n1,2\n1\n",
        "twice.csv": b"a,a\n1,2\n",
        "header.csv": b"a,b\n",
        "latin.csv": b"a,b\n1,caf\xe9\n",
    }
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return {
        "folder.csv": "is a folder",
        "none.csv": "does not exist",
        "empty.parquet": "is empty",
        "table.xlsx": "of a kind that is not read",
        "torn.parquet": "no parquet file",
        "torn.npz": "no npz file",
        "pickled.npz": "would run code",
        "lengths.npz": "`x` 3, `y` 4",
        "torn.csv.gz": "can't be read",
        "plain.csv.gz": "can't be read",
        "ragged.csv": "can't be read",
        "short.csv": "can't be read",
        "twice.csv": "two columns named `a`",
        "header.csv": "no rows",
        "latin.csv": "UTF-8",
    }


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    """Missing, empty, torn, ragged or foreign files are refused with the file and the reason."""
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(DataError, match=words) as caught:
            read_file(str(tmp_path / name), "source")
        assert name in str(caught.value)
        assert "`source` in `data`" in str(caught.value)


def test_texts_stand_for_themselves(tmp_path: Path) -> None:
    """Only an empty number is missing; tsv has no quotes; csv keeps a line break in quotes."""
    (tmp_path / "t.csv").write_text('t,n\nNA,1\n"a\nb",\nnull,3\n,4\n', encoding="utf-8")
    made = read_file(str(tmp_path / "t.csv"), "source").columns
    assert made["t"].tolist() == ["NA", "a\nb", "null", ""]
    np.testing.assert_array_equal(made["n"], [1, np.nan, 3, 4])
    (tmp_path / "t.tsv").write_text('t\tn\n"so it begins\t1\nends"\t2\n', encoding="utf-8")
    made = read_file(str(tmp_path / "t.tsv"), "source").columns
    assert made["t"].tolist() == ['"so it begins', 'ends"']


def test_lists_in_parquet_become_arrays(tmp_path: Path) -> None:
    """A column of lists of one length is a matrix; lists of several lengths stay apart."""
    path = tmp_path / "l.parquet"
    pd.DataFrame(
        {"x": [[1.0, 2.0], [3.0, 4.0]], "d": pd.to_datetime(["2020-01-01"] * 2)}
    ).to_parquet(path)
    made = read_file(str(path), "source").columns
    np.testing.assert_array_equal(made["x"], [[1, 2], [3, 4]])
    assert made["d"][0].startswith("2020-01-01")
    pd.DataFrame({"x": [[1.0, 2.0], [3.0]]}).to_parquet(path)
    assert [row.tolist() for row in read_file(str(path), "source").columns["x"]] == [[1, 2], [3]]


def test_arrow_types_are_read_or_refused_by_name(tmp_path: Path) -> None:
    """Fixed lists, nested lists, categories, decimals and large text are read; structs are not."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    values = {
        "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)),
        "nested": pa.array([[[1.0], [2.0]], [[3.0], [4.0]]]),
        "category": pa.array(["a", "b"]).dictionary_encode(),
        "decimal": pa.array([1, 2], pa.decimal128(5, 2)),
        "large": pa.array(["x", None], pa.large_string()),
        "holes": pa.array([1, None], pa.int64()),
        "truth": pa.array([True, False]),
        "nothing": pa.array([None, None]),
    }
    parquet.write_table(pa.table(values), tmp_path / "t.parquet")
    made = read_file(str(tmp_path / "t.parquet"), "source").columns
    assert made["fixed"].tolist() == [[1, 2], [3, 4]]
    assert made["nested"].shape == (2, 2, 1)
    assert made["category"].tolist() == ["a", "b"]
    assert made["decimal"].tolist() == [1.0, 2.0]
    assert made["large"].tolist() == ["x", None]
    np.testing.assert_array_equal(made["holes"], [1, np.nan])
    assert made["truth"].dtype == bool
    assert made["nothing"].tolist() == [None, None]
    parquet.write_table(pa.table({"s": pa.array([{"a": "text"}])}), tmp_path / "s.parquet")
    with pytest.raises(DataError, match=r"column `s`.*struct"):
        read_file(str(tmp_path / "s.parquet"), "source")


def test_frames_may_have_numbers_as_names() -> None:
    """The columns of a frame made from a matrix are called 0, 1, ..., as texts."""
    made = read_object(pd.DataFrame(np.arange(6).reshape(3, 2)), "source")
    assert list(made.columns) == ["0", "1"]
    assert made.n == 3


def test_one_long_text_costs_no_more_than_itself() -> None:
    """Texts of a list are not made as wide as the longest, nor cut at a zero."""
    texts = ["a\0", "b" * 2_000_000, *["c"] * 2_000]
    tracemalloc.start()
    made = read_object([{"text": text} for text in texts], "source").columns["text"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.tolist() == texts
    assert peak < 100e6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": ["a", 1]}, "mixes text and other values .row 1 holds 1"),
        ({"x": [[1, 2], None]}, "mixes lists and other values .row 1 holds None"),
        ({"x": [1, [2, 3]]}, "mixes lists and other values .row 0 holds 1"),
        ({"x": [[1, [2, 3]], [4, 5]]}, "lists of different depth"),
        ({"x": ["whole", "half \ud83d"]}, "half of a character .* in row 1"),
        ([{"x": "whole"}, {"x": "half \ud83d"}], "half of a character .* in row 1"),
        ({"x": np.array(["half \ud83d"])}, "half of a character .* in row 0"),
    ],
)
def test_objects_that_are_no_columns(given: object, words: str) -> None:
    """Mixtures and texts that no file can hold are refused with their row."""
    with pytest.raises(DataError, match=words):
        read_object(given, "source")


def test_lists_of_texts_with_a_missing_one() -> None:
    """They stay texts of one shape; a mixture names the row that it is in."""
    made = read_object([{"x": ["a", None]}, {"x": ["b", "c"]}], "source").columns["x"]
    assert made.tolist() == [["a", None], ["b", "c"]]
    mixed = np.array([["a", "b"], ["c", 1]], dtype=object)
    with pytest.raises(DataError, match="row 1 holds 1"):
        read_object({"x": mixed}, "source")


def test_rows_with_numbered_columns() -> None:
    """Rows may name their columns by numbers, as those of a DataFrame without names do."""
    made = read_object([{0: 1.5, "y": 1}, {0: 2.5, "y": 0}], "source").columns
    assert made["0"].tolist() == [1.5, 2.5]


def test_more_bytes_than_offsets_of_32_bits_reach() -> None:
    """Two pieces of a column that together hold more than 2 GiB are put together."""
    content = pa.py_buffer(mmap.mmap(-1, 1 << 30))
    offsets = pa.py_buffer(np.array([0, 1 << 30], dtype=np.int32))
    missing = pa.py_buffer(b"\0")
    piece = pa.Array.from_buffers(pa.binary(), 1, [missing, offsets, content], 1)
    column = pa.chunked_array([piece, piece, piece])
    made = read_object(pa.table({"image": column}), "source").columns["image"]
    assert made.tolist() == [None, None, None]


def test_a_frame_that_says_how_it_becomes_arrow() -> None:
    """Frames of other libraries than pandas are read through Arrow."""

    class Frame:
        columns: ClassVar = ["x"]
        dtypes: ClassVar = ["Float64"]

        def to_arrow(self) -> object:
            return pa.table({"x": [1.0, 2.0]})

    assert read_object(Frame(), "source").columns["x"].tolist() == [1.0, 2.0]
