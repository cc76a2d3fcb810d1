"""Lines of JSON, folders of bytes, saved datasets, functions, and rows of different lengths."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.extension_points import Example
from jettison.domain.raw_examples import read_raw, write_raw
from jettison.errors import DataError
from jettison.pipeline.split.encoding import rows_of
from jettison.pipeline.split.raw_keys import raw_digests
from jettison.pipeline.split.reading import read_file, read_object

pa = pytest.importorskip("pyarrow")


def read(path: Path | str) -> Example:
    return read_file(str(path), "source")


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"x": 1, "y": 2}] * 16 + [{"x": 1}], "line 17 of .* lacks the key `y`, unlike line 1"),
        ([{"x": 1}, {"x": 1, "z": 2}], "line 2 of .* has the key `z`"),
        ([{"x": 1}, "", "{'x': 1}"], "line 3 of .* one JSON object a line"),
        ([{"x": 1}, [1]], "line 2 of .* is a `list`"),
        ([{"x": 1}, {"x": "one"}], "`x` in line 2 of .* is text"),
        ([{"x": [1]}, {"x": None}], "1 missing lists"),
        ([{"x": {"a": 1}}], "holds objects"),
        ([{"x": ["a"]}, {"x": ["a", "b"]}], "lists of different lengths with other values"),
        ([""], "no columns"),
    ],
)
def test_lines_that_cannot_be_used(rows: list[Any], said: str, tmp_path: Path) -> None:
    """The line is named, counted as an editor counts."""
    with pytest.raises(DataError, match=said):
        read(lines(tmp_path / "rows.jsonl", *rows))


def test_lists_of_different_lengths(tmp_path: Path) -> None:
    """They stay arrays of their own, in JSON, in parquet and in Python."""
    import pyarrow.parquet as pq

    held = [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]]
    tables = [read(lines(tmp_path / "r.jsonl", *({"x": v} for v in held)))]
    pq.write_table(pa.table({"x": held}), tmp_path / "r.parquet")
    tables += [read(tmp_path / "r.parquet"), read_object({"x": held}, "source")]
    tables += [read_object([{"x": np.array(v)} for v in held], "source")]
    for table in tables:
        assert [row.tolist() for row in table.columns["x"]] == held
    frames = pa.table({"x": [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]})
    assert [row.shape for row in read_object(frames, "source").columns["x"]] == [(1, 2), (2, 2)]


def test_ragged_rows_are_kept_and_known_again(tmp_path: Path) -> None:
    """Raw examples come back with their lengths, and long rows differ by one number inside."""
    one, two = np.arange(5000.0), np.arange(5000.0)
    two[2500] = -1.0
    table = read_object({"x": [one, two, one[:7]]}, "source")
    write_raw(table, tmp_path / "raw")
    assert [len(row) for row in read_raw(tmp_path / "raw").columns["x"]] == [5000, 5000, 7]
    digests = raw_digests(table, ("x",), np.arange(3))
    assert len(set(digests)) == 3


def test_a_folder_of_bytes(tmp_path: Path) -> None:
    """Files that are no images are rows of bytes; the subfolder is the class."""
    for name in ("elf/a.bin", "pdf/b.bin", "elf/.hidden"):
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(name.encode())
    table = read(tmp_path / "files")
    assert table.columns["bytes"].tolist() == [b"elf/a.bin", b"pdf/b.bin"]
    assert table.columns["label"].tolist() == ["elf", "pdf"]
    assert rows_of(table, np.array([1])).files == ("pdf/b.bin",)
    (tmp_path / "files" / "stray.bin").write_bytes(b"1")
    with pytest.raises(DataError, match=r"holds files beside subfolders \(`stray.bin`\)"):
        read(tmp_path / "files")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without files"):
        read(tmp_path / "empty")


def saved(folder: Path, *tables: Any, **state: Any) -> Path:
    """A folder as `Dataset.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table)
    held = {"_data_files": [{"filename": name} for name in names], **state}
    (folder / "state.json").write_text(json.dumps(held))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_dataset(tmp_path: Path) -> None:
    """All its Arrow files are read in order; images are their bytes."""
    image = pa.array([{"bytes": b"1", "path": None}, {"bytes": b"2", "path": "x.png"}])
    table = pa.table({"image": image, "label": [0, 1]})
    found = read(saved(tmp_path / "train", table, table))
    assert found.columns["image"].tolist() == [b"1", b"2", b"1", b"2"]
    assert found.columns["label"].tolist() == [0, 1, 0, 1]


def test_saved_datasets_that_cannot_be_read(tmp_path: Path) -> None:
    """Splits are named, an index and a path out of the folder are refused, damage is said."""
    table = pa.table({"x": [1]})
    saved(tmp_path / "all" / "test", table)
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"the splits `train`, `test`.*all/test"):
        read(tmp_path / "all")
    with pytest.raises(DataError, match="behind an index"):
        read(saved(tmp_path / "index", table, _indices_data_files=[{"filename": "i.arrow"}]))
    with pytest.raises(DataError, match=r"names `../x.arrow`"):
        read(saved(tmp_path / "out", table, _data_files=[{"filename": "../x.arrow"}]))
    broken = saved(tmp_path / "broken", table)
    (broken / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="can't be read as Arrow"):
        read(broken)


def test_an_arrow_file(tmp_path: Path) -> None:
    """An Arrow file is read in its file form and in its stream form."""
    table = pa.table({"x": [1, 2]})
    for name, new in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with new(str(tmp_path / f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table)
        assert read(tmp_path / f"{name}.arrow").columns["x"].tolist() == [1, 2]


MAKERS = """
import numpy as np

def table():
    return {"x": np.arange(3)}

def rows():
    for i in range(3):
        yield {"x": i, "text": f"row {i}"}

def uneven():
    return [{"x": 1}, {"y": 2}]

def failing():
    raise OSError("the store is away")

def nothing():
    return 7
"""


def test_rows_of_a_function(tmp_path: Path) -> None:
    """A function gives arrays, or rows one by one."""
    file = tmp_path / "rows.py"
    file.write_text(MAKERS)
    assert read(f"{file}:table").columns["x"].tolist() == [0, 1, 2]
    assert read(f"{file}:rows").columns["text"].tolist() == ["row 0", "row 1", "row 2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("uneven", "row 1 of .* lacks the key `x`"),
        ("failing", "failed: OSError: the store is away"),
        ("nothing", "is a `int`"),
        ("missing", "has no function `missing`"),
    ],
)
def test_functions_that_give_no_rows(name: str, said: str, tmp_path: Path) -> None:
    """What went wrong is one sentence."""
    file = tmp_path / "rows.py"
    file.write_text(MAKERS)
    with pytest.raises(DataError, match=said):
        read(f"{file}:{name}")


def test_a_function_in_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(DataError, match=r"can't be imported: FileNotFoundError"):
        read(f"{tmp_path / 'gone.py'}:rows")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "    yield {'x': 1}\n    raise KeyError('lost')",
            "rows.py:make .* failed: KeyError: 'lost'",
        ),
        ("    import no_such_module_here\n    yield {'x': 1}", "failed: ModuleNotFoundError"),
        ("    return 'rows.csv'", "returned a `str`; it must return rows"),
        ("    pass", "returned a `NoneType`; it must return rows"),
    ],
)
def test_functions_that_fail(body: str, said: str, tmp_path: Path) -> None:
    """The function is named with its own reason, also when it fails between two rows."""
    (tmp_path / "rows.py").write_text(f"def make():\n{body}\n")
    with pytest.raises(DataError, match=said):
        read(f"{tmp_path}/rows.py:make")


def test_a_misspelt_function(tmp_path: Path) -> None:
    """Near names are shown."""
    (tmp_path / "rows.py").write_text("def make():\n    return []\n")
    with pytest.raises(DataError, match="no function `mak`; did you mean `make`"):
        read(f"{tmp_path}/rows.py:mak")


def test_functions_may_import_late_and_hold_dataclasses(tmp_path: Path) -> None:
    """A file beside the function can be imported while rows are made; a module knows its name."""
    (tmp_path / "beside_the_rows.py").write_text("def row(i):\n    return (i, i + 1)\n")
    (tmp_path / "rows.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Row:\n    x: tuple[int, int]\n"
        "def make():\n"
        "    from beside_the_rows import row\n"
        "    for i in range(3):\n        yield vars(Row(row(i)))\n"
    )
    table = read(f"{tmp_path}/rows.py:make")
    np.testing.assert_array_equal(table.columns["x"], [[0, 1], [1, 2], [2, 3]])


def test_two_folders_with_files_of_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function gets the files beside it; what is installed in a folder below is no such file."""
    monkeypatch.syspath_prepend(str(tmp_path / "a" / "venv"))
    for name in ("a", "b"):
        (tmp_path / name / "two_parts").mkdir(parents=True)
        (tmp_path / name / "beside_two.py").write_text(f"NAME = '{name}'\n")
        (tmp_path / name / "two_parts" / "inner.py").write_text("from beside_two import NAME\n")
        (tmp_path / name / "rows.py").write_text(
            "from two_parts import inner\n"
            "import installed_for_two\n"
            "def make():\n"
            "    return [{'name': inner.NAME, 'module': __name__}]\n"
        )
    (tmp_path / "a" / "venv").mkdir()
    (tmp_path / "a" / "venv" / "installed_for_two.py").write_text("")
    tables = [read(f"{tmp_path / name}/rows.py:make") for name in ("a", "b", "a")]
    assert [table.columns["name"].tolist() for table in tables] == [["a"], ["b"], ["a"]]
    first, other, again = (str(table.columns["module"][0]) for table in tables)
    assert first == again != other
    assert {first, other, "installed_for_two"} <= set(sys.modules)


def test_tuples_of_different_lengths() -> None:
    """They are lists like any others."""
    table = read_object([{"x": (1, 2)}, {"x": (3,)}], "source")
    assert [v.tolist() for v in table.columns["x"]] == [[1, 2], [3]]


def test_a_mark_at_the_start_of_a_file(tmp_path: Path) -> None:
    """The byte order mark that some editors write is no part of the first line."""
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"x": 1}\n')
    assert read(tmp_path / "rows.jsonl").columns["x"].tolist() == [1]


@pytest.mark.parametrize("listed", [5, ["x.arrow"], []])
def test_a_damaged_state_of_a_dataset(listed: Any, tmp_path: Path) -> None:
    """Whatever state.json holds, it is one message."""
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": listed}))
    with pytest.raises(DataError, match="names no file of rows"):
        read(tmp_path)


def test_files_of_a_dataset_with_different_columns(tmp_path: Path) -> None:
    """They are refused, not read in part."""
    names = ("a.arrow", "b.arrow")
    for name, held in zip(names, ([1], ["one"]), strict=True):
        table = pa.table({"x": held})
        with pa.ipc.new_stream(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    stated = {"_data_files": [{"filename": name} for name in names]}
    (tmp_path / "state.json").write_text(json.dumps(stated))
    with pytest.raises(DataError, match="hold different columns"):
        read(tmp_path)
