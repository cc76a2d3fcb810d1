"""Strings of spoken digits as the recogniser of the shared data takes them, and what it wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jettison.domain.rows import Array

MEL, SPECTRUM, HOP, WINDOW = 40, 256, 80, 200


def strings(path: Path, n: int, words: int, frames: int) -> tuple[Array, Array]:
    """Joins clips that training did not see, one speaker a string.

    Returns:
        Log-mel features (n, frames, 40), normalised by string, and the digits (n, words).
    """
    with np.load(path) as stored:
        pcm, ends = stored["pcm"].astype(np.float32) / 32768, stored["offsets"]
        digit, speaker, index = stored["digit"].astype(int), stored["speaker"], stored["index"]
    random = np.random.default_rng(123)
    held = np.flatnonzero(index < 5)
    clips = {i: _logmel(pcm[ends[i] : ends[i + 1]]) for i in held}
    silence = _logmel(random.normal(0, 1e-3, 16000).astype(np.float32), loud=False)
    x, y = [], []
    while len(x) < n:
        own = held[speaker[held] == random.choice(speaker[held])]
        chosen = random.choice(own, words)
        parts = [silence[: random.integers(4, 16)]]
        for i in chosen:
            parts += [clips[i], silence[: random.integers(3, 16)]]
        joined = np.concatenate(parts)
        if len(joined) > frames:
            continue
        joined = np.concatenate([joined, silence[: frames - len(joined)]])
        x.append((joined - joined.mean()) / (joined.std() + 1e-5))
        y.append(digit[chosen])
    return np.stack(x).astype(np.float32), np.stack(y)


def _logmel(sound: Array, *, loud: bool = True) -> Array:
    if loud:
        sound = sound / (np.abs(sound).max() + 1e-6) * 0.6
    padded = np.pad(sound, SPECTRUM // 2, mode="reflect")
    inset = (SPECTRUM - WINDOW) // 2
    window = np.zeros(SPECTRUM)
    window[inset : inset + WINDOW] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM)[::HOP] * window
    power = np.abs(np.fft.rfft(pieces, axis=1)) ** 2
    found: Array = np.log(power @ _filters().T + 1e-6)
    return found


def _filters() -> Array:
    """Triangles on the mel scale, as the training script lays them, shape (40, 129)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (60, 4000))
    hertz = 700 * (10 ** (np.linspace(low, high, MEL + 2) / 2595) - 1)
    bins = np.floor((SPECTRUM + 1) * hertz / 8000).astype(int)
    filters = np.zeros((MEL, SPECTRUM // 2 + 1))
    for i in range(MEL):
        for k in range(bins[i], max(bins[i + 1], bins[i] + 1)):
            filters[i, k] = (k - bins[i] + 1) / max(bins[i + 1] - bins[i] + 1, 1)
        for k in range(bins[i + 1], max(bins[i + 2], bins[i + 1] + 1)):
            if k < filters.shape[1]:
                fall = (bins[i + 2] - k) / max(bins[i + 2] - bins[i + 1], 1)
                filters[i, k] = max(filters[i, k], fall)
    return filters


def words_right(scores: Array, said: Array) -> Array:
    """The share of words that came out right in each string, at least 0.

    Args:
        scores: log-probabilities (n, frames, 11), 0 is the blank.
        said: digits (n, words).
    """
    best = scores.argmax(axis=-1)
    right = []
    for path, digits in zip(best, said):
        heard = [q - 1 for q, before in zip(path, [-1, *path[:-1]]) if q != before and q != 0]
        right.append(max(0.0, 1.0 - _distance(heard, list(digits)) / len(digits)))
    return np.array(right)


def _distance(heard: list[int], said: list[int]) -> int:
    """Words to insert, delete or replace (Levenshtein)."""
    row = list(range(len(said) + 1))
    for i, one in enumerate(heard, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (one != other))
    return row[-1]
