"""Which multiples of channels kernels like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jettison import machine
from jettison.graphs.width_probe import WIDTHS, best_step, measured_step

ALL = sorted({width for widths in WIDTHS.values() for width in widths})


def test_kernels_of_eight_channels_ask_for_eight() -> None:
    """Where time goes up in steps of 8, widths between two steps cost as much as the next."""
    assert best_step({width: -(-width // 8) * 1e-5 for width in ALL}) == 8


def test_smooth_kernels_ask_for_nothing() -> None:
    """Where time is proportional to the width, any width is as good."""
    assert best_step({width: width * 1e-6 for width in ALL}) == 1


def test_each_step_has_widths_of_its_own() -> None:
    """Its widths are multiples of it and of no larger step, around the same mean."""
    for step, widths in WIDTHS.items():
        assert all(width % step == 0 for width in widths)
        larger = [other for other in WIDTHS if other > step]
        assert not any(width % other == 0 for width in widths for other in larger)
        assert sum(widths) / len(widths) == 48


@pytest.mark.parametrize("kind", ["convolution", "matmul"])
def test_measured_once_for_a_machine(kind: str, tmp_path: Path) -> None:
    """The answer is one of the steps, lies in the cache with its times, and is read from there."""
    device = machine.describe_device()
    step = measured_step(kind, tmp_path, device)
    assert step in WIDTHS
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["step"] == step
    assert len(told["seconds"]) == len(ALL)
    path.write_text(json.dumps({**told, "step": 16}))
    assert measured_step(kind, tmp_path, device) == 16
