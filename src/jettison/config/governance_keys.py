"""The keys of `data` about what its rows may be used for, and those of `audit`."""

from __future__ import annotations

from typing import Literal, get_args

from jettison.config.key import Key, defaults_of
from jettison.domain.configuration import AuditSection, DataSection

_DATA = defaults_of(DataSection)
_AUDIT = defaults_of(AuditSection)

Basis = Literal[
    "",
    "consent",
    "contract",
    "legal obligation",
    "vital interests",
    "public task",
    "legitimate interests",
]
Use = Literal["calibration", "training", "selection", "certification"]
BASES, USES = get_args(Basis), get_args(Use)

GOVERNANCE_KEYS = (
    Key(
        "data",
        "purpose",
        str,
        "a text",
        _DATA["purpose"],
        "What the rows may be used for. It stands in the audit trail and in the record of the run.",
    ),
    Key(
        "data",
        "lawful_basis",
        Basis,
        "one of " + ", ".join(f'"{basis}"' for basis in BASES if basis) + ", or an empty text",
        _DATA["lawful_basis"],
        'On which the rows are processed (GDPR, article 6). With "consent", `consent` or '
        "`consent_statement` must be given.",
    ),
    Key(
        "data",
        "consent",
        str,
        "a column name, or an empty text",
        _DATA["consent"],
        "Column of true and false. Rows in which it is not true are left out before anything is "
        "made of them, and counted.",
    ),
    Key(
        "data",
        "consent_statement",
        str,
        "a text",
        _DATA["consent_statement"],
        "How consent was given, where no column tells it row by row.",
    ),
    Key(
        "data",
        "allowed_uses",
        list[Use],
        "a list of " + ", ".join(f'"{use}"' for use in USES),
        _DATA["allowed_uses"],
        "What the rows may be used for; a run that needs another use is refused, and techniques "
        'that train are not tried without "training". Empty: every use.',
    ),
)

AUDIT_KEYS = (
    Key(
        "audit",
        "who",
        str,
        "a name, or an empty text",
        _AUDIT["who"],
        "Written with each decision in the audit trail. Empty: the name of the user account.",
    ),
    Key(
        "audit",
        "key",
        str,
        "the path of an Ed25519 private key (PEM or OpenSSH), or an empty text",
        _AUDIT["key"],
        "Signs each line of the audit trail. Nobody else may read the file. Empty: unsigned.",
    ),
)
