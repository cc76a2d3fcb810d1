"""What must hold where the user did not say which metric, and margins that are relative."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Sequence

from jettison.domain.certificate import Requirement
from jettison.domain.model import Model
from jettison.errors import ConfigError, DataError

GROUP_FACTOR = 3.0
"""`max_drop_group` where it is not given, in multiples of `max_drop` (DESIGN section 7)."""

DEFAULT_MAX_DROP = 0.01


def default_metric(model: Model, *, labelled: bool) -> str:
    """The quality metric of a task: against labels where there are some, else the original.

    Cosine for embeddings; closeness to the original's value for a regression, because no
    registered test certifies an unbounded error; word errors for a transcription; agreement token
    by token for a token classifier.
    """
    if model.task == "embedding":
        return "cosine"
    if model.task == "regression":
        return "within_1_percent"
    if model.task == "transcription":
        return "wer"
    if model.task == "token-classification":
        return "token_agreement"
    return "accuracy" if labelled else "agreement"


def default_requirements(
    model: Model,
    *,
    labelled: bool,
    max_drop: float = DEFAULT_MAX_DROP,
    max_drop_group: float | None = None,
) -> tuple[Requirement, ...]:
    """The one requirement of a run for which the user named no metric.

    Args:
        model: its task decides.
        labelled: whether the rows have targets.
        max_drop: absolute margin overall.
        max_drop_group: absolute margin of each group; 3 x `max_drop` when absent.
    """
    group = round(GROUP_FACTOR * max_drop, 12) if max_drop_group is None else max_drop_group
    return (Requirement(default_metric(model, labelled=labelled), max_drop, group),)


def complete_requirements(
    requirements: Sequence[Requirement], model: Model, *, labelled: bool
) -> tuple[Requirement, ...]:
    """Fills in the default metric where none was named, and the default where nothing was."""
    if not requirements:
        return default_requirements(model, labelled=labelled)
    metric = default_metric(model, labelled=labelled)
    return tuple(r if r.metric else dataclasses.replace(r, metric=metric) for r in requirements)


def resolve_relative(
    requirement: Requirement, baseline: float, *, logarithmic: bool = False
) -> Requirement:
    """Turns `max_drop_relative` into an absolute margin, before the seal opens.

    Args:
        requirement: one that may be relative; an absolute one comes back as it is.
        baseline: the original's value of the metric on the selection rows.
        logarithmic: the metric is a log of what the user means (perplexity), so that a share
            rho of that is log(1 + rho) of the metric, whatever the original's value.

    Raises:
        DataError: if the baseline is zero, negative or not a number.
    """
    if requirement.max_drop_relative is None:
        return requirement
    if logarithmic:
        margin = math.log1p(requirement.max_drop_relative)
        wide = requirement.max_drop_group or math.log1p(
            GROUP_FACTOR * requirement.max_drop_relative
        )
        return dataclasses.replace(
            requirement, max_drop=margin, max_drop_group=wide, max_drop_relative=None
        )
    if not baseline > 0:
        raise DataError(
            f"`max_drop_relative` of `{requirement.metric}` is a share of the original's value, "
            f"which is {baseline:g} on the selection rows; a share of zero or less allows "
            "nothing: give an absolute `max_drop`"
        )
    margin = requirement.max_drop_relative * baseline
    group = requirement.max_drop_group or GROUP_FACTOR * margin
    return dataclasses.replace(
        requirement, max_drop=margin, max_drop_group=group, max_drop_relative=None
    )


def check_gated_groups(requirements: Sequence[Requirement], groups: Collection[str]) -> None:
    """Checks that every group that shall gate occurs in the data, before any time is spent.

    Args:
        requirements: of the configuration.
        groups: those that the data has, as `column=value`.

    Raises:
        ConfigError: naming every group that does not occur, with the nearest that does.
    """
    problems = []
    for requirement in requirements:
        for name in requirement.gated_groups or ():
            if name not in groups:
                near = difflib.get_close_matches(name, groups, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                problems.append(
                    f"`gated_groups` of `{requirement.metric}` names `{name}`, which no sealed row "
                    f"belongs to{hint} (groups: {', '.join(sorted(groups)) or 'none'})"
                )
    if problems:
        raise ConfigError(problems)
