"""Numbers as people read them: with unit, interval and n, and a dash for what was not measured."""

from __future__ import annotations

from collections.abc import Sequence

from jettison.domain.measurement import Estimate

MISSING = "–"
MINUS = "−"
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
_TIME_SUFFIXES = ("_ms", "_s", "_us")
_UNIT_SUFFIXES = ("_ms", "_us", "_bytes", "_per_s", "_s", "_j")
UNBOUNDED = 1e9
"""Stored in place of an infinite bound."""


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are.

    >>> listed("abcdefgh"), listed(["a"])
    ('a, b, c, d, e and 3 more', 'a')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def significant(value: float, digits: int = 3) -> str:
    """Writes a number with a few significant digits and no exponent.

    >>> significant(0.012345), significant(12345.6), significant(-1.5)
    ('0.0123', '12,346', '−1.50')
    """
    if value == 0:
        return "0"
    magnitude = abs(value)
    decimals = max(0, digits - 1 - _exponent(magnitude))
    text = f"{magnitude:,.{min(decimals, 9)}f}"
    return MINUS + text if value < 0 else text


def _exponent(magnitude: float) -> int:
    return int(f"{magnitude:e}".partition("e")[2])


def bytes_text(size: float | None) -> str:
    """Writes a size in decimal units.

    >>> bytes_text(3_150_000), bytes_text(512), bytes_text(None)
    ('3.15 MB', '512 B', '–')
    """
    if size is None:
        return MISSING
    value = float(size)
    for unit in _BYTE_UNITS:
        if value < 999.5 or unit == _BYTE_UNITS[-1]:
            return f"{value:.0f} B" if unit == "B" else f"{significant(value)} {unit}"
        value /= 1000.0
    return MISSING


def seconds_text(seconds: float | None) -> str:
    """Writes a duration.

    >>> seconds_text(0.0001), seconds_text(0.25), seconds_text(3.21), seconds_text(42.0)
    ('under 0.01 s', '0.25 s', '3.2 s', '42 s')
    >>> seconds_text(185.0), seconds_text(7260.0)
    ('3 min 5 s', '2 h 1 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 0.01:
        return "under 0.01 s"
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Writes a fraction as a percentage.

    >>> percent(0.0312), percent(None)
    ('3.1 %', '–')
    """
    if fraction is None:
        return MISSING
    sign = MINUS if round(fraction * 100, decimals) < 0 else ""
    return f"{sign}{abs(fraction) * 100:.{decimals}f} %"


def times(ratio: float | None) -> str:
    """Writes a ratio.

    >>> times(1.584), times(0.35), times(17.4), times(None)
    ('1.58×', '0.35×', '17.4×', '–')
    """
    if ratio is None:
        return MISSING
    if ratio >= UNBOUNDED:
        return "no bound"
    return f"{ratio:.2f}×" if ratio < 10 else f"{significant(ratio)}×"


def with_unit(value: float | None, unit: str) -> str:
    """Writes a value in the unit that it was measured in.

    >>> with_unit(0.873, "fraction"), with_unit(12.2, "ms"), with_unit(3_200_000, "bytes")
    ('87.30 %', '12.2 ms', '3.20 MB')
    """
    if value is None:
        return MISSING
    if unit == "fraction":
        return percent(value, 2)
    if unit == "bytes":
        return bytes_text(value)
    if unit in {"ratio", "x", "times"}:
        return times(value)
    return f"{significant(value)} {unit}".rstrip()


def change(value: float | None, unit: str) -> str:
    """Writes a signed difference; fractions become percentage points.

    >>> change(0.0024, "fraction"), change(-0.011, "fraction"), change(0.0, "fraction")
    ('+0.24 points', '−1.10 points', '0.00 points')
    """
    if value is None:
        return MISSING
    if unit == "fraction":
        rounded = round(value * 100, 2)
        sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
        return f"{sign}{abs(rounded):.2f} points"
    sign = "+" if value > 0 else ""
    return f"{sign}{significant(value)} {unit}".rstrip()


def margin_text(margin: float, unit: str) -> str:
    """Writes the largest drop allowed, without a sign.

    >>> margin_text(0.01, "fraction"), margin_text(0.02, "nats")
    ('1 point', '0.0200 nats')
    """
    if unit == "fraction":
        shown = f"{margin * 100:.4g}"
        return f"{shown} point" if shown == "1" else f"{shown} points"
    return f"{significant(margin)} {unit}".rstrip()


def interval(estimate: Estimate | None, unit: str = "") -> str:
    """Writes the 95 % interval of an estimate, or nothing where there is none.

    >>> interval(Estimate("m", "overall", 1.6, 1.51, 1.684, 5, "ratio", "higher"))
    '1.51× to 1.68×'
    """
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    if estimate.low == estimate.high:
        return "exact"
    shown = unit or estimate.unit
    return f"{with_unit(estimate.low, shown)} to {with_unit(estimate.high, shown)}"


def is_time(metric: str) -> bool:
    """Whether a cost is a time, by the unit that ends its name: then less of it is *faster*."""
    return metric.endswith(_TIME_SUFFIXES) and not metric.endswith("_per_s")


def plain_name(metric: str) -> str:
    """The name of a metric without its unit.

    >>> plain_name("latency_ms"), plain_name("peak_memory_bytes"), plain_name("accuracy")
    ('latency', 'peak memory', 'accuracy')
    """
    for suffix in _UNIT_SUFFIXES:
        if metric.endswith(suffix):
            return metric[: -len(suffix)].replace("_", " ")
    return metric.replace("_", " ")


def rows_text(count: int, noun: str = "row") -> str:
    """Writes a count with its noun.

    >>> rows_text(1), rows_text(4016)
    ('1 row', '4,016 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def sentence(text: str) -> str:
    """Makes a reason stand as a sentence between others.

    >>> sentence("no candidate is faster"), sentence("int8_static failed."), sentence("")
    ('No candidate is faster.', 'int8_static failed.', '')
    """
    shown = text.strip()
    first = shown.split(" ", 1)[0]
    if first.isalpha():
        shown = shown[0].upper() + shown[1:]
    return shown if not shown or shown[-1] in ".!?:" else shown + "."
