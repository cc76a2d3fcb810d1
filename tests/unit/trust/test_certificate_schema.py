"""The published schema takes every certificate that jettison writes, and nothing damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from jettison.domain.certificate import (
    Certificate,
    Claim,
    LedgerPosition,
    Subject,
)
from jettison.domain.certificate import Tested as Member
from jettison.domain.record import from_json, to_json
from jettison.trust.certificate_schema import certificate_schema, schema_text
from jettison.trust.wording import ASSUMPTIONS

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "certificate.schema.json"
DIGEST = "0123456789abcdef" * 4
CLAIM = Claim(
    "accuracy", "overall", 0.01, True, 500, 0.9, 0.91, -0.01, 0.002, 0.001, "A", "m", "held"
)
CERTIFIED = Certificate(
    status="certified",
    reason="",
    claims=(CLAIM, dataclasses.replace(CLAIM, group="sex=F", p_value=None, bound=None)),
    procedure="In order.",
    subject=Subject(DIGEST, DIGEST, DIGEST, "onnx_runtime", 1, 8, "any", "x86_64"),
    order=(Member(DIGEST, "int8", "held", (CLAIM,)), Member(DIGEST, "fp16", "not tested")),
    config_digest=DIGEST,
    data_digest=DIGEST,
    order_digest=DIGEST,
    ledger=LedgerPosition("/l/ledger.jsonl", 1, DIGEST, 0.05),
    assumptions=ASSUMPTIONS,
)


def plain(certificate: Certificate) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(to_json(certificate))
    return told


def published() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def test_the_published_schema_is_current() -> None:
    """The committed file is the one of the types; else run `python docs/schemas/generate.py`."""
    assert SCHEMA.read_text() == schema_text()
    jsonschema.Draft202012Validator.check_schema(certificate_schema())


def test_every_field_is_explained_and_required() -> None:
    """Each record of the schema has a sentence, every key is asked for, and no other is allowed."""
    schema = certificate_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert part["additionalProperties"] is False
        assert set(part["required"]) == set(part["properties"])
    for name, field in schema["properties"].items():
        assert "description" in field, name


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"status": "failed", "subject": None, "reason": "nothing passed", "claims": ()},
        {"status": "uncertified", "subject": None, "ledger": None, "order": (), "claims": ()},
    ],
)
def test_certificates_of_every_status_are_taken(change: dict[str, Any]) -> None:
    """A granted, a failed and an unopened certificate follow the schema, and read back."""
    certificate = dataclasses.replace(CERTIFIED, **change)
    published().validate(plain(certificate))
    assert from_json(Certificate, to_json(certificate)) == certificate


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("status",), "perfect"),
        (("subject",), None),
        (("ledger",), None),
        (("config_digest",), "abc"),
        (("claims", 0, "verdict"), "probably"),
        (("claims", 0, "p_value"), 1.2),
        (("claims", 0, "n"), -1),
        (("claims", 0, "margin"), -0.1),
        (("claims", 0, "grade"), "D"),
        (("ledger", "alpha"), 0),
        (("ledger", "entry"), ""),
        (("subject", "threads"), 0),
        (("format_version",), 2),
        (("extra",), 1),
        (("claims", 0, "extra"), 1),
    ],
)
def test_a_damaged_certificate_is_refused(place: tuple[str | int, ...], value: Any) -> None:
    """A value that can't be, a certified one about nothing, and unknown keys fail."""
    told = plain(CERTIFIED)
    inner: Any = told
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    assert list(published().iter_errors(told))


@pytest.mark.parametrize("key", [f.name for f in dataclasses.fields(Certificate)])
def test_a_missing_key_is_refused(key: str) -> None:
    """Nothing may be left out."""
    told = plain(CERTIFIED)
    del told[key]
    assert list(published().iter_errors(told))
