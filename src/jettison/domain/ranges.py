"""What a range allows, as a test and in words."""

from __future__ import annotations

from jettison.domain.recipe import Choices, FloatRange, IntegerRange, Range
from jettison.domain.record import Scalar

__all__ = ["describe", "within"]


def within(allowed: Range, value: Scalar) -> bool:
    """Whether a fixed value lies in a range.

    >>> within(FloatRange(0.0, 1.0, 0.5), 1.5)
    False
    """
    match allowed:
        case Choices(others=True, default=default):
            alike = (float, int) if isinstance(default, float) else (type(default),)
            return type(value) in alike
        case Choices(values=values):
            return any(value == v and isinstance(value, type(v)) for v in values)
        case IntegerRange(low=low, high=high):
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        case FloatRange(low=low_f, high=high_f):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and low_f <= float(value) <= high_f


def describe(allowed: Range) -> str:
    """Says in words what a range allows."""
    match allowed:
        case Choices(values=values, others=others):
            named = ", ".join(repr(v) for v in values)
            return f"{named}, or another {_kind(values[0])}" if others else f"one of {named}"
        case IntegerRange(low=low, high=high):
            return f"a whole number from {low} to {high}"
        case FloatRange(low=low_f, high=high_f):
            return f"from {low_f:g} to {high_f:g}"


def _kind(value: Scalar) -> str:
    words = {bool: "yes or no", int: "whole number", float: "number", str: "text"}
    return words[type(value)]
