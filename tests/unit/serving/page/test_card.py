"""A model card from outside: it is shown as it is, and does nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from jettison.serving.page.card import LARGEST_CARD, card_html

CARD = """---
tags: ["jettison"]
---

# reviews-bert, made cheaper by jettison

**Certified.** It held `int8_dynamic`.

- one
- two

| Figure | Original | This model |
| :--- | ---: | ---: |
| accuracy | 91.0 % | 90.9 % |

```sh
jettison verify .
```
"""

HOSTILE = [
    "<script>steal()</script>",
    "<img src=x onerror=steal()>",
    "![x](https://evil.example/pixel.png)",
    "[x](javascript:steal())",
    "[x](JaVaScRiPt:steal())",
    "[x](data:text/html;base64,AAAA)",
    "[x](vbscript:steal())",
    "<a href='javascript:steal()'>x</a>",
    "<iframe srcdoc='<script>steal()</script>'></iframe>",
    "| a |\n| --- |\n| <svg onload=steal()> |",
    "```\n</code></pre><script>steal()</script>\n```",
    '``` "><script>steal()</script>\nx\n```',
    "<style>body{display:none}</style>",
    "<https://evil.example/&quot;onmouseover=&quot;steal()>",
    "[x]: javascript:steal()\n\n[x]",
]


class Seen(HTMLParser):
    """Tags and attributes of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)


def test_a_card_of_ours_becomes_html() -> None:
    """Headings one level under those of the page, a list, a table that scrolls, code."""
    html = card_html(CARD)
    seen = Seen(html)
    assert "<h3>reviews-bert, made cheaper by jettison</h3>" in html
    assert seen.tags.count("li") == 2
    assert seen.tags.count("td") == 3
    assert '<div class="scroll" tabindex="0"><table>' in html
    assert html.count('class="number"') == 4
    assert "<code>int8_dynamic</code>" in html
    assert "jettison verify ." in html


def test_front_matter_is_not_shown() -> None:
    """What stands there is for Hugging Face."""
    assert "tags" not in card_html(CARD)
    assert "<hr" in card_html("text\n\n---\nnot: front matter\n\n---\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_card_runs_or_loads(text: str) -> None:
    """No tag but those of Markdown, no event, no style, no address but the web's."""
    seen = Seen(card_html(f"# A\n\n{text}\n"))
    allowed = {"h3", "p", "a", "div", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert set(seen.tags) <= allowed
    for name, value in seen.attributes:
        assert name in {"class", "href", "rel", "target", "tabindex"}
        if name == "href":
            assert re.match(r"https?://", value or ""), value


def test_links_leave_no_trace() -> None:
    """A link opens apart, without telling where it was."""
    html = card_html("[x](https://example.org)")
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html


@pytest.mark.parametrize("text", ["", "\n", "---\n", "---\n---\n", "a\r\nb", "[" * 5000, "*" * 5000])
def test_any_text_is_a_card(text: str) -> None:
    """Empty, half and deeply nested cards are rendered without a fault."""
    assert isinstance(card_html(text), str)


def test_a_huge_card_is_cut() -> None:
    """A bundle can't keep the server busy with its card."""
    assert len(card_html("a" * (2 * LARGEST_CARD))) < LARGEST_CARD + 100
