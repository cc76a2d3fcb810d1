"""Synthetic rows for F1, AUC and word error rate, each with a known true drop.

`at_margin` functions draw original and candidate so that the drop is exactly the margin: the chance
of `held` is then the size of the test. The `rare` ones concentrate the harm in few rows, which is
what fools a plain t-test.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from jettison import registry
from jettison.domain.extension_points import Evidence
from jettison.statistics import Paired
from jettison.statistics.skewed_means import skew_corrected_p_value

Floats = NDArray[np.float64]
Sample = Callable[[np.random.Generator, int, float], Paired]
"""Draws n rows whose true drop is as told (0: the candidate is as good)."""


def _scored(name: str, targets: NDArray[np.int64], original: Floats, candidate: Floats) -> Paired:
    metric = registry.get("metrics", name)
    before, after = (
        metric.score(Evidence(targets, {"y": scores}, {"y": original}, "y"))
        for scores in (original, candidate)
    )
    return Paired.of(metric, before.contributions, after.contributions, before.strata)


def _f1(share: float, sensitivity: float, alarms: float) -> float:
    hits = share * sensitivity
    return 2 * hits / (hits + (1 - share) * alarms + share)


def f1_of(share: float, sensitivity: float, alarms: float, churn: float) -> Sample:
    """F1 of a classifier; a candidate flips `churn` of the answers and loses some hits besides."""
    flipped = sensitivity * (1 - churn) + (1 - sensitivity) * churn
    false = alarms * (1 - churn) + (1 - alarms) * churn

    def draw(rng: np.random.Generator, n: int, drop: float) -> Paired:
        aim = _f1(share, sensitivity, alarms) - drop
        lost = optimize.brentq(lambda q: _f1(share, flipped * (1 - q), false) - aim, -0.5, 0.9)
        if lost < 0:
            raise ValueError("the churn alone costs more than the margin")
        targets = (rng.random(n) < share).astype(np.int64)
        original = np.where(targets == 1, rng.random(n) < sensitivity, rng.random(n) < alarms)
        candidate = np.where(rng.random(n) < churn, ~original, original)
        candidate &= ~((targets == 1) & (rng.random(n) < lost))
        return _scored("f1", targets, original.astype(float), candidate.astype(float))

    return draw


def auc_noisy(share: float) -> Sample:
    """Scores that are two normals 1.8 apart; the candidate adds noise."""

    def draw(rng: np.random.Generator, n: int, drop: float) -> Paired:
        whole = special.ndtr(1.8 / np.sqrt(2))
        wide = (1.8 / special.ndtri(whole - drop)) ** 2 / 2
        targets = (rng.random(n) < share).astype(np.int64)
        original = rng.normal(size=n) + 1.8 * targets
        return _scored(
            "auc", targets, original, original + np.sqrt(max(wide - 1, 0)) * rng.normal(size=n)
        )

    return draw


def auc_rare(share: float) -> Sample:
    """The same, but the candidate puts a few positives behind all others."""

    def draw(rng: np.random.Generator, n: int, drop: float) -> Paired:
        lost = drop / special.ndtr(1.8 / np.sqrt(2))
        targets = (rng.random(n) < share).astype(np.int64)
        original = rng.normal(size=n) + 1.8 * targets
        fallen = (targets == 1) & (rng.random(n) < lost)
        return _scored("auc", targets, original, np.where(fallen, -99.0, original))

    return draw


def _words(rng: np.random.Generator, n: int) -> Floats:
    return np.maximum(1, rng.lognormal(2.0, 0.6, n).astype(int)).astype(float)


def _wer(words: Floats, before: Floats, after: Floats) -> Paired:
    metric = registry.get("metrics", "wer")
    sides = [np.stack([np.minimum(errors, 2 * words), words], axis=1) for errors in (before, after)]
    return Paired.of(metric, *sides)


def wer_heavy(rng: np.random.Generator, n: int, drop: float) -> Paired:
    """Utterances of very different difficulty; the candidate errs more on the hard ones."""
    words = _words(rng, n)
    hard = rng.gamma(0.3, 1 / 0.3, n)
    # Errors beyond the words of an utterance are insertions; both sides have a mean without a cut.
    before = rng.poisson(0.03 * hard * words)
    after = before + rng.poisson(drop * hard * words)
    return _wer(words, before.astype(float), after.astype(float))


def wer_rare(rng: np.random.Generator, n: int, drop: float) -> Paired:
    """A few utterances are answered with text that was never spoken, twice as long."""
    words = _words(rng, n)
    made_up = rng.random(n) < drop / 2
    return _wer(words, np.zeros(n), np.where(made_up, 2 * words, 0.0))


def held_rate(sample: Sample, n: int, margin: float, runs: int, seed: int) -> float:
    """The share of runs in which a true drop of exactly the margin passes the test at .05."""
    rng = np.random.default_rng(seed)
    passed = [
        skew_corrected_p_value(sample(rng, n, margin).unit_totals(), margin) <= 0.05
        for _ in range(runs)
    ]
    return float(np.mean(passed))
