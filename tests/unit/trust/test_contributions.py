"""Metrics that are no mean over rows: scored by group, judged, kept and computed again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.certificate import Requirement
from jettison.domain.extension_points import Evidence
from jettison.domain.splits import CertificationSet, Labels, SelectionSet
from jettison.errors import DataError
from jettison.trust.contributions import row_parts
from jettison.trust.judging import conclude, judge_candidate
from jettison.trust.outcomes import (
    Member,
    MetricFacts,
    Outcomes,
    Rules,
    describe_rows,
    load_outcomes,
    save_outcomes,
)
from jettison.trust.planning import plan_parts, selection_drops

N = 4000
RNG = np.random.default_rng(4)
TARGETS = (RNG.random(N) < 0.4).astype(np.int64)
LABELS = Labels(TARGETS, {"sex": np.where(np.arange(N) % 4 == 0, "F", "M")})
ORIGINAL = RNG.normal(size=N) + 2.0 * TARGETS
CLOSE = ORIGINAL + 0.01 * RNG.normal(size=N)
FAR = np.where(RNG.random(N) < 0.3, RNG.normal(size=N), ORIGINAL)


def evidence(scores: np.ndarray, targets: np.ndarray = TARGETS) -> Evidence:
    return Evidence(targets, {"y": scores}, {"y": ORIGINAL[: len(scores)]}, "y")


def outcomes_of(
    metric: str, *, reported: tuple[str, ...] = (), grade: str = "B", labels: Labels = LABELS
) -> Outcomes:
    """Outcomes of an original, a close candidate and a far one."""
    columns, whole = describe_rows(labels)[0], labels.as_they_came(N)
    names = (metric, *reported)
    scored = {
        title: {
            name: row_parts(registry.get("metrics", name), evidence(scores), whole, columns)
            for name in names
        }
        for title, scores in (("", ORIGINAL), ("close", CLOSE), ("far", FAR))
    }
    members = [Member(title, "a", "e", "onnx_runtime", one_by_one=False) for title in scored]
    rules = Rules(
        requirements=(Requirement(metric, 0.02, 0.06, require_grade=grade),),  # type: ignore[arg-type]
        metrics={name: MetricFacts.of(registry.get("metrics", name)) for name in names},
        gating={metric: ("sex=F", "sex=M")},
        listed={metric: ()},
        on_undecided="fail",
        baseline=members[0],
        members=tuple(members[1:]),
        reported=reported,
    )
    values = {t: {m: p.values for m, p in parts.items()} for t, parts in scored.items()}
    strata = {m: p.strata for m, p in scored[""].items() if p.strata is not None}
    candidates = {title: values[title] for title in ("close", "far")}
    return Outcomes(rules, N, values[""], candidates, groups=columns, strata=strata)


@pytest.mark.parametrize("metric", ["f1", "auc"])
def test_each_group_is_judged_by_its_own_value(metric: str) -> None:
    """The figures of a claim are those of its rows alone, not a share of the whole's."""
    judged = judge_candidate(outcomes_of(metric), "close")
    assert judged.verdict == "held", judged.reason
    for claim in judged.claims:
        rows = np.ones(N, bool) if claim.group == "overall" else LABELS.membership()[claim.group]
        alone = registry.get("metrics", metric).score(evidence(CLOSE[rows], TARGETS[rows]))
        assert claim.candidate == pytest.approx(alone.value, abs=1e-12)
        assert claim.baseline is not None
        assert claim.estimate == pytest.approx(claim.baseline - alone.value, abs=1e-12)
        assert claim.grade == "B"
    assert judge_candidate(outcomes_of(metric), "far").verdict == "broken"


def test_grade_a_can_be_required() -> None:
    """A metric of grade B is then never held, and the reason says so."""
    judged = judge_candidate(outcomes_of("auc", grade="A"), "close")
    assert judged.verdict == "undecided"
    assert "grade B is weaker than the grade A required" in judged.reason


def test_the_plan_says_beforehand_that_grade_a_is_out_of_reach() -> None:
    """Planning refuses before anything is opened."""
    sealed = CertificationSet("/nowhere", 9000, 9000, {}, "d" * 64, labelled=True)
    required = Requirement("auc", 0.02, 0.06, require_grade="A")
    (part,) = plan_parts(sealed, required, {}, "fail")
    assert "has grade B, and the grade A is required" in part.obstacle


def test_reported_metrics_are_shown_and_never_gate() -> None:
    """They have values in the claims, grade C, and no part in the verdict."""
    judged = judge_candidate(outcomes_of("accuracy", reported=("correlation",)), "close")
    shown = [claim for claim in judged.claims if claim.metric == "correlation"]
    assert [claim.group for claim in shown] == ["overall", "sex=F", "sex=M"]
    assert {(claim.gates, claim.grade, claim.verdict) for claim in shown} == {
        (False, "C", "undecided")
    }
    women = TARGETS[::4]
    expected = np.corrcoef(CLOSE[::4], women)[0, 1]
    assert shown[1].candidate == pytest.approx(expected, abs=1e-12)
    assert judged.verdict == "held"


def test_a_reported_metric_that_is_undefined_costs_nothing() -> None:
    """Where one of the models has no parts in it, the claim says so, and the verdict stands."""
    outcomes = outcomes_of("accuracy", reported=("r2",))
    without = {m: v for m, v in outcomes.candidates["close"].items() if m != "r2"}
    lacking = dataclasses.replace(outcomes, candidates={"close": without})
    judged = judge_candidate(lacking, "close")
    (shown,) = (claim for claim in judged.claims if claim.metric == "r2")
    assert (shown.candidate, shown.n, shown.only_shown) == (None, 0, True)
    assert shown.reason == "it could not be scored on these rows"
    assert judged.verdict == "held"
    odd = outcomes_of("auc", reported=("accuracy",))
    odd.candidates["close"]["accuracy"][0] = 0.5
    assert judge_candidate(odd, "close").verdict == "held"


def test_any_metric_can_be_reported() -> None:
    """A metric that has a test is shown as one that has none: nothing was asked of it."""
    for metric in ("accuracy", "nll", "f1"):
        judged = judge_candidate(outcomes_of("auc", reported=(metric,)), "close")
        shown = next(claim for claim in judged.claims if claim.metric == metric)
        assert (shown.gates, shown.grade, shown.p_value) == (False, "C", None)
        assert shown.only_shown
        assert shown.baseline is not None
        assert shown.candidate is not None
        sign = -1.0 if metric == "nll" else 1.0
        assert shown.estimate == pytest.approx(sign * (shown.baseline - shown.candidate), abs=1e-12)
        assert judged.verdict == "held"


def test_outcomes_give_the_same_claims_again(tmp_path: Path) -> None:
    """Saved and loaded, every figure of every claim is the same to the last digit."""
    for outcomes in (outcomes_of("f1", reported=("r2",)), outcomes_of("accuracy")):
        save_outcomes(outcomes, tmp_path / "outcomes.npz")
        again = load_outcomes(tmp_path / "outcomes.npz")
        assert again.rules.digest == outcomes.rules.digest
        assert conclude(again, {}) == conclude(outcomes, {})


def test_rules_without_what_came_later_keep_their_digest() -> None:
    """The order of testing of an older bundle has the digest that its ledger recorded."""
    from jettison.domain.record import digest, to_plain

    rules = outcomes_of("accuracy").rules
    plain = to_plain(rules)
    del plain["reported"], plain["share"]
    assert rules.digest == digest(plain)
    assert outcomes_of("accuracy", reported=("r2",)).rules.digest != rules.digest


def test_a_group_of_one_class_is_undecided() -> None:
    """Where the metric is undefined in a group its claim is undecided, and the whole stands."""
    labels = Labels(TARGETS, {"sex": np.where(TARGETS == 1, "F", "M")})
    judged = judge_candidate(outcomes_of("auc", labels=labels), "close")
    claims = {claim.group: claim for claim in judged.claims}
    assert claims["overall"].verdict == "held"
    assert claims["sex=F"].verdict == "undecided"
    assert "have no number" in claims["sex=F"].reason


def test_a_group_has_the_threshold_of_all_rows() -> None:
    """40 rows whose logits all lie in (0, 1) are not read as probabilities in their group."""
    scores = np.where(np.arange(N) < 40, RNG.uniform(0.05, 0.95, N), 4.0 * ORIGINAL)
    labels = Labels(TARGETS, {"g": np.where(np.arange(N) < 40, "few", "many")})
    columns, whole = describe_rows(labels)[0], labels.as_they_came(N)
    given = Evidence(TARGETS, {"y": scores}, {"y": scores}, "y")
    values = row_parts(registry.get("metrics", "f1"), given, whole, columns).values
    # Above 0 all 40 are taken as positive: F1 is 2 TP / (2 TP + FP).
    right = int(TARGETS[:40].sum())
    assert values[:40, 1].mean() == pytest.approx(2 * right / (right + 40))


def test_one_class_on_all_rows_is_an_error() -> None:
    """Without a negative row there is nothing to score."""
    ones = np.ones(50, dtype=np.int64)
    metric = registry.get("metrics", "auc")
    with pytest.raises(DataError, match="no row is negative"):
        row_parts(metric, evidence(ORIGINAL[:50], ones), np.ones(50, bool), ())


def test_the_plan_expects_as_few_positives_as_selection_shows() -> None:
    """With 4 % positives, 321 of them need about 8,000 rows; 3,000 can't pass."""
    rare = (np.arange(1000) % 25 == 0).astype(np.int64)
    selection = SelectionSet(rows=None, labels=Labels(rare))  # type: ignore[arg-type]
    metric = registry.get("metrics", "auc")
    parts = row_parts(metric, evidence(ORIGINAL[:1000], rare), np.ones(1000, bool), ()).values
    seen = selection_drops(metric, parts, parts, selection)
    assert seen["overall"].rarest == pytest.approx(0.04)
    sealed = CertificationSet("/nowhere", 3000, 3000, {}, "d" * 64, labelled=True)
    (part,) = plan_parts(sealed, Requirement("auc", 0.01, 0.03), seen, "fail")
    assert part.floor == 8025
    assert "below the floor of 8,025" in part.obstacle
