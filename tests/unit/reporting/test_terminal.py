"""What the terminal shows, at the width that terminals have."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
import records
from rich.console import Console, RenderableType

from jettison.domain.recipe import Choices, FloatRange, IntegerRange, Route, SearchSpace
from jettison.reporting import advice, terminal


def shown(what: RenderableType, width: int = 80) -> str:
    """What a terminal without colours prints."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return printed.getvalue()


def words(what: RenderableType, width: int = 200) -> str:
    return " ".join(shown(what, width).split())


@dataclass(frozen=True)
class Part:
    """A line of the plan, as the certification stage gives it."""

    metric: str
    unit: str
    group: str
    margin: float
    held: int
    needed: int | None
    obstacle: str
    gates: bool = True


@pytest.mark.parametrize("name", records.EVERY_RECORD)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_outcome_fits(name: str, width: int) -> None:
    """No line is longer than the terminal, and no cell is cut off."""
    text = shown(terminal.summary(records.EVERY_RECORD[name]()), width)
    assert all(len(line) <= width for line in text.splitlines())
    if width >= 80:
        assert "…" not in text.replace("(…)", "")


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_the_answer_comes_first(name: str) -> None:
    """The answer and the next step stand above everything else."""
    record = records.EVERY_RECORD[name]()
    text = words(terminal.summary(record), 400)
    assert " ".join(record.answer.split())[:40] in text[:600]


def test_claims_and_ranking_figures_differ() -> None:
    """Ranking figures stand in brackets with a note; claims have an interval."""
    text = words(terminal.comparison_table(records.improved()))
    assert "1.54×" in text
    assert "1.50–1.58" in text
    assert "(0.36×)" in text
    assert "ranking only, not quoted as a claim" in text


def test_noisy_figures_are_marked() -> None:
    """A figure from a busy machine stands in brackets and says why."""
    record = records.noisy()
    text = words(terminal.comparison_table(record))
    assert "(1.54×)" in text
    assert "noisy: the machine was too busy for a claim" in text


def test_every_verdict_has_its_reason() -> None:
    """Reasons of failed, stopped and lossy candidates stand below the table."""
    text = words(terminal.comparison_table(records.improved()))
    for reason in ("onnxruntime has no float16 kernel", "3.1x slower", "−18.41 points on 752"):
        assert reason in text


def test_the_claims_name_groups_that_do_not_gate() -> None:
    """A group that is not certified is listed with the rows that it needs."""
    text = words(terminal.claims_table(records.improved()))
    assert "type=diff 41" in text
    assert "undecided, does not gate; about 118 rows needed" in text


def test_the_plan_shows_rows_needed_and_held() -> None:
    """Each group has the rows needed and held; one that can't pass says why."""
    parts = (
        Part("accuracy", "fraction", "overall", 0.01, 4016, 1369, ""),
        Part("accuracy", "fraction", "type=c", 0.05, 388, 500, ""),
        Part("accuracy", "fraction", "type=diff", 0.05, 41, None, "59 rows are the fewest"),
    )
    text = words(terminal.certification_plan(parts))
    assert "overall 1 point about 1,369 4,016 enough" in text
    assert "type=c 5 points about 500 388 may not be enough" in text
    assert "type=diff 5 points – 41 can't pass" in text
    assert "59 rows are the fewest" in text


def test_markup_in_names_is_text() -> None:
    """Square brackets in names are not styles."""
    record = records.hostile()
    text = words(terminal.summary(record), 400)
    assert "[d](http://evil.example)" in text


def test_stage_times_are_added_up() -> None:
    """Each stage and the sum have their time."""
    text = words(terminal.stage_times({"load": 1.2, "search": 161.0}))
    assert text == "Time: load 1.2 s, search 2 min 41 s; together 2 min 42 s."


def test_advice_shows_the_most_promising_first() -> None:
    """Techniques stand in the order of what they could gain, each with its reason."""
    record = records.improved()
    text = words(advice.advice(record.space, record.profile))
    assert text.index("int8_static") < text.index("int8_dynamic") < text.index("half_precision")
    assert "81 % of the time is Conv" in text
    assert "at most 25.6× faster" in text
    assert "The graph holds no attention." in text


def test_advice_without_techniques_says_so() -> None:
    """A model that nothing can be done for gets a sentence, not an empty table."""
    empty = SearchSpace((), {}, {}, (), ())
    text = words(advice.advice(empty, records.profile()))
    assert "No technique can be tried here." in text
    assert "No legal recipe" in words(advice.space_table(empty))


def test_the_space_shows_every_kind_of_range() -> None:
    """Open settings are shown with what they may be, fixed ones with their value."""
    space = SearchSpace(
        routes=(Route(("chita",), "onnx_runtime"),),
        ranges={
            "chita": {
                "sparsity": FloatRange(0.3, 0.9, 0.5),
                "blocks": IntegerRange(1, 8, 4),
                "kind": Choices(("a", "b"), "a"),
            }
        },
        fixed={"onnx_runtime": {"optimization": "all"}},
        advice=(),
        refused=(),
    )
    text = words(advice.space_table(space))
    for part in ("chita.sparsity: 0.3 to 0.9", "chita.blocks: 1 to 8", "chita.kind: a, b"):
        assert part in text
    assert "onnx_runtime.optimization = all (fixed)" in text


def test_layers_without_times_are_said() -> None:
    """A runtime that shows no operators gives a sentence instead of a table."""
    assert "does not show single operators" in words(
        advice.layers_table(records.all_failed().profile)
    )
    assert "/network/block_0/Conv" in words(advice.layers_table(records.profile()))
