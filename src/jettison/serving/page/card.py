"""A model card as HTML: a card comes with a bundle, so nothing in it may run or load anything."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.S)
_ALIGNED = {"text-align:right": "number", "text-align:left": "words"}
LARGEST_CARD = 400_000
"""Characters: more is cut, so that a bundle can't keep the server busy with its card."""


def card_html(text: str) -> str:
    """Renders Markdown: headings one level down, tables that scroll, no HTML, images or styles.

    >>> card_html("# A <b>card</b>")
    '<h3>A &lt;b&gt;card&lt;/b&gt;</h3>\\n'
    """
    body = _FRONT_MATTER.sub("", text[:LARGEST_CARD].replace("\r\n", "\n"), count=1)
    parser = _parser()
    environment: dict[str, object] = {}
    tokens = parser.parse(body, environment)
    for token in tokens:
        _adapt(token)
    html: str = parser.renderer.render(tokens, parser.options, environment)
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace(
        "</table>", "</table></div>"
    )


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image"])


def _adapt(token: Token) -> None:
    """Styles become classes, which the page's policy allows; links leave no trace of the page."""
    if token.type in {"heading_open", "heading_close"}:
        token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"
    style = token.attrs.pop("style", None)
    if style is not None:
        token.attrs["class"] = _ALIGNED.get(str(style), "words")
    for child in token.children or ():
        if child.type == "link_open":
            child.attrs["rel"] = "noopener noreferrer nofollow"
            child.attrs["target"] = "_blank"
