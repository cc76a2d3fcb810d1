"""Names that stand for persons in logs, reports and files: the same here, meaningless elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jettison.domain.local_key import keyed_digest
from jettison.domain.rows import Array

LETTERS = 16
"""64 bits: two of a million persons share a pseudonym once in 40 million files."""


def pseudonym(name: str) -> str:
    """A person's or unit's pseudonym: HMAC-SHA256 under the key of this account, cut to 64 bits.

    Raises:
        UsageError: if the key can't be read or made.
    """
    return f"p-{keyed_digest('pseudonym', name)[:LETTERS]}"


def pseudonyms(names: Iterable[str]) -> Array:
    """Pseudonyms of many names, shape (n,) of text, in their order; each name is digested once."""
    known: dict[str, str] = {}
    made = [known.get(n) or known.setdefault(n, pseudonym(n)) for n in names]
    return np.array(made, dtype=np.str_)
