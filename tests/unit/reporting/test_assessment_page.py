"""The page and the terminal of an assessment: the worst first, everything inside, names escaped."""

from __future__ import annotations

import dataclasses
import html
import re

import numpy as np
import pytest
from rich.console import Console

from jettison.assessment.answers import ModelAnswers
from jettison.assessment.assessing import Told, assess
from jettison.assessment.figures import Wishes
from jettison.assessment.people import People, group_columns
from jettison.reporting.assessment_page import render_assessment
from jettison.reporting.assessment_tables import (
    gap_table,
    group_tables,
    own_name,
    ratio_verdict,
)
from jettison.reporting.assessment_terminal import assessment_summary

HOSTILE = "<script>hostile=1</script>"


def record(models=1, groups=("a", HOSTILE, "c"), n=1200):
    """An assessment in which the last group has most errors."""
    r = np.random.default_rng(0)
    codes = r.integers(0, len(groups), n)
    targets = r.integers(0, 2, n)
    wrong = r.random(n) < np.where(codes == len(groups) - 1, 0.4, 0.1)
    decisions = np.where(wrong, 1 - targets, targets)
    score = np.where(decisions == 1, 0.8, 0.2)
    scores = np.stack([1 - score, score], axis=1)
    columns = group_columns({"g": np.array(groups)[codes]}, (), "rows")
    people = People("binary", n, columns, targets, ("no", "yes"))
    answers = [ModelAnswers(name, decisions, scores) for name in ("original", "shipped")[-models:]]
    return assess(people, answers, Wishes(adverse=True), Told("m.onnx", "made-up rows"))


def test_the_page_leads_with_the_answer():
    """The heading is the worst finding; the badge says that groups differ."""
    made = record()
    page = render_assessment(made)
    heading = re.search(r"<h1>(.*?)</h1>", page, re.S).group(1)
    # A number stays on one line with its unit.
    assert html.unescape(heading).replace("\u00a0", " ") == made.answer
    assert "Groups are treated differently" in page


def test_the_page_asks_for_nothing_and_escapes_names():
    """No address from outside, a policy that forbids the network, and no foreign script."""
    page = render_assessment(record())
    shown = page[: page.index('id="plotly"')]
    assert not re.findall(r"https?://", shown)
    assert "default-src 'none'" in html.unescape(page[:3000])
    assert HOSTILE not in shown


def test_before_and_after_stand_side_by_side():
    """With two models there is a table of changes, and the original beside what ships."""
    two, one = render_assessment(record(2)), render_assessment(record())
    assert 'id="changes"' in two
    assert 'id="changes"' not in one
    assert [c.heading for c in gap_table(record(2)).columns][2:4] == ["Original", "Shipped"]


def test_many_groups_are_cut_and_counted():
    """Of 100 groups, 60 are listed, those with most errors first; the caption says so."""
    many = record(groups=tuple(f"{i:03d}" for i in range(100)), n=6000)
    table = group_tables(many)[0]
    assert len(table.rows) == 61
    assert "40 more groups" in table.caption
    assert table.rows[1][0].text == "099"


def test_the_terminal_shows_every_part():
    """Answer, groups with intervals and rows, differences, ratio and notes."""
    console = Console(width=100, record=True)
    console.print(assessment_summary(record()))
    text = console.export_text()
    for part in ("wrong", "overall", " to ", "equalised odds", "0.8", "n ="):
        assert part in text.lower() or part in text


@pytest.mark.parametrize(
    ("column", "group", "shown"),
    [
        ("sex", "sex=f", "f"),
        ("a & b", "a=1 & b=2", "1 & 2"),
        ("a & b", "a=1 & x & b=2", "a=1 & x & b=2"),
    ],
)
def test_names_without_their_column(column, group, shown):
    """In the table of a column its name is not repeated; odd names stay whole."""
    assert own_name(column, group) == shown


def test_square_brackets_of_the_data_are_no_markup():
    """Names that look like the terminal's markup are shown as they are, and never raise."""
    made = record(groups=("a", "[/INST]", "[red]c"))
    made = dataclasses.replace(made, subject="[/b] m.onnx")
    told = Console(width=200)
    with told.capture() as caught:
        told.print(assessment_summary(made))
    assert "[/INST]" in caught.get()
    assert "[red]c" in caught.get()
    assert "[/b] m.onnx" in caught.get()


def test_a_verdict_names_the_groups_that_it_leaves_out():
    """«Not below» among those compared acquits nobody of a group of 12 rows."""
    r = np.random.default_rng(1)
    codes = np.r_[r.integers(0, 2, 4000), np.full(12, 2)]
    targets = r.integers(0, 2, len(codes))
    columns = group_columns({"g": np.array(["a", "b", "few"])[codes]}, (), "rows")
    people = People("binary", len(codes), columns, targets, ("no", "yes"))
    answers = ModelAnswers("original", np.where(codes == 2, 0, targets), None)
    made = assess(people, [answers], Wishes(), Told("m.onnx", "made-up rows"))
    (ratio,) = made.leading.ratios
    assert (ratio.verdict, ratio.left_out) == ("not below", ("g=few",))
    cell = ratio_verdict(ratio, made.smallest)
    assert cell.text == "not below 0.8, of those compared"
    assert cell.note == "without g=few: fewer than 20 rows"
    assert cell.kind == "open"
    page = render_assessment(made)
    assert "not compared: g=few" in page
    whole = ratio_verdict(dataclasses.replace(ratio, left_out=()), made.smallest)
    assert (whole.text, whole.kind) == ("not below 0.8", "good")
