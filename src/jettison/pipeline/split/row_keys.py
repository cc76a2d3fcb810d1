"""The digests by which a row of a run is known again: sealed ones in the ledger, read ones beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.pipeline.split.raw_keys import raw_digests


def sealed_keys(
    section: DataSection, tables: Mapping[str, Example], fed: Sequence[str], sealed: Array
) -> tuple[list[str], ...]:
    """Digests of the sealed rows by their raw values: of what feeds the model, and of all columns
    except target and weight, so that a model that reads other columns meets the same rows too.
    """
    use = "source" if "source" in tables else "certification"
    if use not in tables:
        return ()
    before = 0
    for name, other in tables.items():
        if name == use:
            break
        before += other.n
    table = tables[use]
    known = _telling(section, table)
    return tuple(raw_digests(table, columns, sealed - before) for columns in (fed, known))


def read_keys(
    section: DataSection,
    tables: Mapping[str, Example],
    fed: Sequence[str],
    read: Array,
    own: Sequence[str],
) -> tuple[list[str], list[str], list[str]]:
    """Digests of the rows that fitting and selection read, as the ledger keys sealed ones.

    Args:
        section: roles of the columns.
        tables: by use, in order.
        fed: columns that feed the model.
        read: row numbers over all tables, shape (n,).
        own: SHA-256 of the encoded inputs of every row; it stands in where raw values tell too
            little.

    Returns:
        Of the encoded inputs, of what feeds the model, and of all columns; one each a row.
    """
    kept: dict[int, tuple[str, str]] = {}
    before = 0
    for table in tables.values():
        mine = read[(read >= before) & (read < before + table.n)]
        columns = (fed, _telling(section, table))
        found = [raw_digests(table, names, mine - before) for names in columns]
        kept |= dict(zip(mine.tolist(), zip(*found, strict=True), strict=True))
        before += table.n
    encoded = [own[row] for row in read.tolist()]
    raw = [
        [kept[row][place] or one for row, one in zip(read.tolist(), encoded, strict=True)]
        for place in (0, 1)
    ]
    return encoded, raw[0], raw[1]


def _telling(section: DataSection, table: Example) -> list[str]:
    """All columns but the target, whose digest would tell it to whoever tries its few values."""
    return [name for name in table.columns if name not in (section.target, section.weight)]
