"""`Encoder`: how a raw example becomes named arrays. Data only; it ships in the bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jettison.domain.record import file_digest

Setting = bool | int | float | str | list[str] | list[float]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Describes the way from raw example to arrays, and the names of the classes.

    Attributes:
        kind: name of the registered encoder kind (`tokenizer`, `tabular`, `arrays`).
        settings: plain values for that kind, for example `max_length` or the column order.
        folder: where its files lie (absolute), or empty when it has none.
        files: paths relative to the folder, for example `tokenizer.json`.
        labels: class names in the order of the model's scores; empty when unknown.
        digest: SHA-256 over kind, settings, labels and file contents.
    """

    kind: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    folder: str = ""
    files: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    digest: str = ""

    @classmethod
    def of(
        cls,
        kind: str,
        settings: Mapping[str, Setting],
        *,
        folder: str | Path = "",
        files: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
    ) -> Encoder:
        """Describes an encoder whose files lie on disk; reads them to hash them."""
        root = Path(folder).resolve() if folder else None
        whole = hashlib.sha256()
        whole.update(json.dumps([kind, dict(settings), labels], sort_keys=True).encode())
        for name in files:
            content = file_digest(root / name) if root else ""
            whole.update(f"\n{name}\0{content}".encode())
        return cls(kind, dict(settings), str(root or ""), files, labels, whole.hexdigest())
