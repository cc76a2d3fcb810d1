"""The published JSON schema of `certificate.json`."""

from __future__ import annotations

import json
from typing import Any

from jettison.domain.certificate import Certificate

SCHEMA_ID = "urn:jettison:certificate:1"


def certificate_schema() -> dict[str, Any]:
    """Derives the schema from the type, with no room for unknown keys."""
    # Imported on first use: `import jettison` must stay cheap.
    from pydantic import TypeAdapter

    schema = TypeAdapter(Certificate).json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        part["additionalProperties"] = False
        part["required"] = sorted(part["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(certificate_schema(), indent=2, sort_keys=True) + "\n"
