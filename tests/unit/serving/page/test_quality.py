"""What the page is told about quality."""

from __future__ import annotations

from jettison.serving.monitoring import Reading
from jettison.serving.page.quality import quality

OWN = {"model": "m", "version": "v"}


def test_gauges_are_put_together_by_what_they_are_about() -> None:
    """Margins by metric and group, agreement by metric, drift by feature, each version apart."""
    overall = {**OWN, "metric": "accuracy", "group": "overall"}
    told = quality(
        [
            Reading("jettison_quality_margin_held", overall, 1.0),
            Reading("jettison_quality_margin_rows", overall, 250.0),
            Reading("jettison_quality_margin_held", {**overall, "group": "sex=f"}, 0.0),
            Reading("jettison_quality_agreement_ratio", {**OWN, "metric": "agreement"}, 0.99),
            Reading("jettison_quality_agreement_rows", {**OWN, "metric": "agreement"}, 80.0),
            Reading("jettison_drift_score", {**OWN, "feature": "x"}, 0.3),
            Reading("jettison_drift_limit", {**OWN, "feature": "x"}, 0.1),
            Reading("jettison_drift_score", {**OWN, "version": "w", "feature": "x"}, 0.2),
            Reading("jettison_quality_something_else", OWN, 7.0),
        ]
    )
    assert set(told) == {("m", "v"), ("m", "w")}
    assert told["m", "v"] == {
        "margins": [
            {"metric": "accuracy", "group": "overall", "held": 1.0, "rows": 250.0},
            {"metric": "accuracy", "group": "sex=f", "held": 0.0},
        ],
        "agreement": [{"metric": "agreement", "value": 0.99, "rows": 80.0}],
        "drift": [{"feature": "x", "score": 0.3, "limit": 0.1}],
    }


def test_nothing_known_is_nothing_told() -> None:
    """No reading, no version."""
    assert quality([]) == {}
