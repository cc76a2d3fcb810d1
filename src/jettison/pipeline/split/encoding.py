"""Encodes a table piece by piece onto disk, and takes rows from there into `Rows`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.files import new_array
from jettison.domain.model import Model
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.errors import DataError, InternalError

CHUNK = 1024
"""Rows encoded at once: memory does not grow with the file."""


@dataclass(frozen=True, slots=True)
class Pool:
    """All encoded rows of all tables, in pieces `<start>.<name>.npy`, not yet divided.

    Attributes:
        folder: of the pieces.
        names: the model inputs, in order.
        starts: number of the first row of each piece.
        pad: as in `Rows`.
        digests: SHA-256 of each row's encoded inputs without padding.
        lengths: shape (n,), or `None` when nothing is ragged.
    """

    folder: Path
    names: tuple[str, ...]
    starts: tuple[int, ...]
    pad: Mapping[str, float]
    digests: tuple[str, ...]
    lengths: Array | None

    def piece(self, start: int, name: str) -> Array:
        """Opens the piece that begins with a row, memory-mapped."""
        piece: Array = np.load(
            _piece_file(self.folder, start, name), mmap_mode="r", allow_pickle=False
        )
        return piece


def _piece_file(folder: Path, start: int, name: str) -> Path:
    file = column_file(folder, name)
    return file.with_name(f"{start}.{file.name}")


def encode_tables(
    encoder: Encoder, model: Model, tables: Mapping[str, Example], folder: Path
) -> Pool:
    """Encodes every row of some tables, one after the other.

    Args:
        encoder: bound to columns that each table has.
        model: whose inputs are made.
        tables: raw examples by name of the table.
        folder: does not exist yet; the pieces go in here.

    Raises:
        DataError: what the encoder finds wrong, with the place in the table.
    """
    folder.mkdir(parents=True)
    names = tuple(spec.name for spec in model.inputs)
    return extended(Pool(folder, names, (), {}, (), None), encoder, model, tables.items())


def extended(
    pool: Pool, encoder: Encoder, model: Model, tables: Iterable[tuple[str, Example]]
) -> Pool:
    """Encodes more rows behind those of a pool; tables are taken one by one, so they may be made
    as they are asked for.

    Raises:
        DataError: what the encoder finds wrong, with the place in the table.
    """
    digests, starts, pad = list(pool.digests), list(pool.starts), dict(pool.pad)
    lengths: dict[int, Array] = {}
    if pool.lengths is not None:
        lengths |= zip(pool.starts, np.split(pool.lengths, pool.starts[1:]), strict=True)
    for where, table in tables:
        for encoded in _pieces(encoder, model, table, where):
            starts.append(len(digests))
            pad |= encoded.pad
            if encoded.lengths is not None:
                lengths[starts[-1]] = encoded.lengths
            for name in pool.names:
                path = _piece_file(pool.folder, len(digests), name)
                np.save(path, encoded.arrays[name], allow_pickle=False)
            digests += row_digests(encoded, pool.names)
    made = Pool(pool.folder, pool.names, tuple(starts), pad, tuple(digests), None)
    _check_shapes(made)
    return dataclasses.replace(made, lengths=_all_lengths(made, lengths)) if lengths else made


def _check_shapes(pool: Pool) -> None:
    """Refuses tables that fill an input with rows of several shapes, each of one shape in itself."""
    for name in pool.names:
        shapes = {pool.piece(start, name).shape[1:]: start for start in pool.starts}
        if name not in pool.pad and len(shapes) > 1:
            one, other = sorted(shapes)[:2]
            raise DataError(
                f"rows of input `{name}` have the shape {one} in one file and {other} in another; "
                "give all rows one shape, or lists of different lengths within a file, which are "
                "padded"
            )


def _all_lengths(pool: Pool, known: Mapping[int, Array]) -> Array:
    """Lengths of all rows; in a piece whose rows happen to be equally long, each is as long as it."""
    ends = (*pool.starts[1:], len(pool.digests))
    name = next(iter(pool.pad))
    return np.concatenate(
        [
            known[start]
            if start in known
            else np.full(end - start, pool.piece(start, name).shape[1], dtype=np.int64)
            for start, end in zip(pool.starts, ends, strict=True)
        ]
    )


def _pieces(encoder: Encoder, model: Model, table: Example, where: str) -> Iterator[Encoded]:
    kind = registry.get("encoders", encoder.kind)
    for start in range(0, table.n, CHUNK):
        piece = rows_of(table, slice(start, start + CHUNK))
        try:
            encoded = kind.encode(encoder, model, piece)
        except DataError as error:
            counted = f", rows counted from row {start}" if start else ""
            raise DataError(f"`{where}`{counted}: {error}") from error
        absent = [spec.name for spec in model.inputs if spec.name not in encoded.arrays]
        if absent or any(len(array) != piece.n for array in encoded.arrays.values()):
            raise InternalError(
                f"the encoder `{encoder.kind}` gave no rows for `{absent or 'some inputs'}`"
            )
        yield encoded


def rows_of(table: Example, index: slice | Array) -> Example:
    """Takes some rows of a table."""
    columns = {name: column[index] for name, column in table.columns.items()}
    files = tuple(np.asarray(table.files, dtype=object)[index]) if table.files else ()
    return Example(columns, len(next(iter(columns.values()))), files)


def row_digests(encoded: Encoded, names: Sequence[str]) -> list[str]:
    """SHA-256 of each row over name, dtype, shape and bytes of every input, padding left out."""
    arrays = {name: np.ascontiguousarray(_canonical(encoded.arrays[name])) for name in names}
    digests: list[str] = []
    for row in range(len(arrays[names[0]])):
        whole = hashlib.sha256()
        for name in names:
            value = arrays[name][row]
            if encoded.lengths is not None and name in encoded.pad:
                value = np.ascontiguousarray(value[: int(encoded.lengths[row])])
            whole.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
            whole.update(value.tobytes())
        digests.append(whole.hexdigest())
    return digests


def _canonical(array: Array) -> Array:
    """Little-endian, text in one width whatever the piece, and no negative zero."""
    if array.dtype.kind in "UO":
        return np.array([hashlib.sha256(repr(v).encode()).hexdigest() for v in array.tolist()])
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little + 0.0 if array.dtype.kind == "f" else little


def take_rows(pool: Pool, index: Array, folder: Path) -> Rows:
    """Writes chosen rows, in the order of `index`, as `Rows` in a folder."""
    folder.mkdir(parents=True)
    lengths = None if pool.lengths is None else pool.lengths[index]
    for name in pool.names:
        _take_input(pool, name, index, folder)
    if lengths is not None:
        np.save(folder / f"{LENGTHS}.npy", lengths, allow_pickle=False)
    whole = hashlib.sha256("".join(pool.digests[int(row)] for row in index).encode())
    return Rows(str(folder.resolve()), pool.names, len(index), pool.pad, whole.hexdigest())


def _take_input(pool: Pool, name: str, index: Array, folder: Path) -> None:
    pieces = {start: pool.piece(start, name) for start in pool.starts}
    first = pieces[0]
    shape = first.shape[1:]
    # Text has the width of the longest in its piece; other dtypes are the same in all pieces.
    dtype = np.result_type(*(piece.dtype for piece in pieces.values()))
    ragged = name in pool.pad and pool.lengths is not None
    if ragged and pool.lengths is not None:
        shape = (max(1, int(pool.lengths[index].max(initial=0))), *shape[1:])
    target = new_array(column_file(folder, name), dtype, (len(index), *shape))
    for start, piece in pieces.items():
        here = np.flatnonzero((index >= start) & (index < start + len(piece)))
        if not len(here):
            continue
        rows = np.asarray(piece[index[here] - start])
        if ragged:
            width = min(rows.shape[1], shape[0])
            target[here] = pool.pad[name]
            target[here, :width] = rows[:, :width]
        else:
            target[here] = rows
    target.flush()


def write_encoded(encoded: Encoded, names: tuple[str, ...], folder: Path) -> Rows:
    """Writes rows that were made up, in their order, as `Rows` in a folder."""
    folder.mkdir(parents=True)
    for name in names:
        np.save(column_file(folder, name), encoded.arrays[name], allow_pickle=False)
    if encoded.lengths is not None:
        np.save(folder / f"{LENGTHS}.npy", encoded.lengths, allow_pickle=False)
    digests = row_digests(encoded, names)
    whole = hashlib.sha256("".join(digests).encode()).hexdigest()
    return Rows(str(folder.resolve()), names, len(digests), dict(encoded.pad), whole)
