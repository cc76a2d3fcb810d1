"""Sites that send counts get the claims of the pooled rows, digit for digit."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.domain.certificate import Requirement
from jettison.errors import DataError
from jettison.trust.federated import SiteCounts, count_site, pooled, summed
from jettison.trust.judging import conclude
from jettison.trust.outcomes import GroupColumn, Member, MetricFacts, Outcomes, Rules

SEX, SITE = ("sex=F", "sex=M"), ("site=a", "site=b", "site=c")
CELLS = tuple(itertools.product(SEX, SITE))
MEMBERS = tuple(Member(f"recipe {i}", "", "", "", one_by_one=False) for i in range(2))
GROUPS = (*SEX, *SITE)
RULES = Rules(
    requirements=(Requirement("accuracy", 0.02, 0.05),),
    metrics={"accuracy": MetricFacts("binary", "higher", 0.0, 1.0, against_reference=False)},
    gating={"accuracy": GROUPS},
    listed={"accuracy": ()},
    on_undecided="fail",
    baseline=Member("", "", "", "", one_by_one=False),
    members=MEMBERS,
)
TITLES = {member.recipe: member.recipe for member in MEMBERS}


def outcomes_of(seed: int, n: int, harm: float) -> Outcomes:
    """Made-up rows; the first candidate loses a share of the right answers."""
    rng = np.random.default_rng(seed)
    before = (rng.random(n) < 0.8).astype(np.float64)
    candidates = {
        member.recipe: {"accuracy": np.where(rng.random(n) < share, rng.integers(0, 2, n), before)}
        for member, share in zip(MEMBERS, (harm, 0.001), strict=True)
    }
    groups = tuple(
        GroupColumn(names, rng.integers(0, len(names), n).astype(np.int32)) for names in (SEX, SITE)
    )
    return Outcomes(RULES, n, {"accuracy": before}, candidates, {}, groups)


def part(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """The rows of one site."""
    return dataclasses.replace(
        outcomes,
        n=len(rows),
        baseline={m: v[rows] for m, v in outcomes.baseline.items()},
        candidates={r: {m: v[rows] for m, v in c.items()} for r, c in outcomes.candidates.items()},
        groups=tuple(GroupColumn(c.names, c.codes[rows]) for c in outcomes.groups),
    )


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([30, 400, 2500]),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.integers(1, 10),
)
def test_summed_counts_give_the_claims_of_the_pooled_rows(
    seed: int, n: int, harm: float, sites: int
) -> None:
    """However the rows lie, each claim, verdict and p-value is the same."""
    whole = outcomes_of(seed, n, harm)
    home = np.random.default_rng(seed + 1).integers(0, sites, n)
    told = [count_site(part(whole, np.flatnonzero(home == s)), CELLS) for s in range(sites)]
    assert conclude(pooled(summed(told)), TITLES) == conclude(whole, TITLES)


def test_a_site_that_lacks_a_group_is_summed_too() -> None:
    """Outcomes made at each site, one of them without women: the claims are the pooled rows'."""
    whole = outcomes_of(5, 2500, 0.02)
    sex = np.array(SEX)[whole.groups[0].codes]
    home = np.where(sex == SEX[0], 0, np.arange(2500) % 2)
    told = []
    for site in range(2):
        rows = np.flatnonzero(home == site)
        own = part(whole, rows)
        names = [np.unique(np.array(c.names)[c.codes], return_inverse=True) for c in own.groups]
        local = tuple(GroupColumn(tuple(n.tolist()), c.astype(np.int32)) for n, c in names)
        cells = tuple(itertools.product(*(column.names for column in local)))
        told.append(count_site(dataclasses.replace(own, groups=local), cells))
    assert told[0].cells != told[1].cells
    for order in (told, told[::-1]):
        assert conclude(pooled(summed(order)), TITLES) == conclude(whole, TITLES)
    agreed = [count_site(part(whole, np.flatnonzero(home == s)), CELLS) for s in range(2)]
    assert conclude(pooled(summed(agreed)), TITLES) == conclude(whole, TITLES)


def test_values_that_are_not_0_or_1_are_refused() -> None:
    """A missing number or a half is an error at the site, of either model."""
    for value in (np.nan, 0.5):
        for which in ("baseline", "candidate"):
            whole = outcomes_of(1, 60, 0.0)
            values = whole.baseline if which == "baseline" else whole.candidates["recipe 1"]
            values["accuracy"][7] = value
            with pytest.raises(DataError, match="neither 0 nor 1"):
                count_site(whole, CELLS)


def test_a_changed_row_changes_the_counts() -> None:
    """The equality is none of empty things: one answer more that is wrong shows."""
    whole = outcomes_of(3, 2500, 0.02)
    other = outcomes_of(3, 2500, 0.02)
    right = np.flatnonzero(other.candidates["recipe 0"]["accuracy"])[0]
    other.candidates["recipe 0"]["accuracy"][right] = 0.0
    before = conclude(pooled(count_site(whole, CELLS)), TITLES)
    after = conclude(pooled(count_site(other, CELLS)), TITLES)
    assert before.tested[0].claims[0].estimate != after.tested[0].claims[0].estimate
    assert after == conclude(other, TITLES)


def test_what_counts_do_not_carry_is_refused() -> None:
    """Units, weights, other metrics, a candidate that did not run, a row in no cell."""
    whole = outcomes_of(1, 60, 0.0)
    mean = dataclasses.replace(RULES.metrics["accuracy"], kind="bounded_mean")
    for changed, word in (
        (dataclasses.replace(whole, units=np.arange(60)), "units"),
        (dataclasses.replace(whole, weights=np.ones(60)), "weights"),
        (
            dataclasses.replace(whole, rules=dataclasses.replace(RULES, metrics={"nll": mean})),
            "no metric of 0 and 1",
        ),
        (dataclasses.replace(whole, candidates={}), "whole shortlist"),
    ):
        with pytest.raises(DataError, match=word):
            count_site(changed, CELLS)
    with pytest.raises(DataError, match="none of the 1 cells"):
        count_site(whole, CELLS[:1])


def test_sites_that_judge_otherwise_are_not_summed() -> None:
    """Another margin or other cells at one site are found before anything is judged."""
    one = count_site(outcomes_of(1, 60, 0.0), CELLS)
    rules = dataclasses.replace(RULES, requirements=(Requirement("accuracy", 0.1, 0.1),))
    with pytest.raises(DataError, match="site 2 has other rules"):
        summed([one, dataclasses.replace(one, rules=rules)])
    crossed = dataclasses.replace(one, cells=tuple(cell[::-1] for cell in CELLS))
    with pytest.raises(DataError, match="other rules or columns"):
        summed([one, crossed])
    impossible = one.counts.copy()
    impossible[0, 0, 0, 0] += 1
    with pytest.raises(DataError, match="contradict"):
        pooled(SiteCounts(one.rules, one.cells, impossible))
