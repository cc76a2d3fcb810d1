"""The page itself: one file that holds its style and its script, and carries no data."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from string import Template


@dataclass(frozen=True, slots=True)
class Document:
    """The page, and the headers that it goes out with."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@functools.cache
def document() -> Document:
    """Puts the page together; the same bytes for everybody."""
    own = resources.files(__package__) / "files"
    report = resources.files("jettison.reporting") / "templates" / "report.css"
    style = f"{report.read_text(encoding='utf-8')}\n{(own / 'page.css').read_text('utf-8')}"
    script = (own / "page.js").read_text(encoding="utf-8")
    page = Template((own / "page.html").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; style-src {_allowance(style)}; script-src {_allowance(script)}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    headers = (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    )
    return Document(page.substitute(style=style, script=script).encode(), headers)


def _allowance(source: str) -> str:
    """The source expression of a Content Security Policy that allows this text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
