"""Error rates of the skew-corrected tests (F1, AUC, word error rate), and of many looks.

    python -m benchmarks.certification_looks      # some minutes on one core

Writes benchmarks/results/certification-looks.json: the long form of `test_metric_validity.py` and
`test_many_looks.py` in tests/statistics, with the plain t-test beside the corrected one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks import results_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "statistics"))

import looks  # noqa: E402
import skewed  # noqa: E402

from jettison.statistics import clopper_pearson_interval  # noqa: E402
from jettison.statistics.skewed_means import skew_corrected_p_value  # noqa: E402
from jettison.trust.looks import look_plan  # noqa: E402

RUNS = 2000

CELLS: tuple[tuple[str, skewed.Sample, int, float], ...] = (
    ("F1, 30 % positive, 2 % churn, 200 positives", skewed.f1_of(0.3, 0.8, 0.08, 0.02), 666, 0.03),
    (
        "F1, 30 % positive, 2 % churn, 1500 positives",
        skewed.f1_of(0.3, 0.8, 0.08, 0.02),
        5000,
        0.03,
    ),
    (
        "F1, 30 % positive, only losses, 321 positives",
        skewed.f1_of(0.3, 0.98, 0.005, 0),
        1070,
        0.01,
    ),
    (
        "F1, 10 % positive, only losses, 200 positives",
        skewed.f1_of(0.1, 0.98, 0.002, 0),
        2000,
        0.03,
    ),
    ("AUC, noisy scores, 321 of each", skewed.auc_noisy(0.5), 642, 0.01),
    ("AUC, noisy scores, 321 positives of 3210", skewed.auc_noisy(0.1), 3210, 0.01),
    ("AUC, positives lost, 321 of each", skewed.auc_rare(0.5), 642, 0.01),
    ("AUC, positives lost, 450 of 1500", skewed.auc_rare(0.3), 1500, 0.02),
    ("WER, hard utterances, 643", skewed.wer_heavy, 643, 0.01),
    ("WER, hard utterances, 3000", skewed.wer_heavy, 3000, 0.01),
    ("WER, made-up text, 900 utterances", skewed.wer_rare, 900, 0.01),
    ("WER, made-up text, 3000 utterances", skewed.wer_rare, 3000, 0.01),
)

LIVES = (
    ("50 declared looks, one bit", look_plan(50), "one bit"),
    ("50 declared looks, scores shown", look_plan(50), "scores"),
    ("20 looks at full alpha, one bit", (1.0,) * 20, "one bit"),
    ("20 looks at full alpha, scores shown", (1.0,) * 20, "scores"),
    ("top-up plan of 0.2 and 0.8, one bit", look_plan(2, (0.2, 0.8)), "one bit"),
)


def rate(model: str, method: str, metric: str, value: float) -> results_file.Row:
    """Describes a rate over `RUNS` simulated runs with its exact interval."""
    found = clopper_pearson_interval(round(value * RUNS), RUNS)
    return results_file.Row(model, method, metric, value, found.low, found.high, "fraction", RUNS)


def sizes() -> Iterable[results_file.Row]:
    """The chance to call a drop of exactly the margin held, at 5 %."""
    for name, sample, n, margin in CELLS:
        rng = np.random.default_rng(n)
        held = np.zeros(2)
        for _ in range(RUNS):
            totals = sample(rng, n, margin).unit_totals()
            held[0] += skew_corrected_p_value(totals, margin) <= 0.05
            z = totals.drops - margin * totals.bases
            if z.std() > 0:
                plain = stats.ttest_1samp(z, 0.0, alternative="less").pvalue
            else:
                plain = float(z.mean() >= 0)
            held[1] += plain <= 0.04
        title = f"{name}, margin {margin:g}"
        yield rate(title, "skew-corrected t at 0.8 alpha", "size", held[0] / RUNS)
        yield rate(title, "plain t at 0.8 alpha", "size", held[1] / RUNS)


def lives() -> Iterable[results_file.Row]:
    """The chance that any look of a life ships a model that loses exactly the margin."""
    for place, (name, shares, shown) in enumerate(LIVES):
        found = looks.life_rate(shares, shown, RUNS, 90 + place)  # type: ignore[arg-type]
        yield rate(f"{name}, {looks.ROWS} rows", "Tango score, Berger-Boos", "false_ship", found)


def main() -> None:
    start = time.monotonic()
    rows: list[results_file.Row] = []
    for section in (lives, sizes):
        for row in section():
            rows.append(row)
            print(
                f"{time.monotonic() - start:6.0f} s", row.model, row.method, row.value, flush=True
            )
    results_file.write("certification-looks", rows)


if __name__ == "__main__":
    main()
