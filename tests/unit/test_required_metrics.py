"""Metrics that can't gate, or can't reach the grade asked for, are refused before any search."""

from __future__ import annotations

import pytest

from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.rows import Rows
from jettison.domain.splits import CertificationSet, FittingData, Splits
from jettison.errors import UsageError
from jettison.preparation import _check_requirements


def check(
    requirement: Requirement,
    *,
    report: tuple[str, ...] = (),
    labelled: bool = True,
    weighted: bool = False,
) -> None:
    """Checks one requirement against 5,000 sealed rows."""
    sealed = CertificationSet(
        "/nowhere", 5000, 5000, {}, "d" * 64, labelled=labelled, weighted=weighted
    )
    fitting = FittingData(Rows("/nowhere", (), 0, {}, "d"))
    splits = Splits(fitting, None, sealed, 7, "d")
    configuration = Configuration(
        ModelSection("m"), DataSection("d"), requirements=(requirement,), report=report
    )
    _check_requirements(configuration, splits)


@pytest.mark.parametrize("metric", ["correlation", "r2", "absolute_error"])
def test_grade_c_can_not_gate(metric: str) -> None:
    """One clear error tells where it may stand."""
    with pytest.raises(UsageError, match=rf'move it to `report = \["{metric}"\]`'):
        check(Requirement(metric, 0.01, 0.03))


@pytest.mark.parametrize("metric", ["auc", "f1", "nll", "perplexity", "wer", "cosine"])
def test_grade_a_is_out_of_reach_for_all_but_win_or_loss(metric: str) -> None:
    """`require_grade = "A"` is refused beforehand, and grade B is accepted."""
    with pytest.raises(UsageError, match="can reach grade B at most"):
        check(Requirement(metric, 0.01, 0.03, require_grade="A"))
    check(Requirement(metric, 0.01, 0.03))
    check(Requirement("accuracy", 0.01, 0.03, require_grade="A"), report=(metric,))


def test_a_reported_metric_needs_its_labels_too() -> None:
    """It says so before anything is spent."""
    with pytest.raises(UsageError, match="`r2` in `report` needs labels"):
        check(Requirement("agreement", 0.01, 0.03), report=("r2",), labelled=False)


@pytest.mark.parametrize("metric", ["auc", "f1"])
def test_what_is_no_mean_is_not_certified_on_weighted_rows(metric: str) -> None:
    """Refused before any search; a mean is accepted with weights."""
    with pytest.raises(UsageError, match=f"`{metric}` is no mean over rows.*leave `weight` out"):
        check(Requirement(metric, 0.01, 0.03), weighted=True)
    check(Requirement("accuracy", 0.01, 0.03), weighted=True)


@pytest.mark.parametrize(("metric", "margin"), [("accuracy", 1.0), ("f1", 5.0), ("cosine", 2.0)])
def test_a_margin_that_allows_everything_is_refused(metric: str, margin: float) -> None:
    """`--max-drop 1` is meant as one point: said before a search, not after it."""
    with pytest.raises(UsageError, match="is one percentage point"):
        check(Requirement(metric, margin, 3 * margin))
