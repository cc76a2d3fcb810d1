"""From processor seconds to joules, and from joules to what people ask for.

A rate over power is a count over energy: (requests / s) / W = requests / J. So joules per request
are what is kept; requests per kWh and grams of carbon are other words for it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CORE", "JOULES_PER_KWH", "WattsPerCore", "carbon_grams", "requests_per_kwh"]

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class WattsPerCore:
    """Declared power of one busy logical core, its share of caches and memory included.

    Attributes:
        low, value, high: watts; the range is what such a declaration is worth.
    """

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= self.value <= self.high:
            raise ValueError(f"watts must be above 0 and ascending; got {self}")


CORE = WattsPerCore(1.5, 4.0, 12.0)
"""Where nothing is declared: rated power / logical cores of processors on sale from 2021 to 2025.

Server parts give 1.8 to 3.1 W a logical core (AMD EPYC 9654: 360 W / 192; Intel Xeon Platinum
8480+: 350 W / 112), desktop parts 5 to 8 W (AMD Ryzen 9 7950X: 170 W / 32; Intel Core i9-13900K:
253 W / 32), and one core alone in turbo may take 12 W and more.
"""


def requests_per_kwh(joules_per_request: float) -> float:
    """Requests answered with one kilowatt-hour.

    >>> requests_per_kwh(3.6)
    1000000.0
    """
    return JOULES_PER_KWH / joules_per_request


def carbon_grams(joules: float, grid_grams_per_kwh: float, pue: float) -> float:
    """Grams of CO2 equivalent of some energy.

    Args:
        joules: at the processor or the socket, as the meter says.
        grid_grams_per_kwh: of the grid at hand; there is no default, it varies 50-fold.
        pue: power usage effectiveness of the building, 1.0 or more; state which was used.

    >>> carbon_grams(3.6e6, grid_grams_per_kwh=400.0, pue=1.5)
    600.0
    """
    if pue < 1.0 or grid_grams_per_kwh < 0.0:
        raise ValueError(f"PUE is at least 1, grid grams at least 0; got {pue}, {grid_grams_per_kwh}")
    return joules / JOULES_PER_KWH * grid_grams_per_kwh * pue
