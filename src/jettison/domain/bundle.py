"""`Bundle`: the folder that ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jettison.domain.record import digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every file of a bundle with its SHA-256; its own digest is the bundle's name.

    Attributes:
        files: path relative to the bundle -> SHA-256 in hexadecimal (all but the manifest).
        status: of the certificate inside.
        created: UTC, ISO 8601.
        jettison: version that wrote it.
        format_version: of this record.
    """

    files: Mapping[str, str]
    status: str
    created: str
    jettison: str
    format_version: int = 1

    @property
    def digest(self) -> str:
        """The bundle's name."""
        return digest(self)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A written bundle."""

    folder: str
    manifest: Manifest
