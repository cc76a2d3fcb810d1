"""The guardrail `input_limits`: rows, lengths, ranges and empty inputs that a model may be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from jettison.domain.model import Model, TensorSpec
from jettison.domain.outer_points import GuardrailCheck
from jettison.domain.recipe import Refusal
from jettison.domain.rows import Array, Batch
from jettison.errors import ConfigError

TEXT = "str"
PER_INPUT = ("longest", "shortest", "range")

Found = str | None
Limit = Callable[[Array], Found]


class InputLimits:
    """Refuses requests beyond the rows, lengths and ranges that were set for a model."""

    name: ClassVar[str] = "input_limits"

    def prepare(self, model: Model, settings: Mapping[str, object]) -> GuardrailCheck:
        """Makes the check of one model.

        Args:
            model: whose inputs are limited.
            settings: any of `rows` (the most of one request), `longest` and `shortest` (input ->
                characters of a text, or values along the first axis of a row), `range` (input ->
                lowest and highest number), `not_empty` (inputs whose rows need a letter, or a
                number that is not 0).

        Raises:
            ConfigError: with every setting that this model can't have.
        """
        specs = {spec.name: spec for spec in model.inputs}
        problems = _problems(specs, settings)
        if problems:
            raise ConfigError([f"{self.name}: {problem}" for problem in problems])
        limits = [(name, limit) for name in specs for limit in _limits(specs[name], settings)]
        most = settings.get("rows")

        def check(request: Batch) -> Refusal | None:
            rows = len(next(iter(request.values())))
            if isinstance(most, int) and rows > most:
                told = f"the request has {rows} rows; at most {most} are allowed"
                return Refusal(self.name, told)
            for name, limit in limits:
                found = limit(request[name])
                if found is not None:
                    return Refusal(self.name, f"input `{name}` {found}")
            return None

        return check


def _problems(specs: Mapping[str, TensorSpec], settings: Mapping[str, object]) -> list[str]:
    allowed = ("rows", *PER_INPUT, "not_empty")
    problems = [
        f"there is no setting `{key}`; there are {', '.join(allowed)}"
        for key in settings
        if key not in allowed
    ]
    rows = settings.get("rows", 1)
    if not _is_count(rows) or rows == 0:
        problems.append(f"`rows` must be a whole number from 1; got {rows!r}")
    for key in PER_INPUT:
        of_inputs = settings.get(key, {})
        if not isinstance(of_inputs, Mapping):
            problems.append(f"`{key}` must name inputs, each with its limit; got {of_inputs!r}")
            continue
        for name, value in of_inputs.items():
            problems += _input_problems(key, name, value, specs)
    names = settings.get("not_empty", [])
    if not isinstance(names, list):
        problems.append(f"`not_empty` must be a list of inputs; got {names!r}")
    else:
        problems += [_unknown("not_empty", name, specs) for name in names if name not in specs]
    return problems


def _input_problems(
    key: str, name: str, value: object, specs: Mapping[str, TensorSpec]
) -> list[str]:
    spec = specs.get(name)
    if spec is None:
        return [_unknown(key, name, specs)]
    place = f"`{key}.{name}`"
    if key == "range":
        if spec.dtype in (TEXT, "bool"):
            return [f"{place}: the input holds {spec.dtype}, not numbers"]
        return [] if _is_range(value) else [f"{place} must be [lowest, highest]; got {value!r}"]
    if spec.dtype != TEXT and len(spec.shape) < 2:
        return [f"{place}: a row of this input is one value, which has no length"]
    if not _is_count(value):
        return [f"{place} must be a whole number from 0; got {value!r}"]
    return []


def _unknown(key: str, name: object, specs: Mapping[str, TensorSpec]) -> str:
    return f"`{key}`: there is no input `{name}`; there are {', '.join(specs)}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_range(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    ends = [end for end in value if isinstance(end, int | float) and not isinstance(end, bool)]
    return len(ends) == 2 and bool(ends[0] <= ends[1])


def _limits(spec: TensorSpec, settings: Mapping[str, Any]) -> list[Limit]:
    """The limits of one input; each says what is wrong with its values."""
    found: list[Limit] = []
    longest = settings.get("longest", {}).get(spec.name)
    shortest = settings.get("shortest", {}).get(spec.name)
    if longest is not None or shortest is not None:
        found.append(_length(spec, shortest or 0, longest))
    if spec.name in settings.get("range", {}):
        found.append(_range(*settings["range"][spec.name]))
    if spec.name in settings.get("not_empty", ()):
        found.append(_text_not_blank if spec.dtype == TEXT else _not_all_zero)
    return found


def _length(spec: TensorSpec, shortest: int, longest: int | None) -> Limit:
    allowed = f"at least {shortest}" if longest is None else f"{shortest} to {longest}"
    most = float("inf") if longest is None else longest

    def of_texts(values: Array) -> Found:
        for place, text in enumerate(values.flat):
            if not shortest <= len(text) <= most:
                row = place // max(values.size // len(values), 1)
                return f"has a text of {len(text)} characters at row {row}; allowed are {allowed}"
        return None

    def of_rows(values: Array) -> Found:
        length = values.shape[1]
        if shortest <= length <= most:
            return None
        return f"has rows of length {length}; allowed are {allowed}"

    return of_texts if spec.dtype == TEXT else of_rows


def _range(low: float, high: float) -> Limit:
    def check(values: Array) -> Found:
        # A missing value (NaN) is no number beyond the range; whether it may be there is known.
        beyond = (values < low) | (values > high)
        if not beyond.any():
            return None
        place = np.unravel_index(int(beyond.argmax()), values.shape)
        return f"has {values[place]} at row {int(place[0])}; allowed is {low:g} to {high:g}"

    return check


def _not_all_zero(values: Array) -> Found:
    filled = values.reshape(len(values), -1).any(axis=1)
    return None if filled.all() else f"is empty at row {int(filled.argmin())}"


def _text_not_blank(values: Array) -> Found:
    for row, texts in enumerate(values.reshape(len(values), -1)):
        if not any(text.strip() for text in texts):
            return f"is empty at row {row}"
    return None
