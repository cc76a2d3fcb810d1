"""The report: one HTML page that holds everything it shows, and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping

from jettison.domain.run import Outcome, RunRecord
from jettison.reporting import page_parts, tables
from jettison.reporting.comparison import compare
from jettison.reporting.context_table import contexts
from jettison.reporting.findings import best_float
from jettison.reporting.forest_plot import forest
from jettison.reporting.glossary import GLOSSARY
from jettison.reporting.pareto_plots import pareto_quality, pareto_size
from jettison.reporting.profile_plots import curve, layers
from jettison.reporting.quantities import percent, seconds_text, sentence, times
from jettison.reporting.roofline import roofline
from jettison.reporting.roofline import sentence as roofline_sentence
from jettison.reporting.roofline_plot import roofline_plot
from jettison.reporting.sensitivity_views import sensitivity, sensitivity_plot
from jettison.reporting.serving_cells import serving_cells, serving_cells_plot, turns
from jettison.reporting.tiles import tiles

_OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    "improved": ("Certified improvement", "ships"),
    "nothing_better": ("Nothing beat the original", "bad"),
    "undecided": ("Could not be decided", "open"),
    "interrupted": ("Interrupted", "open"),
}


def render_report(record: RunRecord) -> str:
    """Renders the whole report as one HTML page.

    Args:
        record: a finished run; nothing else is read.

    Returns:
        The page. It loads nothing, opens offline, and every name from outside is escaped.
    """
    environment = page_parts.environment()
    found = (pareto_quality(record), pareto_size(record), curve(record), layers(record))
    every = (
        *found,
        serving_cells_plot(record),
        roofline_plot(record),
        sensitivity_plot(record),
        forest(record),
    )
    plots = {p.name: p for p in every if p is not None}
    library = page_parts.library() if plots else None
    script = page_parts.source(environment, "report.js")
    allowed = [page_parts.allowance(script), *([library.allowed] if library is not None else [])]
    words, kind = _OUTCOMES[record.outcome]
    page: str = environment.get_template("report.html.j2").render(
        record=record,
        outcome=words,
        outcome_kind=kind,
        symbols=page_parts.SYMBOLS,
        tiles=tiles(record),
        tables=_tables(record),
        plots=plots,
        figures={name: page_parts.figure(plot) for name, plot in plots.items()},
        sentences=_sentences(record),
        notes=_notes(record),
        turns=turns(record),
        glossary=GLOSSARY,
        library=library,
        style=page_parts.source(environment, "report.css"),
        script=script,
        policy=page_parts.policy(allowed),
    )
    return page


def _tables(record: RunRecord) -> Mapping[str, tables.Table]:
    made = (
        tables.comparison,
        tables.trials,
        tables.claims,
        contexts,
        tables.curve,
        serving_cells,
        tables.costs,
        tables.stages,
        tables.layers,
        roofline,
        sensitivity,
        tables.predictions,
        tables.refusals,
        tables.groups,
        tables.facts,
    )
    return {make.__name__: make(record) for make in made}


def _sentences(record: RunRecord) -> Mapping[str, str]:
    """The sentences that are worked out, one for each place of the page."""
    shares = {stage.name: stage.share for stage in record.profile.stages}
    outside = 1.0 - shares["model"] if "model" in shares else None
    rest = "" if outside is None else f" {percent(outside)} of the time is outside the model."
    whole = sum(record.stage_seconds.values())
    parts = ", ".join(
        f"{name} {seconds_text(value)}" for name, value in record.stage_seconds.items()
    )
    return {
        "bound": f"However fast the model gets, the whole can get at most "
        f"{times(record.profile.bound)} faster.{rest}",
        "noise": _noise_sentence(record),
        "times": f"{parts}; together {seconds_text(whole)}." if parts else "",
        "float": _float_sentence(record),
        "roofline": roofline_sentence(record.profile),
        "reason": sentence(record.certificate.reason),
    }


def _noise_sentence(record: RunRecord) -> str:
    """What difference can be seen here; nothing where no time was compared."""
    if not record.noise_floor:
        return ""
    return (
        f"Two copies of the original differ by up to {percent(record.noise_floor)} here; smaller "
        "differences in time mean nothing."
    )


def _notes(record: RunRecord) -> tuple[str, ...]:
    """Everything that a person should know, each sentence once: data, run, measurements."""
    reader = record.data.notes if record.data is not None else ()
    measured = [n for m in (record.baseline, *record.claims.values()) for n in m.notes]
    return tuple(dict.fromkeys((*reader, *record.notes, *measured)))


def _float_sentence(record: RunRecord) -> str:
    """How what ships compares with the best candidate in floating point, so that nobody is flattered."""
    found = best_float(record)
    shipped = next((row for row in compare(record) if row.digest == record.shipped), None)
    if found is None or shipped is None or shipped.gain is None:
        return ""
    own, other = shipped.gain.estimate.value, found[1].estimate.value
    if not own or not other or found[0].recipe.digest == record.shipped:
        return ""
    return (
        f"Against the best candidate in floating point ({found[0].recipe}, {times(other)} the "
        f"original), what ships gains {times(own / other)} (ratio of the two point values)."
    )
