"""`looks`, `spending` and `report`: read, defaulted, and refused where they don't fit."""

from __future__ import annotations

import math

import pytest

from jettison.config import configuration_from, resolve_relative
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration
from jettison.errors import ConfigError

KNOWN = {
    "metrics": ("accuracy", "r2"),
    "costs": ("latency_ms", "size_bytes"),
    "techniques": (),
    "runtimes": (),
}


def read(**top: object) -> Configuration:
    return configuration_from({"model": {"source": "m"}, **top}, KNOWN)


def test_one_look_is_the_default() -> None:
    """Nothing declared means one look, nothing reported, and the shares of the plan."""
    made = read()
    assert (made.looks, made.spending, made.report) == (1, (), ())


def test_a_top_up_plan_is_read() -> None:
    """Lists become tuples."""
    made = read(looks=2, spending=[0.2, 0.8], report=["r2"])
    assert (made.looks, made.spending, made.report) == (2, (0.2, 0.8), ("r2",))
    assert read(looks=2, spending=[0.5, 0.5]).spending == (0.5, 0.5)


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"looks": 0}, "from 1 to 50"),
        ({"looks": 3, "spending": [0.2, 0.8]}, r"one share for each of the `looks` \(3\); got 2"),
        ({"looks": 2, "spending": [0.6, 0.6]}, "at most 1; got 1.2"),
        ({"looks": 2, "spending": [0.0, 0.8]}, "above 0"),
        ({"report": ["r3"]}, "did you mean `r2`"),
    ],
)
def test_what_does_not_fit_is_refused(top: dict[str, object], words: str) -> None:
    """Each mistake says what is allowed."""
    with pytest.raises(ConfigError, match=words):
        read(**top)


def test_a_share_of_a_perplexity_is_a_difference_of_logs() -> None:
    """1 % more perplexity is log(1.01) more nats, whatever the original's."""
    asked = Requirement("perplexity", 0.0, 0.0, max_drop_relative=0.01)
    made = resolve_relative(asked, 0.0, logarithmic=True)
    assert made.max_drop == pytest.approx(math.log(1.01))
    assert made.max_drop_group == pytest.approx(math.log(1.03))
