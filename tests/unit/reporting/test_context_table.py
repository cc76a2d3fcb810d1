"""The table of contexts in the report."""

from __future__ import annotations

import dataclasses

from jettison.domain.contexts import Context
from jettison.domain.run import RunRecord
from jettison.reporting.context_table import AS_THEY_CAME, contexts
from jettison.reporting.html_report import render_report
from tests.unit.reporting.records import improved

HARMED = {"blur": 0.001, "jpeg40": 0.012, "dark": -0.002}


def with_contexts() -> RunRecord:
    """A run with three contexts, one of which compression hurts."""
    record = improved()
    whole = record.certificate.claims[0]
    made = [
        dataclasses.replace(whole, group=f"context={name}", estimate=drop, verdict="undecided")
        for name, drop in HARMED.items()
    ]
    return dataclasses.replace(
        record,
        configuration=dataclasses.replace(
            record.configuration,
            contexts=tuple(
                Context(name, "jpeg", {"quality": 40} if name == "jpeg40" else {})
                for name in HARMED
            ),
        ),
        certificate=dataclasses.replace(
            record.certificate, claims=(*record.certificate.claims, *made)
        ),
    )


def test_the_context_that_compression_hurts_most_comes_first() -> None:
    """Worst first, the rows as they came last, each with how it was made."""
    table = contexts(with_contexts())
    assert [row[0].text for row in table.rows] == ["jpeg40", "blur", "dark", AS_THEY_CAME]
    assert table.rows[0][0].note.endswith("jpeg (quality 40)")


def test_the_page_shows_contexts_only_where_there_are_some() -> None:
    """Without `[[contexts]]` there is no section for them."""
    assert "<h3>Contexts</h3>" in render_report(with_contexts())
    assert "<h3>Contexts</h3>" not in render_report(improved())


def test_a_column_that_is_called_context_is_an_ordinary_group() -> None:
    """A group of the user's own column makes no row."""
    record = improved()
    mine = dataclasses.replace(record.certificate.claims[0], group="context=site 3")
    certificate = dataclasses.replace(record.certificate, claims=(mine,))
    assert contexts(dataclasses.replace(record, certificate=certificate)).rows == ()
