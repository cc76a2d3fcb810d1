"""Experiments that need no model: exact probabilities, numbers of weights, formats of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from jettison.claims.catalogue import Reading
from jettison.claims.costs import Bench
from jettison.errors import MissingDependency

VOCABULARY, POSITIONS, SEGMENTS, WIDTH, INNER = 30_522, 512, 2, 768, 3_072


def below_four_fifths(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """How often the ratio of two selection rates falls below 0.8 though both groups are alike.

    Exact, by the two binomial distributions: the lower observed rate over the higher one.

    Args:
        bench: not used.
        settings: `rate`, the true selection rate of both groups, and `rows` of each.
    """
    rows, rate = int(settings["rows"]), float(settings["rate"])
    counts = np.arange(rows + 1)
    chance = stats.binom.pmf(counts, rows, rate)
    lower = np.minimum.outer(counts, counts)
    higher = np.maximum.outer(counts, counts)
    alarm = float(np.outer(chance, chance)[lower < 0.8 * higher].sum())
    return Reading(alarm, alarm, alarm, rows, "rows a group (exact)")


def distilled_weights(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """Share of BERT-base's weights that DistilBERT does without.

    Counted from the two configurations (Sanh et al. 2019): half the layers, no embeddings of
    segments and no pooler.

    Args:
        bench: not used.
        settings: none.
    """
    norm = 2 * WIDTH
    embeddings = (VOCABULARY + POSITIONS) * WIDTH + norm
    layer = 4 * (WIDTH * WIDTH + WIDTH) + 2 * norm
    layer += (WIDTH * INNER + INNER) + (INNER * WIDTH + WIDTH)
    pooler = WIDTH * WIDTH + WIDTH
    large = embeddings + SEGMENTS * WIDTH + 12 * layer + pooler
    small = embeddings + 6 * layer
    share = 1.0 - small / large
    return Reading(share, share, share, large, "weights (counted)")


def lost_gradients(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """Share of the gradient's entries that become zero in a 16-bit format.

    A network is trained on scikit-learn's digits in 32 bits; its gradient, averaged over a batch
    of 64, is then rounded. Over 20 batches; the interval is Student's over batches.

    Args:
        bench: not used.
        settings: `format` (`float16` or `bfloat16`) and `epochs` of training before.

    Raises:
        MissingDependency: without torch or scikit-learn.
    """
    try:
        import torch
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency(
            f"`{error.name}` is not installed; run: pip install 'jettison[torch,sklearn]'"
        ) from error
    from jettison.statistics import mean_interval

    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16.0, dtype=torch.float32), torch.tensor(digits)
    sizes = (64, 128, 64, 10)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    kind = getattr(torch, str(settings["format"]))
    shares: list[float] = []
    epochs = int(settings["epochs"])
    for epoch in range(epochs + 1):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            if epoch < epochs:
                optimizer.step()
            elif len(shares) < 20:
                grads = torch.cat([p.grad.flatten() for p in network.parameters()])
                there = grads != 0
                shares.append(float((grads[there].to(kind) == 0).double().mean()))
    found = mean_interval(np.array(shares))
    return Reading(found.value, found.low, found.high, found.n, "batches")
