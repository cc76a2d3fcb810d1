"""The published JSON schema of `certificate.json`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from jettison.domain import certificate as records
from jettison.domain.certificate import Certificate

SCHEMA_ID = "urn:jettison:certificate:1"

_DIGEST = {"pattern": "^([0-9a-f]{64})?$"}
_SHARE = {"minimum": 0, "maximum": 1}
_COUNT = {"minimum": 0}
LIMITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Certificate": {
        "config_digest": _DIGEST,
        "data_digest": _DIGEST,
        "order_digest": _DIGEST,
        "format_version": {"const": 1},
    },
    "Claim": {
        "margin": {"minimum": 0},
        "n": _COUNT,
        "p_value": _SHARE,
        "rows_needed": _COUNT,
        "metric": {"minLength": 1},
        "group": {"minLength": 1},
    },
    "LedgerPosition": {
        "alpha": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "entry": {"pattern": "^[0-9a-f]{64}$"},
        "look": {"minimum": 1},
    },
    "Subject": {
        "artifact": {"pattern": "^[0-9a-f]{64}$"},
        "encoder": _DIGEST,
        "recipe": {"pattern": "^[0-9a-f]{64}$"},
        "threads": {"minimum": 1},
        "batch_size": {"minimum": 1},
    },
}
"""Record -> field -> what JSON Schema asks of it beside the type. A `null` passes: limits of numbers
and texts are silent about other types."""

_ATTRIBUTE = re.compile(r"^    (\w[\w, ]*): (.*(?:\n      .*)*)", re.M)


def certificate_schema() -> dict[str, Any]:
    """Derives the schema from the types: no unknown keys, every key there, each explained."""
    # Imported on first use: `import jettison` must stay cheap.
    from pydantic import TypeAdapter

    schema = TypeAdapter(Certificate).json_schema()
    for name, part in (("Certificate", schema), *schema.get("$defs", {}).items()):
        _complete(part, getattr(records, name), LIMITS.get(name, {}))
    certified = {"properties": {"status": {"const": "certified"}}}
    about = {
        "properties": {"subject": {"not": {"type": "null"}}, "ledger": {"not": {"type": "null"}}}
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "if": certified,
        "then": about,
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(certificate_schema(), indent=2, sort_keys=True) + "\n"


def _complete(
    part: dict[str, Any], record: type[Any], limits: Mapping[str, Mapping[str, Any]]
) -> None:
    part["additionalProperties"] = False
    part["required"] = sorted(part["properties"])
    told = inspect.getdoc(record) or ""
    part["description"] = told.split("\n", 1)[0]
    for name, meaning in _meanings(told).items():
        if name in part["properties"]:
            part["properties"][name]["description"] = meaning
    for name, limit in limits.items():
        part["properties"][name] |= limit


def _meanings(docstring: str) -> dict[str, str]:
    """Field -> its sentence under `Attributes` of a docstring; fields told together share it."""
    _, _, attributes = docstring.partition("Attributes:\n")
    return {
        name.strip(): " ".join(meaning.split())
        for names, meaning in _ATTRIBUTE.findall(attributes)
        for name in names.split(",")
    }
