"""What the selection rows of a run say about the model that will be certified next."""

from __future__ import annotations

import numpy as np

from jettison import registry
from jettison.assessment.data_plan import Expected
from jettison.assessment.search_rows import SearchRows
from jettison.domain.extension_points import Evidence
from jettison.domain.measurement import OVERALL
from jettison.domain.rows import Array
from jettison.errors import UsageError


def expected_of(rows: SearchRows, metric: str) -> dict[str, Expected]:
    """Disagreement, churn and drop, of the whole and of each group on the selection rows.

    Args:
        rows: selection rows under both models.
        metric: a 0/1 metric that needs targets, or one that needs none.

    Raises:
        UsageError: for a metric that is not 0/1 per row.
    """
    drops = _drops(rows, metric)
    differ = (rows.before != rows.after).astype(np.float64)
    found = {OVERALL: _of(drops, differ)}
    for group, mask in rows.raw.labels.membership().items():
        found[group] = _of(drops[mask], differ[mask])
    return found


def basis_of(rows: SearchRows) -> str:
    """Says where the figures come from."""
    n = len(rows.before)
    return (
        f"Expected disagreement, churn and drop are those of {rows.trial.recipe} on the {n:,} "
        "selection rows of the run; a group with few of them borrows from the whole."
    )


def _drops(rows: SearchRows, name: str) -> Array:
    metric = registry.get("metrics", name)
    if metric.kind != "binary":
        raise UsageError(
            f"`{name}` is not 0 or 1 per row; rows are planned for metrics that are "
            "(accuracy, agreement, any win or loss)"
        )
    evidence = rows.evidence
    candidate = metric.score(evidence).contributions
    baseline = metric.score(
        Evidence(
            evidence.targets,
            evidence.reference,
            evidence.reference,
            evidence.prediction,
            evidence.labels,
        )
    ).contributions
    sign = 1.0 if metric.better == "higher" else -1.0
    drops: Array = sign * (np.asarray(baseline) - np.asarray(candidate))
    return drops


def _of(drops: Array, differ: Array) -> Expected:
    return Expected(
        disagreement=float(np.abs(drops).mean()),
        churn=float(differ.mean()),
        drop=float(drops.mean()),
        rows=int(drops.size),
    )
