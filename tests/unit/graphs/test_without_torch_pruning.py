"""What asks for PyTorch alone runs where Torch-Pruning is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

MODULES = (
    "jettison.graphs.torch_low_rank",
    "jettison.graphs.torch_row_loss",
    "jettison.graphs.torch_sensitivity",
    "jettison.training.recovery",
)


def test_only_channel_pruning_needs_torch_pruning() -> None:
    """Low rank, recovery and sensitivity import without it, as `packages` promises."""
    code = f"import sys; sys.modules['torch_pruning'] = None; import {', '.join(MODULES)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
