"""Every number of a card leads to the place in the bundle that it comes from."""

from __future__ import annotations

import dataclasses
import re

import card_numbers
import pytest
import records

from jettison.domain.certificate import Claim
from jettison.domain.run import RunRecord
from jettison.reporting.model_card import render_card
from jettison.reporting.model_card_tables import share_interval


def shares() -> RunRecord:
    """A certified run whose qualities are shares of rows, so that they have intervals."""
    record = records.improved()
    claims = tuple(
        dataclasses.replace(c, baseline=(c.n - 9) / c.n, candidate=(c.n - 7) / c.n)
        for c in record.certificate.claims
    )
    return dataclasses.replace(
        record, certificate=dataclasses.replace(record.certificate, claims=claims)
    )


ALL = {**records.EVERY_RECORD, "shares": shares}


@pytest.mark.parametrize("name", ALL)
def test_every_number_traces_to_its_source(name: str) -> None:
    """A number outside code and quotations stands where a mark on its line leads."""
    record = ALL[name]()
    assert card_numbers.untraced(render_card(record), record) == []


@pytest.mark.parametrize(
    ("told", "made_up"),
    [("7.71 ms (7.50", "7.41 ms (7.50"), ("(n = 4,016,", "(n = 9,016,"), ("| 251 |", "| 252 |")],
)
def test_a_number_from_nowhere_is_found(told: str, made_up: str) -> None:
    """The check of the test above can fail: one changed digit is reported."""
    record = records.improved()
    text = render_card(record)
    assert told in text
    assert card_numbers.untraced(text.replace(told, made_up), record)


def test_certified_numbers_lead_to_the_ledger() -> None:
    """Each claim has a mark of its own in `certificate.json`, and the entry of the look is named."""
    record = records.improved()
    text = render_card(record)
    sources = card_numbers.listed(text)
    places = [
        place for file, all_ in sources.values() if file == "certificate.json" for place in all_
    ]
    for number in range(len(record.certificate.claims)):
        assert f"/claims/{number}" in places
    ledger = record.certificate.ledger
    assert ledger is not None
    assert ledger.entry in text.split("\n## Sources\n")[1]


@pytest.mark.parametrize("name", ALL)
def test_no_mark_is_left_unexplained(name: str) -> None:
    """Marks in the text and marks in the list are the same."""
    text = render_card(ALL[name]())
    body, end = text.split("\n## Sources\n", 1)
    assert set(card_numbers.MARK.findall(body)) == set(card_numbers.listed(text))
    assert not card_numbers.MARK.findall(end)


def test_shares_have_intervals() -> None:
    """A share of rows is shown with Wilson's interval; 7 of 200 errors: 93.0 % to 98.3 %."""
    claim = dataclasses.replace(records.CLAIMS[0], n=200, candidate=0.965)
    bounds = share_interval(claim, claim.candidate)
    assert bounds is not None
    assert [round(b, 3) for b in bounds] == [0.93, 0.983]
    assert re.search(r"99\.83 % \(99\.64 % to 99\.92 %\)", render_card(shares()))


@pytest.mark.parametrize(
    "change",
    [{"grade": "B"}, {"candidate": None}, {"n": 0}, {"candidate": 0.8731}, {"candidate": 2.0}],
)
def test_other_figures_have_none(change: dict[str, object]) -> None:
    """No interval is made up for means, missing values, or what is no whole number of rows."""
    claim: Claim = dataclasses.replace(records.CLAIMS[0], n=200, candidate=0.965)
    claim = dataclasses.replace(claim, **change)  # type: ignore[arg-type]
    assert share_interval(claim, claim.candidate) is None
