"""Calibrators by name."""

from __future__ import annotations

from jettison.errors import CandidateFailed
from jettison.numerics.calibration import Calibrator, MinMax, Percentile
from jettison.numerics.clipping import Entropy, MeanSquare

PERCENTILES = ("percentile_99.9", "percentile_99.99", "percentile_99.999")

NAMED = ("minmax", *PERCENTILES, "mse", "entropy")
"""How a range is found: everything seen, its middle part, or what loses least by a measure. One
setting, not two: a percentage beside `minmax` would be tried again and again to no effect."""

COMPARING = ("held_out", "held_out_per_tensor")
"""Choices that are no calibrator but compare all of them on rows that none saw."""


def calibrator(name: str) -> Calibrator:
    """The calibrator of that name.

    Raises:
        CandidateFailed: if there is none; says which there are.
    """
    fixed: dict[str, Calibrator] = {"minmax": MinMax(), "mse": MeanSquare(), "entropy": Entropy()}
    if name in fixed:
        return fixed[name]
    kind, _, percentage = name.partition("_")
    if kind == "percentile" and _is_percentage(percentage):
        return Percentile(float(percentage))
    raise CandidateFailed(
        f"`calibrator` of `int8_static` must be {', '.join(f'`{n}`' for n in fixed)}, "
        f"{', '.join(f'`{n}`' for n in COMPARING)}, or `percentile_` and a number above 50 and at "
        f"most 100, such as `{PERCENTILES[0]}`; "
        f"got {name!r}"
    )


def _is_percentage(text: str) -> bool:
    try:
        return 50.0 < float(text) <= 100.0
    except ValueError:
        return False
