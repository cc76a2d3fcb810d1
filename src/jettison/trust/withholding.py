"""Outcomes of a look that answers only «no»: kept, but unreadable until the rows are retired.

It keeps people from looking by accident, as the seal does. Who owns the disk can find the key;
what that breaks is the promise of later looks, and only the owner is harmed.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import numpy as np

from jettison.domain.files import write_atomically
from jettison.errors import CheckFailed
from jettison.trust.ledger import Ledger, Look
from jettison.trust.outcomes import Outcomes, load_outcomes, outcome_bytes

FOLDER = "withheld"
_MAGIC = b"jettison withheld outcomes\n"


def withhold_outcomes(outcomes: Outcomes, folder: Path, look: Look) -> Path:
    """Writes the outcomes of a look so that only `Ledger.reveal` makes them readable.

    Args:
        outcomes: of the look.
        folder: of the certification.
        look: its ledger keeps the key.

    Raises:
        UsageError: if the ledger can't be written.
    """
    key = secrets.token_bytes(32)
    Ledger(Path(look.ledger)).keep_key(look, key)
    path = withheld_path(folder, look.entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _MAGIC + _streamed(outcome_bytes(outcomes), key))
    return path


def withheld_path(folder: Path, entry: str) -> Path:
    """Where the outcomes of a look (digest of its line) lie in the folder of a certification."""
    return folder / FOLDER / f"{entry}.outcomes"


def unveil_outcomes(path: Path, key: bytes, target: Path) -> Outcomes:
    """Writes withheld outcomes as an ordinary file, and reads them.

    Raises:
        CheckFailed: if the file is gone or was changed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckFailed(f"the withheld outcomes {path} can't be read: {error}") from error
    if not data.startswith(_MAGIC):
        raise CheckFailed(f"{path} holds no withheld outcomes")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, _streamed(data[len(_MAGIC) :], key))
    return load_outcomes(target)


def _streamed(data: bytes, key: bytes) -> bytes:
    """Adds a key stream to data; the same call undoes it."""
    stream = np.frombuffer(hashlib.shake_256(key).digest(len(data)), np.uint8)
    return (np.frombuffer(data, np.uint8) ^ stream).tobytes()
