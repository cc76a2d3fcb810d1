"""Writes the published JSON schemas: `python docs/schemas/generate.py`."""

from __future__ import annotations

from pathlib import Path

from jettison.trust.certificate_schema import schema_text

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Writes each schema beside this script."""
    (FOLDER / "certificate.schema.json").write_text(schema_text())


if __name__ == "__main__":
    main()
