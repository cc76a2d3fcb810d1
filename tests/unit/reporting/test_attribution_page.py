"""The page of explained changes: both models side by side, readable, and closed to the outside."""

from __future__ import annotations

import re

import pytest

from jettison.domain.attribution import AttributedRow, Attribution, Layout, Shares
from jettison.reporting.attribution_page import render_attribution

SCRIPT = "<script>alert(1)</script>"


def attribution(layout: Layout, *rows: AttributedRow) -> Attribution:
    return Attribution("m.onnx", "int8", layout, "Occlusion.", ("A limit.",), rows, 3, 900, 7)


def row(
    parts: tuple[str, ...], before: tuple[float, ...], after: tuple[float, ...]
) -> AttributedRow:
    return AttributedRow(
        4, "spam", "ham", True, parts, Shares(before, 0.5, 0.0), Shares(after, -0.25, 0.0)
    )


def test_both_models_stand_side_by_side() -> None:
    """Each part has its share under both models; the larger one has the stronger colour."""
    page = render_attribution(
        attribution("table", row(("age = 40", "job = a"), (0.4, -0.1), (0.0, -0.2)))
    )
    assert page.count("age = 40") == 2
    for share in ("+0.400", "−0.100", "−0.200", "0.000"):
        assert share in page
    assert re.findall(r'width: ([\d.]+)%"', page) == ["50.00", "12.50", "0.00", "25.00"]
    assert "Row 4: spam became ham" in page
    assert "The original was right." in page
    assert "3 of 900 selection rows" in page


def test_the_gap_is_told() -> None:
    """What the parts don't add up to is printed: 0.5 - (0.4 - 0.1) = 0.2."""
    page = render_attribution(attribution("table", row(("a", "b"), (0.4, -0.1), (0.0, -0.2))))
    assert "completeness gap +0.200" in page
    assert "completeness gap −0.050" in page
    assert "A limit." in page


def test_text_is_tinted_and_stands_as_a_table_too() -> None:
    """Tokens are highlighted with their sign in a second cue, and their numbers are in a table."""
    page = render_attribution(attribution("text", row(("good", "bad"), (0.4, -0.4), (0.1, 0.0))))
    assert '<span class="piece for" title="+0.400">' in page
    assert '<span class="piece against" title="−0.400">' in page
    assert page.count('<td class="number">+0.400</td>') == 1


def test_an_image_is_a_heat_map_over_itself() -> None:
    """Patches lie in the grid of the row, over the picture that the model got."""
    one = AttributedRow(
        0,
        "cat",
        "dog",
        None,
        ("p",) * 6,
        Shares((0.1,) * 6, 0, 0),
        Shares((0.0,) * 6, 0, 0),
        grid=(2, 3),
        picture="QUJD",
    )
    page = render_attribution(attribution("image", one))
    assert "repeat(3, 1fr)" in page
    assert page.count('src="data:image/png;base64,QUJD"') == 2
    assert "not known here" in page


@pytest.mark.parametrize("layout", ["text", "table", "sequence"])
def test_names_from_outside_make_no_markup(layout: Layout) -> None:
    """A token, column or class that looks like HTML is shown as it is, and nothing is loaded."""
    made = AttributedRow(
        0, SCRIPT, SCRIPT, False, (SCRIPT,), Shares((0.1,), 0, 0), Shares((0.1,), 0, 0)
    )
    page = render_attribution(attribution(layout, made))
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_no_change_is_said() -> None:
    """A run in which no class changed gives a page that says so."""
    assert "nothing to explain" in render_attribution(attribution("table"))
