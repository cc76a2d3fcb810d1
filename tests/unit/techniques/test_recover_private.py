"""Private training: what its noise hangs on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from jettison.domain.rows import Rows  # noqa: E402
from jettison.domain.splits import FittingData  # noqa: E402
from jettison.techniques.recover_private import RecoverPrivate  # noqa: E402
from jettison.training import differential_privacy, recovery  # noqa: E402


class Seen(Exception):
    """Ends a training before it begins."""


def test_noise_hangs_on_model_rows_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise that two trainings share could be taken off by their difference."""
    plans: list[str] = []

    def train(module: Any, rows: Any, objective: Any, plan: Any, masks: Any) -> None:
        plans.append(repr(plan))
        raise Seen

    monkeypatch.setattr(differential_privacy, "train_privately", train)
    monkeypatch.setattr(recovery, "objective_for", lambda *given: None)
    bench: Any = SimpleNamespace(open=lambda model: torch.nn.Linear(2, 2))
    np.save(tmp_path / "x.npy", np.zeros((40, 2), dtype=np.float32))
    cases = (("a", "r", 0), ("a", "r", 0), ("b", "r", 0), ("a", "s", 0), ("a", "r", 1))
    for weights, rows, answer in cases:
        model: Any = SimpleNamespace(
            artifact=SimpleNamespace(digest=weights), task="classification", inputs=(), traits=()
        )
        given = Rows(str(tmp_path), ("x",), 40, {}, rows)
        fitting = FittingData.of(given, 3, np.full(40, answer))
        with pytest.raises(Seen):
            RecoverPrivate().apply(model, {}, fitting, bench)
    assert plans[0] == plans[1]
    assert len(set(plans)) == 4
