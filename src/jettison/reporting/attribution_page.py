"""The page of explained changes: both models side by side, no script, nothing loaded from anywhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jettison.domain.attribution import AttributedRow, Attribution, Shares

if TYPE_CHECKING:
    from jinja2 import Environment

STRONGEST = 0.85
"""Opacity of the part with the largest share; the words stay readable on it in both schemes."""

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One part as it is drawn.

    Attributes:
        label: what a person reads.
        share: signed, with its sign in words for those who don't see colours.
        side: `for` the original's class, `against` it, or `none`.
        strength: 0 to 1, of the largest share of this row under either model.
    """

    label: str
    share: str
    side: str
    strength: float

    @property
    def opacity(self) -> str:
        """As CSS writes it."""
        return f"{STRONGEST * self.strength:.3f}"

    @property
    def width(self) -> str:
        """Of a bar, in per cent of half the column."""
        return f"{50.0 * self.strength:.2f}"


@dataclass(frozen=True, slots=True)
class View:
    """One model's view of a row."""

    name: str
    answer: str
    contest: str
    gap: str
    pieces: tuple[Piece, ...]


def render_attribution(found: Attribution) -> str:
    """Renders explained changes as one HTML page.

    Args:
        found: rows with the shares of their parts.

    Returns:
        The page. Every text from outside is escaped; it holds no script.
    """
    page: str = (
        _environment()
        .get_template("attribution.html.j2")
        .render(
            found=found,
            rows=[(row, _views(row)) for row in found.rows],
            policy=_POLICY,
            style=_style(),
            columns=_columns,
        )
    )
    return page


def _views(row: AttributedRow) -> tuple[View, ...]:
    """Both models by replacement, then those that have gradients; one scale for each method."""
    return (
        *_pair(row, (row.before, row.after), ""),
        *_pair(row, (row.before_gradients, row.after_gradients), ", by gradients"),
    )


def _pair(
    row: AttributedRow, shares: tuple[Shares | None, Shares | None], method: str
) -> tuple[View, ...]:
    known = [one for one in shares if one is not None]
    largest = max((abs(s) for one in known for s in one.parts), default=0.0)
    named = (("Original", row.original_class), ("New model", row.new_class))
    return tuple(
        _view(f"{name}{method}", answer, row, one, largest)
        for (name, answer), one in zip(named, shares, strict=True)
        if one is not None
    )


def _view(name: str, answer: str, row: AttributedRow, shares: Shares, largest: float) -> View:
    pieces = tuple(
        Piece(label, signed(share), _side(share, largest), abs(share) / largest if largest else 0.0)
        for label, share in zip(row.parts, shares.parts, strict=True)
    )
    return View(name, answer, signed(shares.value), signed(shares.gap), pieces)


def _side(share: float, largest: float) -> str:
    if not largest or abs(share) < largest * 1e-3:
        return "none"
    return "for" if share > 0 else "against"


def signed(value: float) -> str:
    """Writes a share with its sign.

    >>> signed(0.1234), signed(-0.5), signed(0.0001)
    ('+0.123', '−0.500', '0.000')
    """
    shown = f"{abs(value):.3f}"
    if float(shown) == 0:
        return shown
    return ("+" if value > 0 else "−") + shown


def _columns(row: AttributedRow) -> int:
    """Patches in a row of an image."""
    return row.grid[1] if row.grid is not None else 1


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("jettison.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style() -> str:
    """The style of the report, and what only this page has."""
    loader = _environment().loader
    if loader is None:
        return ""
    names = ("report.css", "attribution.css")
    return "".join(loader.get_source(_environment(), name)[0] for name in names)
