"""How well rows hide among each other: k-anonymity, uniqueness, l-diversity.

Sweeney 2002 (k-anonymity); Machanavajjhala et al. 2007 (distinct l-diversity). Neither is a
protection against whoever knows more than the columns that were named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import DataError

SHOWN = 5


@dataclass(frozen=True, slots=True)
class SmallClass:
    """Rows that share their values in the columns named.

    Attributes:
        values: column -> value; n: rows; distinct: values of the sensitive column, 0 without one.
    """

    values: Mapping[str, str]
    n: int
    distinct: int


@dataclass(frozen=True, slots=True)
class Anonymity:
    """What was found.

    Attributes:
        rows: in the file.
        classes: of rows that share their values.
        k: size of the smallest class.
        unique: rows that are alone in their class.
        l_diversity: fewest different values of the sensitive column in any class; `None` without.
        below: rows in classes of fewer than the k that was asked for.
        smallest: classes, the smallest first.
    """

    rows: int
    classes: int
    k: int
    unique: int
    l_diversity: int | None
    below: int
    smallest: tuple[SmallClass, ...]


def anonymity(
    columns: Mapping[str, Array], quasi: Sequence[str], sensitive: str = "", k: int = 5
) -> Anonymity:
    """Groups rows by the columns that an outsider may know.

    Args:
        columns: name -> values, shape (n,); a missing value is a value of its own.
        quasi: names of the columns that an outsider may know (age, postcode, ...).
        sensitive: the column that must not be told from them, or empty.
        k: rows below which a class is counted as too small.

    Raises:
        DataError: for a column that is not there, or is no column of single values.
    """
    named = (*quasi, *((sensitive,) if sensitive else ()))
    for name in named:
        if name not in columns:
            raise DataError(f"there is no column `{name}`; there are: {', '.join(columns)}")
        if columns[name].ndim != 1:
            raise DataError(f"the column `{name}` has shape {columns[name].shape}; one value a row")
    if not quasi:
        raise DataError("name the columns that an outsider may know, such as --quasi age")
    if sensitive in quasi:
        raise DataError(f"`{sensitive}` can't be known and sensitive at once; name it once")
    texts = {name: np.array([_text(v) for v in columns[name].tolist()]) for name in named}
    codes = np.stack([np.unique(texts[name], return_inverse=True)[1] for name in quasi], axis=1)
    _, first, inverse, counts = np.unique(
        codes, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    inverse = inverse.reshape(-1)
    distinct = np.zeros(len(counts), dtype=np.int64)
    if sensitive:
        values = np.unique(texts[sensitive], return_inverse=True)[1]
        pairs = np.unique(np.stack([inverse, values], axis=1), axis=0)
        distinct = np.bincount(pairs[:, 0], minlength=len(counts))
    order = np.lexsort((first, distinct, counts))[:SHOWN]
    smallest = tuple(
        SmallClass(
            {name: str(texts[name][first[place]]) for name in quasi},
            int(counts[place]),
            int(distinct[place]),
        )
        for place in order
    )
    return Anonymity(
        rows=len(inverse),
        classes=len(counts),
        k=int(counts.min()),
        unique=int((counts == 1).sum()),
        l_diversity=int(distinct.min()) if sensitive else None,
        below=int(counts[counts < k].sum()),
        smallest=smallest,
    )


def _text(value: object) -> str:
    if value is None or value != value:
        return "(missing)"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
