"""The card of a bundle: README.md in the form that Hugging Face reads, from the record alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from jettison.domain.run import RunRecord
from jettison.reporting import markdown, tables
from jettison.reporting import model_card_tables as figures
from jettison.reporting import model_card_words as words
from jettison.reporting.model_card_front import front_fields, name_of
from jettison.reporting.model_card_snippet import MODEL_FOLDER, snippet
from jettison.reporting.model_card_sources import Sources
from jettison.reporting.quantities import percent, sentence

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["MODEL_FOLDER", "render_card"]


def render_card(record: RunRecord) -> str:
    """Renders the card of what ships; of a run that ships nothing, it says so.

    Every number in it has a mark that leads to its place in the files of the bundle, but for the
    owner's own words, which stand in quotations.

    Args:
        record: a finished run; nothing else is read.

    Returns:
        Markdown with YAML front matter. Every text from outside is escaped.
    """
    trial = record.trial_of(record.shipped)
    model = trial.candidate.model if trial is not None and trial.candidate is not None else None
    sources = Sources()
    text: str = (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            record=record,
            cite=sources.run,
            cite_certificate=functools.partial(_cite_certificate, sources),
            front=markdown.front_matter(front_fields(record, model)),
            name=name_of(record),
            source=markdown.code(record.configuration.model.source),
            card=record.configuration.card,
            owner=words.owner,
            headline=words.headline(record, trial, sources),
            promises=words.promises(record, sources),
            open_claims=words.open_claims(record, sources),
            recipe=words.recipe(record, trial, sources),
            threats=list(words.threats(record)),
            governance=words.governance(record),
            by_group=_table(figures.by_group(record, sources)),
            before_after=_table(figures.before_after(record, sources)),
            energy=figures.energy(record, sources),
            data=_table(figures.data(record, sources)),
            facts=markdown.table(figures.facts(record, sources)),
            snippet=snippet(model, trial.recipe.runtime) if model is not None and trial else "",
            command=markdown.block(record.command, "sh"),
            noise=percent(record.noise_floor),
            subject=_subject(record),
            notes=_own_notes(record),
            # Asked last, when everything was cited.
            sources=lambda: markdown.table(sources.table()),
        )
    )
    return text.rstrip() + "\n"


def _cite_certificate(sources: Sources, letter: str, what: str, place: str) -> markdown.Markdown:
    return sources.cite(letter, what, "certificate.json", place)


def _own_notes(record: RunRecord) -> list[str]:
    """Notes of the run that the reader of the data has not told already."""
    told = record.data.notes if record.data is not None else ()
    return [note for note in record.notes if note not in told]


def _table(content: tables.Table) -> markdown.Markdown | str:
    """A table, or nothing where it has no rows."""
    return markdown.table(content) if content.rows else ""


def _subject(record: RunRecord) -> list[tuple[str, markdown.Markdown]]:
    """Exactly what the certificate is about."""
    subject = record.certificate.subject
    if subject is None:
        return []
    threads = "1 thread" if subject.threads == 1 else f"{subject.threads} threads"
    served = markdown.Markdown(markdown.escaped(f"{threads}, {subject.batch_policy}"))
    return [
        ("model files", markdown.code(subject.artifact)),
        ("encoder", markdown.code(subject.encoder)),
        ("recipe", markdown.code(subject.recipe)),
        ("runtime", markdown.code(subject.runtime)),
        ("served with", served),
        ("processor class", markdown.code(subject.cpu_class)),
    ]


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jettison.reporting", "templates"),
        autoescape=False,
        finalize=markdown.escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["sentence"] = sentence
    return environment
