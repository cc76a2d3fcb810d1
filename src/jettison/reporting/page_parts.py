"""What every page shares: templates, plotly's own script, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jettison.reporting.plotly_figure import Plot

if TYPE_CHECKING:
    from jinja2 import Environment

SYMBOLS = {"ships": "◆", "good": "✓", "bad": "✗", "open": "?", "neutral": "–", "error": "!"}


@dataclass(frozen=True, slots=True)
class Library:
    """plotly's own JavaScript, packed, and the hash that the page's security policy allows."""

    packed: str
    allowed: str


def figure(plot: Plot) -> Mapping[str, Any]:
    """What the page's script draws."""
    return {"data": plot.figure["data"], "layout": plot.figure["layout"], "height": plot.height}


@functools.cache
def environment() -> Environment:
    """The templates; names from outside are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("jettison.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def source(templates: Environment, name: str) -> str:
    """The text of a file beside the templates, as it is: our own, so it needs no escaping."""
    if templates.loader is None:
        return ""
    return templates.loader.get_source(templates, name)[0]


@functools.cache
def library() -> Library:
    """Plotly's script, read once."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    packed = gzip.compress(script.encode(), compresslevel=9, mtime=0)
    return Library(base64.b64encode(packed).decode(), allowance(script))


def allowance(script: str) -> str:
    """The source expression of a Content Security Policy that allows this script alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def policy(scripts: Sequence[str]) -> str:
    """Forbids everything but our two scripts, styles in the page and images in the page."""
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {' '.join(scripts)}; base-uri 'none'; form-action 'none'"
    )
