"""Tables from files, folders, functions and Python objects, as named columns."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettison import registry
from jettison.domain.extension_points import Example
from jettison.domain.function_source import split_function
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.ragged_columns import column_of
from jettison.pipeline.split.files import read_folder
from jettison.pipeline.split.json_lines import columns_of, read_lines
from jettison.pipeline.split.python_columns import list_column, plain_column
from jettison.pipeline.split.row_functions import called
from jettison.pipeline.split.saved_datasets import is_saved, read_saved

if TYPE_CHECKING:
    import pyarrow as pa

ALLOWED = (
    ".parquet, .csv, .tsv (also .csv.gz and .tsv.gz), .jsonl, .arrow or .npz, a folder of files or "
    "of a dataset that `datasets` saved, or a function that gives rows (rows.py:make)"
)

BLOCK_BYTES = 1 << 26
"""Of a csv file, from which the types of the columns are inferred."""


def read_file(location: str, role: str) -> Example:
    """Reads a data file whole.

    Args:
        location: path; the ending says what it is.
        role: key of jettison.toml that names it, for messages.

    Raises:
        DataError: for a file that is missing, empty, unreadable, or of an unknown kind.
        MissingDependency: if pyarrow is needed and not installed.
    """
    path = Path(location)
    where = f"{location} (`{role}` in `data`)"
    if split_function(location) is not None and not path.exists():
        with called(location, where) as given:
            return _read_object(given, where)
    if path.is_dir() and is_saved(path):
        _pyarrow(where)
        return _table(_from_arrow(read_saved(path, where), where), where)
    if path.is_dir():
        columns, files = read_folder(path, where)
        return _table(columns, where, files)
    if not path.is_file():
        raise DataError(f"{where} does not exist; give a file: {ALLOWED}")
    if path.stat().st_size == 0:
        raise DataError(f"{where} is empty (0 bytes); give a file with rows")
    ending = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix
    match ending.lower():
        case ".parquet" | ".pq":
            columns = _from_arrow(_read_parquet(path, where), where)
        case ".csv" | ".csv.gz":
            columns = _from_arrow(_read_text(path, ",", where), where)
        case ".tsv" | ".tsv.gz":
            columns = _from_arrow(_read_text(path, "\t", where), where)
        case ".jsonl" | ".ndjson":
            held = read_lines(path, where)
            columns = {
                name: list_column(v, f"column `{name}` of {where}") for name, v in held.items()
            }
        case ".arrow":
            columns = _from_arrow(_read_arrow(path, where), where)
        case ".npz":
            columns = _read_npz(path, where)
        case _:
            raise DataError(f"{where} is of a kind that is not read here; allowed: {ALLOWED}")
    return _table(columns, where)


def read_object(given: Any, role: str) -> Example:
    """Reads a DataFrame, a mapping of names to arrays, one array (then called `inputs`), an Arrow
    table, or rows one by one as dictionaries.

    Raises:
        DataError: for columns that are no arrays of one type, or differ in length.
    """
    return _read_object(given, f"the object given as `{role}`")


def _read_object(given: Any, where: str) -> Example:
    if isinstance(given, Mapping):
        named = {str(k): plain_column(v, f"column `{k}` of {where}") for k, v in given.items()}
        return _table(named, where)
    if hasattr(given, "columns") and hasattr(given, "to_arrow"):
        return _table(_from_arrow(given.to_arrow(), where), where)  # As polars has it.
    if hasattr(given, "columns") and hasattr(given, "dtypes"):
        return _table(_from_arrow(_arrow_of_frame(given, where), where), where)
    if isinstance(given, np.ndarray):
        return _table({"inputs": plain_column(given, f"column `inputs` of {where}")}, where)
    if type(given).__module__.startswith("pyarrow") and hasattr(given, "column_names"):
        return _table(_from_arrow(given, where), where)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        held = columns_of(enumerate(given), where, "row")
        named = {name: list_column(v, f"column `{name}` of {where}") for name, v in held.items()}
        return _table(named, where)
    raise DataError(
        f"{where} is a `{type(given).__name__}`; give a path, a DataFrame, a dictionary of column "
        "names and arrays, or a list of dictionaries, one a row"
    )


def _table(columns: Mapping[str, Array], where: str, files: tuple[str, ...] = ()) -> Example:
    if not columns:
        raise DataError(f"{where} has no columns; give named columns or arrays")
    flat = [name for name, column in columns.items() if column.ndim == 0]
    if flat:
        raise DataError(f"`{flat[0]}` of {where} is a single value; arrays need rows first")
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"`{name}` {n}" for name, n in sizes.items())
        raise DataError(
            f"the columns of {where} differ in their number of rows ({listed}); keep the arrays "
            "of one set of rows in one file, rows first"
        )
    n = next(iter(sizes.values()))
    if n == 0:
        raise DataError(f"{where} has columns but no rows; give a file with rows")
    return Example(dict(columns), n, files)


def _read_npz(path: Path, where: str) -> dict[str, Array]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"{where} is no npz file that can be read: it is no zip archive")
    try:
        # Opened here: NumPy leaves the file open where the archive is broken.
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {n: plain_column(file[n], f"column `{n}` of {where}") for n in file.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        if isinstance(error, ValueError) and "pickle" in str(error).lower():
            raise DataError(
                f"{where} holds pickled objects, which would run code and are refused; save "
                "arrays of numbers, or of text with dtype `U`"
            ) from error
        raise DataError(f"{where} is no npz file that can be read: {error}") from error


def _pyarrow(where: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise registry.missing(error, f"reading {where}") from error


def _read_parquet(path: Path, where: str) -> pa.Table:
    _pyarrow(where)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is no parquet file that can be read: {error}") from error


def _read_text(path: Path, delimiter: str, where: str) -> pa.Table:
    """Reads csv with quotes, and tsv without: in tsv a quotation mark is a character."""
    _pyarrow(where)
    import pyarrow as pa
    from pyarrow import csv

    quoted = delimiter == ","
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
            ),
            convert_options=csv.ConvertOptions(
                null_values=[""],
                strings_can_be_null=False,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} can't be read as a table of text: {error}") from error


def _read_arrow(path: Path, where: str) -> pa.Table:
    """Reads an Arrow file, of either form."""
    _pyarrow(where)
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            try:
                return pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                return pa.ipc.open_stream(source).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is no Arrow file that can be read: {error}") from error


def _arrow_of_frame(frame: Any, where: str) -> pa.Table:
    _pyarrow(where)
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = "; ".join(str(part) for part in error.args)
        raise DataError(
            f"{where} has a column that is not of one type ({reason}); make each column numbers "
            "only or text only"
        ) from error


def _from_arrow(table: pa.Table, where: str) -> dict[str, Array]:
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where} has two columns named `{twice[0]}`; rename one")
    return {
        name: _arrow_column(_whole(column), f"column `{name}` of {where}")
        for name, column in zip(names, table.columns, strict=True)
    }


def _whole(column: Any) -> Any:
    """A column as one array; offsets of 32 bits end at 2 GiB of texts or bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        # Hugging Face `datasets` keep an image as its bytes and its path.
        column = pc.struct_field(column, "bytes")
    large = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(column.type)
    return (column if large is None else column.cast(large)).combine_chunks()


def _arrow_column(column: Any, where: str) -> Array:
    """Numbers as they are (missing: NaN), text as objects (missing: None), lists stacked."""
    import pyarrow as pa

    kind = column.type
    types = pa.types
    if types.is_dictionary(kind):
        return _arrow_column(column.dictionary_decode(), where)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if types.is_decimal(kind):
        return _arrow_column(column.cast(pa.float64()), where)
    if types.is_temporal(kind):
        return _arrow_column(column.cast(pa.string()), where)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _stacked(column, where)
    if str(kind) in ("null", "string", "large_string", "string_view"):
        made = np.empty(len(column), dtype=object)
        made[:] = column.to_pylist()
        return made
    if str(kind) in ("binary", "large_binary", "binary_view") and ".csv" not in where:
        made = np.empty(len(column), dtype=object)
        made[:] = column.to_pylist()
        return made
    hint = " (in csv: bytes that are not UTF-8)" if "binary" in str(kind) else ""
    raise DataError(
        f"{where} is of type {kind}{hint}; allowed: numbers, text, true and false, dates, bytes "
        "(images), and lists of numbers of one length"
    )


def _stacked(column: Any, where: str) -> Array:
    if column.null_count:
        raise DataError(f"{where} has {column.null_count} missing lists; drop or fill those rows")
    fixed = getattr(column.type, "list_size", -1)
    each = [fixed] * len(column) if fixed >= 0 else column.value_lengths().to_pylist()
    inner = _arrow_column(column.flatten(), where)
    if len(set(each)) == 1:
        return inner.reshape(len(column), each[0], *inner.shape[1:])
    if inner.dtype.kind not in "biuf":
        raise DataError(
            f"{where} holds lists of {min(each)} to {max(each)} values that are no numbers, or are "
            "lists of different lengths themselves; every row needs the same number"
        )
    return column_of(np.split(inner, np.cumsum(each)[:-1]))
