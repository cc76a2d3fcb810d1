"""The card of a bundle: README.md in the form that Hugging Face reads, from the record alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL
from jettison.domain.model import Model
from jettison.domain.run import RunRecord, Trial
from jettison.reporting import cells, markdown, tables
from jettison.reporting.findings import gain_of, the_cost, unit_of
from jettison.reporting.quantities import (
    change,
    margin_text,
    percent,
    plain_name,
    sentence,
    with_unit,
)

if TYPE_CHECKING:
    from jinja2 import Environment

_LIBRARY_OF_TRAIT = {"onnx": "onnx", "torch": "transformers", "sklearn": "sklearn"}
_TAG_TRAITS = ("onnx", "int8", "float16", "trees")
MODEL_FOLDER = "model"
"""Where a bundle keeps the files of the model."""


def render_card(record: RunRecord) -> str:
    """Renders the card of what ships; of a run that ships nothing, it says so.

    Args:
        record: a finished run; nothing else is read.

    Returns:
        Markdown with YAML front matter. Every text from outside is escaped.
    """
    trial = record.trial_of(record.shipped)
    model = trial.candidate.model if trial is not None and trial.candidate is not None else None
    text: str = (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            record=record,
            front=markdown.front_matter(_front(record, model)),
            name=_name(record),
            source=markdown.code(record.configuration.model.source),
            recipe=markdown.code(str(trial.recipe)) if trial is not None else "",
            changes=trial.candidate.log if trial is not None and trial.candidate else (),
            headline=_headline(record, trial),
            before_after=markdown.table(_before_after(record)),
            by_group=markdown.table(tables.claims(record)),
            has_claims=bool(record.certificate.claims),
            promises=_promises(record),
            open_groups=[c for c in record.certificate.claims if c.verdict != "held"],
            snippet=_snippet(model) if model is not None else "",
            command=markdown.block(record.command, "sh"),
            facts=markdown.table(tables.facts(record)),
            noise=percent(record.noise_floor),
            subject=_subject(record),
        )
    )
    return text.rstrip() + "\n"


def _name(record: RunRecord) -> str:
    """The name of the file or folder; of the folder where the file is just called `model`."""
    path = PurePath(record.configuration.model.source)
    name = path.stem if path.suffix[1:].isalpha() else path.name
    return (path.parent.name if name == "model" else name) or "model"


def _front(record: RunRecord, model: Model | None) -> Mapping[str, object]:
    """What Hugging Face reads. Licence and base model are not known here, so they are left out."""
    traits = model.traits if model is not None else record.model.traits
    fields: dict[str, object] = {}
    library = next((lib for trait, lib in _LIBRARY_OF_TRAIT.items() if trait in traits), None)
    if library is not None:
        fields["library_name"] = library
    if "-" in record.configuration.model.task:
        fields["pipeline_tag"] = record.configuration.model.task
    certified = record.certificate.status == "certified"
    status = "certified" if certified else "uncertified"
    kinds = [trait for trait in _TAG_TRAITS if trait in traits]
    fields["tags"] = ["jettison", status, "model-compression", *kinds]
    metrics = sorted({requirement.metric for requirement in record.configuration.requirements})
    if metrics:
        fields["metrics"] = metrics
    index = _index(record)
    if index:
        fields["model-index"] = index
    return fields


def _index(record: RunRecord) -> list[object]:
    """Results on labelled sealed rows, and nothing else: only those are evidence."""
    data = record.data
    found = [c for c in record.certificate.claims if c.group == OVERALL and c.candidate is not None]
    if not found or data is None or not record.configuration.data.target:
        return []
    metrics = [
        {"type": claim.metric, "value": claim.candidate, "name": f"{claim.metric} on sealed rows"}
        for claim in found
    ]
    return [
        {
            "name": _name(record),
            "results": [
                {
                    "task": {"type": record.configuration.model.task or record.model.task},
                    "dataset": {"type": "private", "name": PurePath(data.source).name or "sealed"},
                    "metrics": metrics,
                }
            ],
        }
    ]


def _headline(record: RunRecord, trial: Trial | None) -> str:
    gain = gain_of(record, trial, the_cost(record)) if trial is not None else None
    if gain is None:
        return ""
    return (
        f"{plain_name(the_cost(record)).capitalize()}: {cells.gain_words(record, gain)} than the "
        f"original ({cells.gain_note(gain)})."
    )


def _before_after(record: RunRecord) -> tables.Table:
    """Every claim-tier cost, and the certified quality, of the original and of what ships."""
    new = record.claims.get(record.shipped)
    columns = (
        tables.Column("Figure", numeric=False),
        tables.Column("Original"),
        tables.Column("This model"),
    )
    rows: list[tuple[tables.Cell, ...]] = []
    for claim in record.certificate.claims:
        if claim.group == OVERALL:
            unit = unit_of(record, claim.metric)
            rows.append(
                (
                    tables.Cell(claim.metric, f"sealed rows, n = {claim.n:,}"),
                    tables.Cell(with_unit(claim.baseline, unit)),
                    tables.Cell(with_unit(claim.candidate, unit)),
                )
            )
    required = {requirement.metric for requirement in record.configuration.requirements}
    for estimate in record.baseline.estimates:
        whole = record.baseline.get(estimate.metric)
        same = estimate.group != OVERALL and whole is not None and whole.value == estimate.value
        if estimate.metric in required or ":" in estimate.metric or same:
            continue
        words = estimate.metric.replace("_", " ")
        shown = words if estimate.group == OVERALL else f"{words}, {estimate.group}"
        after = new.get(estimate.metric, estimate.group) if new is not None else None
        rows.append((tables.Cell(shown), tables.estimate(estimate), tables.estimate(after)))
    return tables.Table("Before and after", columns, tuple(rows))


def _promises(record: RunRecord) -> list[str]:
    """The held claims in words."""
    return [_promise(record, c) for c in record.certificate.claims if c.verdict == "held"]


def _promise(record: RunRecord, claim: Claim) -> str:
    unit = unit_of(record, claim.metric)
    who = "Overall" if claim.group == OVERALL else claim.group
    moved = "" if claim.estimate is None else f" changed by {change(0.0 - claim.estimate, unit)};"
    worst = ""
    if claim.bound is not None:
        worst = f" a change below {change(0.0 - claim.bound, unit)} is excluded;"
    return (
        f"{who}: {claim.metric}{moved}{worst} a drop of {margin_text(claim.margin, unit)} "
        f"was allowed (n = {claim.n:,}, grade {claim.grade})."
    )


def _subject(record: RunRecord) -> list[tuple[str, markdown.Markdown]]:
    """Exactly what the certificate is about."""
    subject = record.certificate.subject
    if subject is None:
        return []
    threads = "1 thread" if subject.threads == 1 else f"{subject.threads} threads"
    return [
        ("model files", markdown.code(subject.artifact)),
        ("encoder", markdown.code(subject.encoder)),
        ("recipe", markdown.code(subject.recipe)),
        ("runtime", markdown.code(subject.runtime)),
        (
            "served with",
            markdown.Markdown(markdown.escaped(f"{threads}, {subject.batch_policy}")),
        ),
        ("processor class", markdown.code(subject.cpu_class)),
    ]


def _snippet(model: Model) -> markdown.Markdown | str:
    """How to run the files without jettison; only for models that onnxruntime opens."""
    if "onnx" not in model.traits:
        return ""
    feeds = ",\n".join(
        f"    {spec.name!r}: np.zeros({_shape(spec.shape)}, dtype={spec.dtype!r})"
        for spec in model.inputs
    )
    path = f"{MODEL_FOLDER}/{model.artifact.files[0]}"
    return markdown.block(
        "import numpy as np\n"
        "import onnxruntime as ort\n\n"
        f"session = ort.InferenceSession({path!r}, providers=['CPUExecutionProvider'])\n"
        f"inputs = {{  # the first axis is the batch\n{feeds},\n}}\n"
        f"scores = session.run([{model.prediction!r}], inputs)[0]",
        "python",
    )


def _shape(shape: tuple[int | str, ...]) -> str:
    """A small example shape: one row, and 8 where a later axis is free."""
    sizes = [
        axis if isinstance(axis, int) else (1 if i == 0 else 8) for i, axis in enumerate(shape)
    ]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


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
