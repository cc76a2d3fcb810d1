"""The study proposes each recipe once, and survives being opened again."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from jettison.domain.recipe import (
    Advice,
    Choices,
    FloatRange,
    IntegerRange,
    Potential,
    Route,
    SearchSpace,
)
from jettison.domain.run import Trial
from jettison.errors import UsageError
from jettison.search.study import Study

SPACE = SearchSpace(
    routes=(Route(("one",), "run"), Route(("two",), "run")),
    ranges={"one": {"flag": Choices((True, False), True), "k": IntegerRange(0, 1, 0)}},
    fixed={"two": {"x": 3}},
    advice=(),
    refused=(),
)


def opened(folder: Path, **identity: str) -> Study:
    """A study with two objectives."""
    return Study(folder, SPACE, ("cost", "drop"), 0, identity or {"model": "m"})


def learn(study: Study, count: int) -> list[str]:
    """Makes some trials; gives their recipes."""
    recipes = []
    for _ in range(count):
        proposal = study.propose()
        if proposal is None:
            break
        trial = Trial(proposal.number, proposal.recipe, "complete", "", None, None, 1.0)
        study.learn(proposal, trial, (float(len(recipes)), 0.0))
        recipes.append(str(proposal.recipe))
    return recipes


def test_defaults_come_first_and_nothing_twice(tmp_path: Path) -> None:
    """Each route starts with its defaults; the five recipes are found and then it is exhausted."""
    recipes = learn(opened(tmp_path), 10)
    assert set(recipes[:2]) == {"one(flag=True, k=0) > run", "two(x=3) > run"}
    assert len(recipes) == len(set(recipes)) == 5


def test_a_setting_is_varied_only_where_it_is_read(tmp_path: Path) -> None:
    """With a pattern that leaves no choice, the share is not proposed, so no recipe comes twice."""
    share = Choices((0.5, 0.9), 0.5, when={"pattern": "free"})
    ranges = {"one": {"share": share, "pattern": Choices(("free", "2:4"), "free")}}
    space = SearchSpace((Route(("one",), "run"),), ranges, {}, (), ())
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert sorted(learn(study, 10)) == [
        "one(pattern=2:4) > run",
        "one(pattern=free, share=0.5) > run",
        "one(pattern=free, share=0.9) > run",
    ]


def test_a_setting_waits_for_what_an_earlier_step_was_given(tmp_path: Path) -> None:
    """A way to run 2:4 weights is proposed behind that pattern alone, chosen or fixed."""
    sparse = Choices((False, True), default=False, when={"half": True}, after={"pattern": "2:4"})
    space = SearchSpace(
        routes=(Route((), "run"), Route(("mask",), "run"), Route(("other", "last"), "run")),
        ranges={
            "mask": {"pattern": Choices(("free", "2:4"), "free")},
            "run": {"half": Choices((True,), default=True), "sparse": sparse},
        },
        fixed={"other": {"pattern": "2:4"}},
        advice=(),
        refused=(),
    )
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert sorted(learn(study, 10)) == [
        "mask(pattern=2:4) > run(half=True, sparse=False)",
        "mask(pattern=2:4) > run(half=True, sparse=True)",
        "mask(pattern=free) > run(half=True)",
        "other(pattern=2:4) > last > run(half=True, sparse=False)",
        "other(pattern=2:4) > last > run(half=True, sparse=True)",
        "run(half=True)",
    ]


def test_what_changes_answers_is_tried_alone_before_it_is_joined(tmp_path: Path) -> None:
    """Single techniques first, by what their first settings could gain; conversions don't count."""

    def advice(
        name: str, speedup: float, first: float = 0.0, *, conversion: bool = False
    ) -> Advice:
        return Advice(name, Potential(speedup, 1.0, "made up", first), (), conversion)

    routes = [("cut", "cross", "round"), ("cut", "cross"), ("cross", "round"), ("cross",)]
    space = SearchSpace(
        routes=tuple(Route(names, "run") for names in routes),
        ranges={"cut": {"share": FloatRange(0.1, 0.8, 0.2)}},
        fixed={},
        advice=(
            advice("cut", 5.0, 1.2),
            advice("round", 2.0),
            advice("cross", 1.1, conversion=True),
        ),
        refused=(),
    )
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert learn(study, 3) == [
        "cross > round > run",
        "cut(share=0.2) > cross > run",
        "cross > run",
    ]


def test_what_each_library_does_by_itself_comes_before_what_promises_more(tmp_path: Path) -> None:
    """A short search tries plain rounding on both runtimes before it merges operators first."""

    def advice(name: str, speedup: float, *, conversion: bool = False) -> Advice:
        return Advice(name, Potential(speedup, 1.0, "made up"), (), conversion)

    routes = {
        ("fuse",): "here",
        ("fuse", "round"): "here",
        ("round",): "here",
        ("fuse", "shrink"): "here",
        ("shrink",): "here",
        ("carry", "other"): "there",
    }
    space = SearchSpace(
        routes=tuple(Route(names, runtime) for names, runtime in routes.items()),
        ranges={},
        fixed={},
        advice=(
            advice("fuse", 1.15, conversion=True),
            advice("carry", 1.0, conversion=True),
            advice("round", 1.8),
            advice("other", 1.7),
            advice("shrink", 1.0),
        ),
        refused=(),
    )
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert learn(study, 6) == [
        "round > here",
        "carry > other > there",
        "fuse > here",
        "shrink > here",
        "fuse > round > here",
        "fuse > shrink > here",
    ]


def test_the_untouched_model_is_tried_on_an_accelerator_first(tmp_path: Path) -> None:
    """What it brings is told by no technique, and nothing must be made for it."""
    space = SearchSpace(
        routes=(
            Route((), "torch_compile"),
            Route(("round",), "torch_eager"),
            Route(("round",), "torch_cuda"),
            Route((), "torch_cuda"),
        ),
        ranges={},
        fixed={},
        advice=(Advice("round", Potential(4.0, 1.0, "made up"), (), False),),
        refused=(),
    )
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert learn(study, 4) == [
        "torch_cuda",
        "round > torch_eager",
        "round > torch_cuda",
        "torch_compile",
    ]


def test_a_study_goes_on_after_a_crash(tmp_path: Path) -> None:
    """Stored trials are known; the one that was running may be proposed again."""
    first = opened(tmp_path)
    done = learn(first, 2)
    assert first.propose() is not None
    second = opened(tmp_path)
    assert [str(t.recipe) for t in second.trials] == done
    assert not set(learn(second, 10)) & set(done)


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    """Trials of another model don't apply; the message names what differs."""
    opened(tmp_path, model="m")
    with pytest.raises(UsageError, match="another model"):
        opened(tmp_path, model="n")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """What the database can't write is a fault of its file; the trial itself is kept as JSON."""
    study = opened(tmp_path)
    proposal = study.propose()
    assert proposal is not None
    trial = Trial(0, proposal.recipe, "complete", "", None, None, 1.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(OSError, match=r"search\.db") as caught:
            study.learn(proposal, trial, (1.0, 0.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.ENOSPC
    assert [t.number for t in opened(tmp_path).trials] == [0]


def test_a_database_that_may_not_be_opened(tmp_path: Path) -> None:
    """A folder in place of the database is a fault of the disk, with its name."""
    (tmp_path / "search.db").mkdir()
    with pytest.raises(OSError, match=r"search\.db") as caught:
        opened(tmp_path)
    assert caught.value.errno == errno.EACCES


def test_other_faults_of_the_database_pass(tmp_path: Path) -> None:
    """A damaged database is no full disk; nobody is sent to free space."""
    opened(tmp_path)
    (tmp_path / "search.db").write_bytes(b"no database " * 1000)
    with pytest.raises(DatabaseError, match="not a database"):
        opened(tmp_path)


WIDE = SearchSpace(
    routes=tuple(Route((name,), "run") for name in "abcd"),
    ranges={name: {"k": IntegerRange(0, 1000, 500)} for name in "abcd"},
    fixed={},
    advice=(),
    refused=(),
)


def test_a_first_try_that_was_cut_short_comes_again(tmp_path: Path) -> None:
    """An interrupted run would otherwise never meet the defaults of that technique."""
    first = Study(tmp_path, WIDE, ("cost", "drop"), 0, {"model": "m"})
    assert learn(first, 1) == ["a(k=500) > run"]
    cut = first.propose()
    assert cut is not None
    first.abandon(cut)
    second = Study(tmp_path, WIDE, ("cost", "drop"), 0, {"model": "m"})
    assert sorted(learn(second, 3)) == ["b(k=500) > run", "c(k=500) > run", "d(k=500) > run"]


def test_early_values_are_first_tries_of_the_shortest_route(tmp_path: Path) -> None:
    """Once: longer routes of the same technique begin with its default alone."""
    space = SearchSpace(
        routes=(Route(("merge", "round"), "run"), Route(("round",), "run"), Route(("cut",), "run")),
        ranges={"round": {"bits": Choices((7, 8), 7, early=True), "channels": Choices((1, 0), 1)}},
        fixed={},
        advice=(
            Advice("round", Potential(3.0, 4.0, "r"), ("round > run",)),
            Advice("cut", Potential(2.0, 1.0, "c"), ("cut > run",)),
        ),
        refused=(),
    )
    study = Study(tmp_path, space, ("cost", "drop"), 0, {"model": "m"})
    assert learn(study, 4) == [
        "round(bits=7, channels=1) > run",
        "round(bits=8, channels=1) > run",
        "cut > run",
        "merge > round(bits=7, channels=1) > run",
    ]


def test_first_tries_stand_in_line_once(tmp_path: Path) -> None:
    """However often a run is ended before its first trial is over."""
    for _ in range(20):
        study = Study(tmp_path, WIDE, ("cost", "drop"), 0, {"model": "m"})
        assert study.propose() is not None
    last = Study(tmp_path, WIDE, ("cost", "drop"), 0, {"model": "m"})
    assert len(learn(last, 8)) == 8
