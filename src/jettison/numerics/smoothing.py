"""How far to smooth the activations that a few layers read: judged by the layers' own products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jettison.domain.rows import Array
from jettison.numerics.equalising import channel_ranges, smoothing_scales

ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WORTH = 0.02
"""Scales are taken if they lower the error of the products by this share of itself."""

STEPS = 127


def best_alpha(
    largest: Array, rows: Array, weights: Sequence[Array], alphas: Sequence[float] = ALPHAS
) -> float | None:
    """The alpha whose scales leave the least error in the products, or `None` if none helps.

    Args:
        largest: magnitude of each channel over all fitting rows, shape (channels,).
        rows: some activations, shape (n, channels).
        weights: of the layers that read them, each of shape (channels, outputs).
        alphas: to try.
    """
    reading = np.concatenate(weights, axis=1)
    exact = rows @ reading
    ranges = channel_ranges(reading, 0)
    plain = _error(exact, rows, reading, largest)
    found = {}
    for alpha in alphas:
        scales = smoothing_scales(largest, ranges, alpha)
        found[alpha] = _error(exact, rows / scales, reading * scales[:, None], largest / scales)
    best = min(found, key=lambda alpha: found[alpha])
    return best if found[best] < (1.0 - WORTH) * plain else None


def _error(exact: Array, rows: Array, weights: Array, largest: Array) -> float:
    """Mean square by which 8-bit activations (one scale) and weights (one per output) move products."""
    step = float(largest.max()) / STEPS or 1.0
    scale = np.maximum(np.abs(weights).max(axis=0, keepdims=True), 1e-30) / STEPS
    rounded = np.rint(rows / step).clip(-STEPS, STEPS) * step
    return float(np.mean((rounded @ (np.rint(weights / scale) * scale) - exact) ** 2))
