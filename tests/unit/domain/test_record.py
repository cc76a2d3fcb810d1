"""JSON round trip and digests of domain records."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.jobs import ApplyAnswer
from jettison.domain.measurement import Estimate
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.encoder import Encoder
from jettison.domain.recipe import Candidate, Recipe, Step
from jettison.domain.record import digest, from_json, to_json

scalars = st.one_of(
    st.booleans(),
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
settings_of = st.dictionaries(st.text("abc_", min_size=1, max_size=6), scalars, max_size=4)
steps = st.builds(Step, st.sampled_from(["one", "two"]), settings_of)


@given(st.builds(Recipe, st.lists(steps, max_size=3).map(tuple), steps))
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    """Reading what was written gives an equal record with the same digest."""
    again = from_json(Recipe, to_json(recipe))
    assert again == recipe
    assert again.digest == recipe.digest


def test_the_order_of_settings_does_not_change_the_digest() -> None:
    """Equal records have equal bytes."""
    one = Recipe((Step("a", {"x": 1, "y": 2}),), Step("r"))
    two = Recipe((Step("a", {"y": 2, "x": 1}),), Step("r"))
    assert digest(one) == digest(two)


def test_nan_is_no_number_that_a_record_may_hold() -> None:
    """A missing number is None; NaN is refused when written."""
    bad = Estimate("m", "overall", float("nan"), None, None, 1, "ms", "lower")
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(bad)


def test_records_of_earlier_versions_are_read() -> None:
    """What an earlier version did not write has its default: nothing was counted then."""
    model = Model(
        Artifact("onnx_file", "/nowhere", ("m.onnx",), "digest", 1),
        frozenset({"onnx"}),
        (TensorSpec("x", "float32", ("n", 2)),),
        (TensorSpec("y", "float32", ("n", 2)),),
        "y",
        "classification",
        Encoder.of("arrays", {}),
    )
    records = (
        (Candidate(Recipe((), Step("r")), model, (), 1.0), ("spent_seconds", "editing_seconds")),
        (ApplyAnswer(model, (), 1.0, 2, 1), ("running_seconds",)),
    )
    for record, added in records:
        plain = json.loads(to_json(record))
        for name in added:
            assert plain.pop(name) == 0.0
        assert from_json(type(record), json.dumps(plain)) == record
