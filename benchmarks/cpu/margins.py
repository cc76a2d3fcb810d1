"""What may be lost, and how many rows tell it. Fixed before the first run."""

from __future__ import annotations

import os
from collections.abc import Mapping

MARGINS: Mapping[str, float] = {
    "magika": 0.01,
    "minilm": 0.01,
    "minilm-sst2": 0.01,
    "resnet20": 0.01,
    "resnet56": 0.01,
    "mnist-cnn": 0.01,
    "fsdd-ctc": 0.01,
    "adult-boosting": 0.01,
}
"""Accuracy (words right for the recogniser; mean cosine to the original for `minilm`) that may be
lost, as the one-sided 95 % bound of jettison's own test shows it. The other models have no data or
random weights: speed and size only."""

SPEED_ONLY = ("efficientnet-lite0", "mobilenet-v2", "resnet-50", "silero-vad")

FITTING, SELECTION = 300, 1000
"""Rows for ranges, and rows that searches may judge quality on; all others are for the verdict."""

BATCH_SIZES = (1, 32)
THREADS = 1
TARGET = 1.15
"""Geometric mean, over models, of the speed over the best peer that meets the margin."""

TRIALS, MINUTES = 12, float(os.environ.get("BENCH_MINUTES", "3"))
"""Budget of a search of jettison's for one model; fewer minutes where nothing else runs."""

SHORT = bool(os.environ.get("BENCH_SHORT"))
"""Rank before judging, leave rows of PyTorch out of the ranking (7 s each to start), play no rounds with
rows that are hopelessly slow, judge no more peers than it takes to know the best, and take fewer rounds. What was left out gets its verdict when `judge` is
called again without it."""
