"""Copies of the same rows in several contexts do not raise the error rate of a ship."""

from __future__ import annotations

import numpy as np

from jettison.domain.certificate import Requirement
from jettison.domain.splits import Labels
from jettison.trust.judging import judge_candidate
from jettison.trust.outcomes import Member, MetricFacts, Outcomes, Rules, describe_rows

N, RUNS, MARGIN = 400, 400, 0.05
CONTEXTS = ("blur", "jpeg", "noise")


def outcomes(random: np.random.Generator, harmed: str, correlation: float) -> Outcomes:
    """Right and wrong answers on rows and on three copies of each; one context at the margin.

    Each row has one difficulty: what goes wrong in one context tends to go wrong in the others, as
    strongly as `correlation` says.
    """
    shared = random.random(N)
    base, after, names = [], [], []
    for context in ("", *CONTEXTS):
        own = random.random(N)
        draw = np.where(random.random(N) < correlation, shared, own)
        lost = draw < (MARGIN if context == harmed else 0.0)
        base.append(np.ones(N))
        after.append(1.0 - lost)
        names.append(np.full(N, context, dtype=object))
    labels = Labels(None, contexts=np.concatenate(names).astype(np.str_))
    groups, _ = describe_rows(labels)
    facts = MetricFacts("binary", "higher", 0.0, 1.0, against_reference=False)
    member = Member("r", "a", "e", "rt", one_by_one=False)
    rules = Rules(
        requirements=(Requirement("accuracy", 0.02, MARGIN),),
        metrics={"accuracy": facts},
        gating={"accuracy": tuple(f"context={name}" for name in CONTEXTS)},
        listed={"accuracy": ()},
        on_undecided="fail",
        baseline=member,
        members=(member,),
    )
    assert labels.contexts is not None
    return Outcomes(
        rules,
        4 * N,
        {"accuracy": np.concatenate(base)},
        {"r": {"accuracy": np.concatenate(after)}},
        {},
        groups,
        None,
        None,
        labels.contexts != "",
    )


def test_a_context_at_its_margin_ships_at_most_at_the_error_rate() -> None:
    """Independent and fully dependent copies: at most 5 % and three standard errors."""
    random = np.random.default_rng(7)
    for correlation in (0.0, 1.0):
        held = sum(
            judge_candidate(outcomes(random, "jpeg", correlation), "r").verdict == "held"
            for _ in range(RUNS)
        )
        assert held / RUNS <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


def test_copies_count_in_their_context_alone() -> None:
    """The overall claim has as many rows as there are rows, and loses nothing to a bad context."""
    found = judge_candidate(outcomes(np.random.default_rng(0), "jpeg", 0.0), "r")
    by_group = {claim.group: claim for claim in found.claims}
    assert by_group["overall"].n == N
    assert by_group["overall"].estimate == 0.0
    assert by_group["overall"].grade == "A"
    assert by_group["context=jpeg"].n == N
    assert (by_group["context=jpeg"].estimate or 0.0) > 0.02
