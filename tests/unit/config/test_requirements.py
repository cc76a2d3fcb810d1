"""Default requirements and relative margins."""

from __future__ import annotations

import pytest

from jettison.config import (
    check_gated_groups,
    complete_requirements,
    default_requirements,
    resolve_relative,
)
from jettison.domain.certificate import Requirement
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ConfigError, DataError


def model(task: str) -> Model:
    spec = TensorSpec("x", "float32", ("n", 2))
    artifact = Artifact("onnx_file", "/nowhere", ("m.onnx",), "d", 1)
    return Model(artifact, frozenset(), (spec,), (spec,), "x", task, Encoder("arrays"))


@pytest.mark.parametrize(
    ("task", "labelled", "metric"),
    [
        ("classification", True, "accuracy"),
        ("classification", False, "agreement"),
        ("embedding", False, "cosine"),
        ("regression", True, "within_1_percent"),
    ],
)
def test_the_task_decides_the_default_metric(task: str, labelled: bool, metric: str) -> None:
    """Labels where there are some; otherwise closeness to the original."""
    (made,) = default_requirements(model(task), labelled=labelled, max_drop=0.02)
    assert made == Requirement(metric, 0.02, 0.06)
    assert complete_requirements((), model(task), labelled=labelled)[0].metric == metric
    open_one = Requirement("", 0.1, 0.2)
    (filled,) = complete_requirements((open_one,), model(task), labelled=labelled)
    assert filled == Requirement(metric, 0.1, 0.2)


def test_a_named_metric_stays() -> None:
    """Only what was left open is filled in."""
    asked = (Requirement("nll", 0.1, 0.2),)
    assert complete_requirements(asked, model("classification"), labelled=True) == asked


def test_a_relative_margin_becomes_absolute() -> None:
    """5 % of 0.8 is 0.04; the group margin is three times that unless it was given."""
    asked = Requirement("accuracy", 0.0, 0.0, max_drop_relative=0.05)
    made = resolve_relative(asked, 0.8)
    assert made.max_drop == pytest.approx(0.04)
    assert made.max_drop_group == pytest.approx(0.12)
    assert made.max_drop_relative is None
    given = resolve_relative(Requirement("accuracy", 0.0, 0.5, max_drop_relative=0.05), 0.8)
    assert given.max_drop_group == 0.5


@pytest.mark.parametrize("baseline", [0.0, -0.3, float("nan")])
def test_a_share_of_nothing_is_refused(baseline: float) -> None:
    """A relative tolerance on a zero, negative or undefined baseline is an error."""
    with pytest.raises(DataError, match="absolute `max_drop`"):
        resolve_relative(Requirement("nll", 0.0, 0.0, max_drop_relative=0.05), baseline)


def test_an_absolute_margin_is_left_alone() -> None:
    """Nothing is resolved where nothing is relative, whatever the baseline."""
    asked = Requirement("nll", 0.1, 0.3)
    assert resolve_relative(asked, -1.0) is asked


def test_a_gated_group_must_occur_in_the_data() -> None:
    """A mistyped group is found before any time is spent, with the one that was meant."""
    asked = (Requirement("accuracy", 0.1, 0.3, gated_groups=("sex=Femal", "sex=Male")),)
    with pytest.raises(ConfigError, match="did you mean `sex=Female`") as caught:
        check_gated_groups(asked, {"sex=Female": 10, "sex=Male": 20})
    assert len(caught.value.problems) == 1
    check_gated_groups(asked, ("sex=Femal", "sex=Male"))
    check_gated_groups((Requirement("accuracy", 0.1, 0.3),), ())
