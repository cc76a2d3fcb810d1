"""Pruning and int8 in one search, as examples/prune_and_quantize.py does it, on a few rows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
pytest.importorskip("PIL")
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "prune_and_quantize.py"


@pytest.fixture
def example(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module, reading the shared data."""
    monkeypatch.setenv("JETTISON_DATA", str(shared_data))
    spec = importlib.util.spec_from_file_location("prune_and_quantize", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_search_ends_in_a_bundle_or_says_why_not(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """int8 and pruning are both built and measured; layers have a sensitivity; the end is told."""
    # Bytes alone are compared, so that nothing here hangs on how busy the machine is.
    costs = ("size_bytes", "sparse_size_bytes")
    scale = example.Scale(96, 80, 200, 3, max_minutes=15.0, stages=1, epochs=1, costs=costs)
    result = example.main(tmp_path, scale, str(tmp_path / "ledger"))
    record = result.record
    built = {step.name for t in record.trials if t.state == "complete" for step in t.recipe.steps}
    assert "int8_static" in built
    assert built & {"channel_pruning", "chita"}
    assert any(layer.sensitivity for layer in record.profile.layers)
    assert "from the gradients of 32 fitting rows" in record.profile.sensitivity_note
    # So few rows may certify nothing; then the answer says what was lacking.
    assert record.exit_code != 0 or record.shipped
    assert result.answer in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "release").exists() == bool(record.shipped)
