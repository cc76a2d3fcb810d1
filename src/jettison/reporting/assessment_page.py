"""The page of an assessment: the worst finding in one sentence, then everything behind it."""

from __future__ import annotations

from collections.abc import Mapping

from jettison.domain.assessment import Assessment
from jettison.reporting import page_parts
from jettison.reporting.assessment_plots import group_plots, reliability_plot
from jettison.reporting.assessment_tables import all_tables, ratio_verdict
from jettison.reporting.glossary import FAIRNESS
from jettison.reporting.quantities import listed, percent
from jettison.reporting.tiles import Tile

_KINDS: Mapping[str, str] = {
    "historical": "History: do the labels repeat it?",
    "representation": "Representation: who is missing?",
    "measurement": "Measurement: is everyone measured alike?",
    "aggregation": "Aggregation: does one model fit all?",
}


def render_assessment(record: Assessment) -> str:
    """Renders one HTML page. It loads nothing, opens offline, and escapes every name."""
    templates = page_parts.environment()
    found = (*group_plots(record), reliability_plot(record))
    plots = {plot.name: plot for plot in found if plot is not None}
    library = page_parts.library() if plots else None
    script = page_parts.source(templates, "report.js")
    allowed = [page_parts.allowance(script), *([library.allowed] if library is not None else [])]
    badge, kind = _badge(record)
    page: str = templates.get_template("assessment.html.j2").render(
        record=record,
        badge=badge,
        badge_kind=kind,
        symbols=page_parts.SYMBOLS,
        tiles=_tiles(record),
        tables=dict(all_tables(record)),
        plots=plots,
        figures={name: page_parts.figure(plot) for name, plot in plots.items()},
        other_findings=[f for f in record.leading.findings if f.sentence not in record.answer],
        questions=_questions(record),
        glossary=FAIRNESS,
        library=library,
        style=page_parts.source(templates, "report.css"),
        script=script,
        policy=page_parts.policy(allowed),
    )
    return page


def _badge(record: Assessment) -> tuple[str, str]:
    if record.broken:
        return "A limit is broken", "bad"
    if any(finding.harm for finding in record.leading.findings):
        return "Groups are treated differently", "bad"
    if any(ratio.verdict == "below" for ratio in record.leading.ratios):
        return "Groups are selected differently", "bad"
    if record.answer.startswith("Undecided") or record.undecided:
        return "Undecided", "open"
    return "Nothing found", "neutral"


def _tiles(record: Assessment) -> tuple[Tile, ...]:
    model = record.leading
    groups = ", ".join(f"{len(sizes)} by {column}" for column, sizes in record.groups.items())
    tiles = [Tile("Rows", f"{record.n:,}", f"groups: {groups}")]
    for metric, label in (("error_rate", "Wrong answers"), ("absolute_error", "Absolute error")):
        found = model.get(metric)
        if found is not None and found.value is not None:
            shown = percent(found.value) if found.unit == "fraction" else f"{found.value:.4g}"
            tiles.append(Tile(label, shown, f"over all rows, n = {found.n:,}"))
    harmful = next((f for f in model.findings if f.harm), None)
    if harmful is not None:
        name = harmful.metric.replace("_", " ")
        shown = percent(harmful.value) if record.task != "regression" else f"{harmful.value:.4g}"
        tiles.append(Tile(f"Worst {name}", shown, f"{harmful.group}, n = {harmful.n:,}", "bad"))
    ratios = sorted(model.ratios, key=lambda ratio: ratio.high)
    if ratios:
        worst = ratios[0]
        note = f"{worst.verdict} at {worst.threshold:g}; {worst.low:.2f} to {worst.high:.2f}"
        if worst.left_out:
            note += f"; not compared: {listed(worst.left_out)}"
        tiles.append(
            Tile(
                f"Disparate-impact ratio by {worst.column}",
                f"{worst.value:.2f}",
                note,
                ratio_verdict(worst, record.smallest).kind,
            )
        )
    return tuple(tiles)


def _questions(record: Assessment) -> Mapping[str, tuple[str, ...]]:
    """Questions by kind, in a fixed order; kinds without any are left out."""
    sorted_ = {
        title: tuple(q.sentence for q in record.questions if q.kind == kind)
        for kind, title in _KINDS.items()
    }
    return {title: sentences for title, sentences in sorted_.items() if sentences}
