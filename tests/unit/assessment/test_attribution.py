"""Which changed rows are explained, and what their contest is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jettison.assessment import attribution
from tests.unit.pipeline.split.split_tables import model


def test_class_numbers_are_looked_up_among_the_labels() -> None:
    """A model that answers 3 or 7 gives the first or the second of its classes."""
    said = np.array([3, 7, 7])
    old, new = np.array([0, 0, 1]), np.array([1, 1, 0])
    found = attribution._contest(said, said, (old, new), ("3", "7"))
    assert found.tolist() == [1.0, -1.0, 1.0]


def test_rows_without_an_answer_are_told_and_not_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new model gives NaN there is no second class; the row was explained by the last one."""
    before = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]])
    after = np.array([[0.4, 0.6], [np.nan, np.nan], [0.3, 0.7]])
    trial = SimpleNamespace(recipe=SimpleNamespace(digest="d"))
    asked = SimpleNamespace(model=SimpleNamespace(source="m.onnx"))
    pair = SimpleNamespace(
        record=SimpleNamespace(model=model(), configuration=asked, trials=(trial,)),
        original=None,
        candidate=SimpleNamespace(name="d"),
        rows=SimpleNamespace(pad={}, n=3),
    )
    answers, chosen = iter((before, after)), []

    def variants(pair: Any, layout: Any, rows: list[int], seed: int) -> Any:
        chosen.extend(rows)
        return [], []

    monkeypatch.setattr(attribution, "pair_of", lambda folder, recipe: pair)
    monkeypatch.setattr(attribution, "_answers", lambda *given: next(answers))
    monkeypatch.setattr(attribution, "_variants", variants)
    found = attribution.explain_changes(tmp_path)
    assert chosen == [0]
    assert found.changed == 2
    assert found.notes[0].startswith("1 of the changed rows can't be explained")
