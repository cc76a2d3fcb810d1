"""Which columns of the data feed the model."""

from __future__ import annotations

from collections.abc import Mapping

from jettison import registry
from jettison.domain.configuration import DataSection
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.errors import DataError
from jettison.pipeline.split.labelling import check_columns


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
        DataError: for a column that is missing in a table, or a target that is also an input.
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
        return kind.bind(model.encoder, model, offered), offered
    except DataError as error:
        raise DataError(f"`{first}`: {error}") from error


def _offered(section: DataSection, model: Model, table: Example, where: str) -> tuple[str, ...]:
    wanted = asked_for(model)
    if section.target and section.target in wanted:
        raise DataError(
            f"the target column `{section.target}` of `{where}` is also an input that the model "
            "asks for by name; name the column with the right answers as `target`"
        )
    apart = {section.target, section.unit, section.weight, *section.groups} - wanted
    return tuple(name for name in table.columns if name not in apart | {section.target})


def asked_for(model: Model) -> set[str]:
    """The names that the model itself uses: of its inputs, and of columns that it was fitted on."""
    columns = model.encoder.settings.get("columns", [])
    named = columns if isinstance(columns, list) else []
    return {spec.name for spec in model.inputs} | {name for name in named if isinstance(name, str)}
