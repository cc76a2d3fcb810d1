"""Claims: the data file, and how readings become verdicts."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from jettison.claims import catalogue, running, showing
from jettison.claims.catalogue import Case, Claim, Found, Reading
from jettison.claims.costs import Bench
from jettison.domain.record import from_json, to_json
from jettison.errors import MissingDependency, UsageError
from tests.unit.reporting import records


def claim(**changes: object) -> Claim:
    """A claim that something is at least 2."""
    facts: dict[str, object] = {
        "id": "c",
        "phrase": "It is twice as fast.",
        "metric": "speed",
        "unit": "ratio",
        "threshold": 2.0,
        "at_least": True,
        "cases": (Case("one row", "compare"),),
        "why": "because",
    }
    return Claim(**(facts | changes))  # type: ignore[arg-type]


def found(verdict: str, condition: str = "one row") -> Found:
    """A case that came out so."""
    return Found(condition, verdict, None)  # type: ignore[arg-type]


def test_every_claim_can_be_run_by_an_experiment_that_exists() -> None:
    """The data file names unique ids and known experiments, and says why."""
    claims = catalogue.load_claims()
    assert len({one.id for one in claims}) == len(claims) >= 15
    for one in claims:
        assert one.phrase.endswith(".")
        assert one.cases
        assert one.why
        assert {case.experiment for case in one.cases} <= set(running.EXPERIMENTS)


@pytest.mark.parametrize(
    ("low", "high", "at_least", "verdict"),
    [
        (2.0, 2.5, True, "holds"),
        (1.0, 1.9, True, "does not hold"),
        (1.9, 2.1, True, "not decided"),
        (1.0, 2.0, False, "holds"),
        (2.1, 2.2, False, "does not hold"),
        (1.9, 2.1, False, "not decided"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, at_least: bool, verdict: str) -> None:
    """A threshold inside the interval decides nothing."""
    reading = Reading((low + high) / 2, low, high, 5, "launches")
    assert catalogue.judge_case(claim(at_least=at_least), reading) == verdict


def test_a_noisy_reading_decides_nothing() -> None:
    """However clear it looks."""
    reading = Reading(9.0, 8.0, 10.0, 5, "launches", noisy=True)
    assert catalogue.judge_case(claim(), reading) == "not decided"


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (["holds", "holds"], "holds here"),
        (["holds", "does not hold"], "holds only when"),
        (["holds", "not decided"], "holds only when"),
        (["does not hold", "does not hold"], "does not hold here"),
        (["does not hold", "not decided"], "not decided here"),
        (["cannot be run", "does not hold"], "does not hold here"),
        (["cannot be run"], "cannot be run here"),
    ],
)
def test_cases_sum_up(verdicts: list[str], verdict: str) -> None:
    """What can't be run counts for nothing; one case that holds makes it `only when`."""
    assert catalogue.answer(claim(), tuple(map(found, verdicts))).verdict == verdict


def test_what_can_not_be_run_says_why() -> None:
    """TensorRT needs what is not here; the claim is not called false for it."""
    chosen = catalogue.chosen(catalogue.load_claims(), ("tensorrt-10x",))
    answer = running.run_claim(chosen[0], bench=Bench(Path()))
    assert answer.verdict == "cannot be run here"
    assert "NVIDIA GPU" in answer.found[0].note


def test_an_unknown_claim_is_refused() -> None:
    """The error lists those that exist."""
    with pytest.raises(UsageError, match=r"no claim `absent`; there are: int8-4x-smaller"):
        catalogue.chosen(catalogue.load_claims(), ("absent",))


def test_an_unknown_experiment_is_refused() -> None:
    """A row of the data file that names none says which there are."""
    broken = claim(cases=(Case("one row", "absent"),))
    with pytest.raises(UsageError, match="no experiment `absent`"):
        running.run_claim(broken, bench=Bench(Path()))


def test_a_missing_library_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a case that cannot be run, with what to install."""

    def needs(*_: object) -> Reading:
        raise MissingDependency("run: pip install it")

    monkeypatch.setattr(running, "EXPERIMENTS", {"compare": needs})
    answer = running.run_claim(claim(), bench=Bench(Path()))
    assert answer.found[0].note == "run: pip install it"


def test_the_page_folds_its_answers() -> None:
    """The phrase stands open; verdict, figures and reason are folded; conditions are named."""
    reading = Reading(3.0, 2.5, 3.5, 5, "launches")
    cases = (Found("one row", "holds", reading), found("does not hold", "many rows"))
    text = "\n".join(showing._entry(catalogue.answer(claim(), cases)))
    before, after = text.split("<details>")
    assert "twice as fast" in before
    assert "holds" not in before
    assert "**holds only when: one row**" in after
    assert "3 [2.5, 3.5] (5 launches)" in after
    assert "because" in after


def test_the_page_tells_what_was_measured_elsewhere() -> None:
    """An answer of another machine than the others names it, below its figures."""
    here = records.DEVICE
    there = dataclasses.replace(here, cpu="Other", features=("sve",))
    answers = [catalogue.answer(claim(id=name), (found("holds"),)) for name in ("here", "there")]
    page = showing.page(answers, here, "today", {"there": (there, "later")})
    first, second = page.split("\n## ")[1:]
    assert "apart" not in first
    assert f"on Other, {there.cores} cores, sve; later." in second


def test_what_is_commonly_said_is_there() -> None:
    """The sayings that everybody meets each have a row."""
    wanted = {
        "int8-4x-smaller",
        "int8-4x-faster",
        "fp16-faster",
        "int8-loses-under-1-percent",
        "percentile-calibration",
        "sparsity-is-free",
        "half-the-flops",
        "distilbert-40-percent-smaller",
        "distilbert-60-percent-faster",
        "batching-changes-nothing",
        "tensorrt-10x",
        "four-fifths",
        "no-loss-scaling",
    }
    assert wanted <= {one.id for one in catalogue.load_claims()}


def test_answers_survive_json() -> None:
    """What is stored reads back as it was."""
    answer = catalogue.answer(
        claim(), (Found("a", "holds", Reading(3.0, 2.5, 3.5, 5, "launches")),)
    )
    assert from_json(catalogue.Answer, to_json(answer)) == answer


def test_what_to_install_is_no_markup() -> None:
    """The extra in brackets is shown, and not taken for a style of the terminal."""
    lacking = Found("one row", "cannot be run", None, "run: pip install 'jettison[torch,sklearn]'")
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(showing.table([catalogue.answer(claim(), (lacking,))]))
    assert "pip install 'jettison[torch,sklearn]'" in console.export_text()
