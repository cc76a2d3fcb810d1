"""Scales between two layers that give each channel the same range in both.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, section 4.1: s_i = sqrt(r1_i / r2_i), W1 / s, W2 * s.
"""

from __future__ import annotations

import numpy as np

from jettison.domain.rows import Array

MOST = 1e4
"""A channel is scaled by no more than this: a dead one would take everything."""


def channel_ranges(weights: Array, axis: int) -> Array:
    """The largest magnitude of each channel, shape (channels,)."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest: Array = np.abs(weights).max(axis=others, initial=0.0).astype(np.float64)
    return largest


def equalising_scales(first: Array, second: Array) -> Array:
    """What the first layer's channels are divided by and the second's multiplied by.

    Args:
        first: ranges of the first layer's output channels, shape (channels,).
        second: ranges of the second layer's input channels, the same shape.

    Returns:
        Shape (channels,); 1 for a channel that is zero in one of both layers.
    """
    alive = (first > 0.0) & (second > 0.0)
    ratio = np.where(alive, first, 1.0) / np.where(alive, second, 1.0)
    scales: Array = np.clip(np.sqrt(ratio), 1.0 / MOST, MOST)
    return scales


def smoothing_scales(activations: Array, weights: Array, alpha: float) -> Array:
    """What activations are divided by and weights multiplied by, so that both are easy to round.

    s_j = max|X_j|^alpha / max|W_j|^(1 - alpha). Source: Xiao et al., "SmoothQuant", ICML 2023,
    equation 4; here with a geometric mean of 1, which changes no 8-bit result.

    Args:
        activations: largest magnitude of each channel, shape (channels,).
        weights: of the weights that read it, the same shape.
        alpha: 0 leaves all difficulty to the activations, 1 to the weights.
    """
    alive = (activations > 0.0) & (weights > 0.0)
    x, w = np.where(alive, activations, 1.0), np.where(alive, weights, 1.0)
    scales = np.where(alive, x**alpha / w ** (1.0 - alpha), 1.0)
    logs = np.log(scales[alive]) if alive.any() else np.zeros(1)
    scaled: Array = np.where(alive, np.clip(scales / np.exp(logs.mean()), 1 / MOST, MOST), 1.0)
    return scaled
