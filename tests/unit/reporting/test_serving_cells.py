"""Batch by length in the report: what wins in one place and loses in another is told so."""

from __future__ import annotations

import dataclasses

from jettison.domain.measurement import Estimate
from jettison.domain.run import RunRecord
from jettison.reporting.html_report import render_report
from jettison.reporting.serving_cells import serving_cells, serving_cells_plot, turns
from tests.unit.reporting import records


def with_cells(gains: dict[tuple[int, int], float]) -> RunRecord:
    """A record whose shipped recipe has these gains by batch size and length."""
    record = records.improved()
    sizes = record.configuration.serving.batch_sizes

    def cells(own: bool) -> tuple[Estimate, ...]:
        found = []
        for (size, length), gain in gains.items():
            group = f"batch={size},length={length}"
            value = 10.0 / gain if own else 10.0
            found.append(Estimate("latency_ms", group, value, value, value, 5, "ms", "lower"))
            if own:
                low, high = gain * 0.98, gain * 1.02
                found.append(
                    Estimate("latency_ms:gain", group, gain, low, high, 5, "ratio", "higher")
                )
        return tuple(found)

    assert {size for size, _ in gains} <= set(sizes)
    claims = dict(record.claims)
    claim = claims[record.shipped]
    claims[record.shipped] = dataclasses.replace(claim, estimates=(*claim.estimates, *cells(True)))
    baseline = dataclasses.replace(
        record.baseline, estimates=(*record.baseline.estimates, *cells(False))
    )
    return dataclasses.replace(record, claims=claims, baseline=baseline)


def test_a_win_alone_and_a_loss_in_company_are_one_sentence() -> None:
    """Both places stand there with their gains, and what decides."""
    sizes = records.improved().configuration.serving.batch_sizes
    record = with_cells({(sizes[0], 16): 1.5, (sizes[-1], 128): 0.7})
    (told,) = turns(record)
    assert f"batch {sizes[-1]} and length 128" in told
    assert "slower" in told
    assert "over the serving profile" in told
    assert "slower" in render_report(record)


def test_what_only_wins_needs_no_sentence() -> None:
    """Nothing turns, so nothing is said."""
    sizes = records.improved().configuration.serving.batch_sizes
    assert turns(with_cells({(sizes[0], 16): 1.5, (sizes[-1], 128): 1.4})) == ()


def test_a_difference_within_the_noise_is_no_loss() -> None:
    """0.99 can't be told from none."""
    sizes = records.improved().configuration.serving.batch_sizes
    assert turns(with_cells({(sizes[0], 16): 1.5, (sizes[-1], 128): 0.99})) == ()


def test_the_table_colours_losses() -> None:
    """A cell below the noise floor is bad, one above it good."""
    sizes = records.improved().configuration.serving.batch_sizes
    record = with_cells({(sizes[0], 16): 1.5, (sizes[0], 128): 0.7})
    table = serving_cells(record)
    kinds = {cell.kind for row in table.rows for cell in row}
    assert {"good", "bad"} <= kinds
    assert [column.heading for column in table.columns][-2:] == ["Length 16", "Length 128"]
    plot = serving_cells_plot(record)
    assert plot is not None
    assert len(plot.figure["data"]) == 2


def test_rows_of_one_shape_have_no_such_table() -> None:
    """The section is left out."""
    assert serving_cells(records.improved()).rows == ()
    assert serving_cells_plot(records.improved()) is None


def test_rows_of_one_shape_turn_by_the_batch_alone() -> None:
    """A recipe that wins on single rows and loses on many is told so without lengths too."""
    record, sizes = records.improved(), records.BATCHES
    turned = {f"batch={sizes[0]}": 1.5, f"batch={sizes[-1]}": 0.7}
    claim = record.claims[record.shipped]
    estimates = tuple(
        dataclasses.replace(e, value=gain, low=gain * 0.98, high=gain * 1.02)
        if e.metric == "latency_ms:gain" and (gain := turned.get(e.group, 0.0))
        else e
        for e in claim.estimates
    )
    claims = {**record.claims, record.shipped: dataclasses.replace(claim, estimates=estimates)}
    (told,) = turns(dataclasses.replace(record, claims=claims))
    assert f"faster at batch {sizes[1]}" in told
    assert f"slower at batch {sizes[-1]} (0.70×)" in told
