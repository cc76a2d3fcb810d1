"""The peers and the harness of the pruning benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.pruning.cases import mlpnet_case
from benchmarks.pruning.obs import SCALE, obs
from benchmarks.pruning.runs import Options, run
from benchmarks.pruning.tables import interval
from jettison.numerics.chita import Problem
from jettison.numerics.curvature import FisherRows


def test_obs_is_its_formula() -> None:
    """Saliency and change by rows equal those with the dense inverse."""
    order = torch.Generator().manual_seed(0)
    matrix, start = torch.randn((5, 9), generator=order), torch.randn(9, generator=order)
    rows = FisherRows(matrix, torch.ones(5))
    found = obs(Problem(rows, start, 0.3), 4)
    inverse = torch.linalg.inv(matrix.double().T @ matrix.double() + 0.3 * torch.eye(9).double())
    diagonal = inverse.diagonal()
    pruned = torch.topk(start.double().square() / diagonal, 5, largest=False).indices
    change = torch.zeros(9).double()
    change[pruned] = -(start.double() / diagonal)[pruned]
    expected = start + SCALE * (inverse @ change).float()
    expected[pruned] = 0.0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_magnitude_and_obs_give_the_known_figures(shared_data: Path) -> None:
    """Magnitude at 98 % gives 32.25 % to the digit; OBS of 100 rows about 84 % at 95 %."""
    case = mlpnet_case(shared_data, "cpu")
    options = Options(rows=100, samples=1, ridges=(1e-5, 1e-4))
    assert run(case, "magnitude", 0.98, 0, options).accuracy == pytest.approx(32.25, abs=1e-9)
    found = run(case, "obs", 0.95, 0, options)
    assert found.nonzero == 1618
    assert 81.0 < found.accuracy < 87.0


def test_interval_of_a_mean() -> None:
    """Student's interval, and none for a single value."""
    assert interval([1.0]) == (None, None)
    low, high = interval([1.0, 2.0, 3.0])
    assert low == pytest.approx(2.0 - 2.4841, abs=1e-3)
    assert high == pytest.approx(2.0 + 2.4841, abs=1e-3)


def test_solving_takes_little_more_memory_than_the_rows() -> None:
    """Peak memory of a fresh process stays below twice the rows: parts don't stay behind.

    It was 3.4 times before products were made in one buffer, and is 1.4 for this small case.
    """
    peaks = []
    for what in ("nothing", "chita"):
        words = [sys.executable, "-m", "benchmarks.pruning_solver", "--measure", what]
        done = subprocess.run(
            [*words, "200", "200000", "0.5"], check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 2 * (2 * 200 * 200_000)
