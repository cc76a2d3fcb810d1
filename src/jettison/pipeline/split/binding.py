"""Which columns of the data feed the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jettison import registry
from jettison.domain.configuration import DataSection
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.errors import DataError
from jettison.pipeline.split.labelling import check_columns, group_columns


def bind_encoder(
    section: DataSection, model: Model, tables: Mapping[str, Example]
) -> tuple[Encoder, tuple[str, ...]]:
    """Completes the model's encoder with the columns of the data.

    Without `inputs`, every column is offered but target, unit, weight and groups; one of these
    (not the target) is offered too where the model itself asks for it by name, as a model does
    that was trained on a sensitive feature.

    Returns:
        The bound encoder, and the columns that were offered to it.

    Raises:
        DataError: for a column that is missing in a table, a target that is also an input, or
            several columns of text of which the model may take one.
    """
    first = next(iter(tables))
    offered = section.inputs or _offered(section, model, tables[first], first)
    if section.target and section.target in offered:
        raise DataError(
            f"the target column `{section.target}` is also an input, so the model would be told "
            "the answer; take it out of `inputs`, or name another target"
        )
    for use, table in tables.items():
        check_columns(table, offered, f"`{use}`")
    kind = registry.get("encoders", model.encoder.kind)
    try:
        bound = kind.bind(model.encoder, model, offered)
    except DataError as error:
        raise DataError(f"`{first}`: {error}") from error
    if not section.inputs:
        _check_no_choice(bound, model, tables[first], first)
    return bound, offered


def _check_no_choice(bound: Encoder, model: Model, table: Example, where: str) -> None:
    """Refuses to guess which of several columns is the text: one may be an id or a source.

    Raises:
        DataError: if a single column would have done as well, and the model names none.
    """
    columns = fed_columns(bound, ())
    texts = [name for name in columns if table.columns[name].dtype.kind == "O"]
    if len(columns) < 2 or not texts or set(columns) <= asked_for(model):
        return
    kind = registry.get("encoders", model.encoder.kind)
    try:
        kind.bind(model.encoder, model, (texts[0],))
    except DataError:
        return  # It needs as many as there are: nothing was guessed.
    listed = ", ".join(f'"{name}"' for name in columns)
    raise DataError(
        f"`{where}` has {len(columns)} columns that may be the text: {listed}. Say which: "
        f'`data.inputs` (--input) = ["{texts[-1]}"] for one text a row, or [{listed}] if each row '
        "is a pair of texts"
    )


def fed_columns(bound: Encoder, offered: Sequence[str]) -> tuple[str, ...]:
    """The columns that feed the model; those offered where the encoder does not say."""
    named = bound.settings.get("columns")
    return tuple(str(name) for name in named) if isinstance(named, list) else tuple(offered)


def _offered(section: DataSection, model: Model, table: Example, where: str) -> tuple[str, ...]:
    wanted = asked_for(model)
    if section.target and section.target in wanted:
        raise DataError(
            f"the target column `{section.target}` of `{where}` is also an input that the model "
            "asks for by name; name the column with the right answers as `target`"
        )
    groups = group_columns(section.groups, table.columns)
    apart = {section.target, section.unit, section.weight, *groups} - wanted
    return tuple(name for name in table.columns if name not in apart | {section.target})


def asked_for(model: Model) -> set[str]:
    """The names that the model itself uses: of its inputs, and of columns that it was fitted on."""
    columns = model.encoder.settings.get("columns", [])
    named = columns if isinstance(columns, list) else []
    return {spec.name for spec in model.inputs} | {name for name in named if isinstance(name, str)}
