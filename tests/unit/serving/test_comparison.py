"""How the answers of a shadow compare, and what can't be compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jettison.serving.comparison import Comparison
from tests.serving_engines import make_classifier


def failing(evidence: object) -> None:
    """A metric of somebody else that can't score these rows."""
    raise ZeroDivisionError(evidence)


def test_a_metric_that_fails_ends_no_shadow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a plug-in raises, the pair is counted as not comparable, and the next is taken."""
    compared = Comparison("other", make_classifier(tmp_path))
    scores = np.full((1, 4), 0.25, np.float32)
    with monkeypatch.context() as patched:
        patched.setattr(compared, "_metrics", [SimpleNamespace(name="theirs", score=failing)])
        compared.take(scores, scores)
    compared.take(scores, scores)
    told = {
        one.labels["result"]: one.value
        for one in compared.readings("m")
        if one.name == "jettison_quality_shadow_requests"
    }
    rows = [r.value for r in compared.readings("m") if r.name.endswith("shadow_bundle_rows")]
    assert told["not_comparable"] == 1
    assert rows == [1.0]
