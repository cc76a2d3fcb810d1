"""The body of a post of outcomes: what is read, and what is refused in words."""

from __future__ import annotations

import pytest

from jettison.errors import RequestRefused
from jettison.serving.monitoring.outcomes import LARGEST_POST, Outcome, parse_outcomes


def test_items_are_read() -> None:
    """Names, whole numbers and numbers are labels; groups become text as in the data."""
    body = {
        "outcomes": [
            {"id": "a", "label": "ant"},
            {"id": "b", "label": 2, "row": 1, "groups": {"kind": "low", "site": 3.0, "x": 1}},
            {"id": "c", "groups": {"kind": "low"}},
        ]
    }
    assert parse_outcomes(body) == (
        Outcome("a", "ant"),
        Outcome("b", 2, 1, {"kind": "low", "site": "3", "x": "1"}),
        Outcome("c", None, 0, {"kind": "low"}),
    )


def test_a_list_of_labels_is_one_for_each_row() -> None:
    """A request of three rows gets its labels in one item."""
    found = parse_outcomes({"outcomes": [{"id": "a", "label": ["ant", "bee", None]}]})
    assert found == (Outcome("a", "ant", 0), Outcome("a", "bee", 1), Outcome("a", None, 2))


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"outcomes": {}},
        {"outcomes": ["a"]},
        {"outcomes": [{"label": 1}]},
        {"outcomes": [{"id": ""}]},
        {"outcomes": [{"id": "x" * 1000}]},
        {"outcomes": [{"id": 5}]},
        {"outcomes": [{"id": "a", "labels": 1}]},
        {"outcomes": [{"id": "a", "label": {"x": 1}}]},
        {"outcomes": [{"id": "a", "label": float("nan")}]},
        {"outcomes": [{"id": "a", "label": 10**30}]},
        {"outcomes": [{"id": "a", "label": "y" * 1000}]},
        {"outcomes": [{"id": "a", "row": -1}]},
        {"outcomes": [{"id": "a", "row": True}]},
        {"outcomes": [{"id": "a", "row": 0, "label": [1, 2]}]},
        {"outcomes": [{"id": "a", "groups": ["kind"]}]},
        {"outcomes": [{"id": "a", "groups": {"kind": None}}]},
        {"outcomes": [{"id": "a", "groups": {str(i): 1 for i in range(40)}}]},
    ],
)
def test_what_is_no_outcome_is_refused(body: object) -> None:
    """Each mistake is a 400 that says which item and what is allowed."""
    with pytest.raises(RequestRefused) as refused:
        parse_outcomes(body)
    assert refused.value.status == 400


def test_a_post_is_bounded() -> None:
    """Too many items, or too many rows in their lists, is a 413."""
    many = [{"id": "a"}] * (LARGEST_POST + 1)
    for body in (many, [{"id": "a", "label": [1] * LARGEST_POST}, {"id": "b"}]):
        with pytest.raises(RequestRefused) as refused:
            parse_outcomes({"outcomes": body})
        assert refused.value.status == 413
