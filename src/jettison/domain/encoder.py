"""`Encoder`: how a raw example becomes named arrays. Data only; it ships in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    settings: Mapping[str, bool | int | float | str | list[str] | list[float]] = field(
        default_factory=dict
    )
    folder: str = ""
    files: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    digest: str = ""
