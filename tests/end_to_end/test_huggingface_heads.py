"""Token classifier and image classifier: from a folder to a bundle, in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jettison
from jettison.pipeline.verify import verify
from tests import huggingface_folders as folders

pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

Writer = Callable[[Path], list[str]]
ROWS = 600


def sentences() -> dict[str, Any]:
    """Different sentences of two to thirteen words."""
    rng = np.random.default_rng(0)
    words = ["good", "bad", "film", "the", "a", "zebra", "jolt", "quick", "fox"]
    texts = [f"{i} " + " ".join(rng.choice(words, 1 + i % 12)) for i in range(ROWS)]
    return {"text": np.array(texts, dtype=object)}


def pictures() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (ROWS, 24, 20, 3), dtype=np.uint8)}


def run(kind: str, output: Path, write_wordpiece: Writer) -> jettison.Result:
    """Searches what the export and half precision make smaller, which takes no timing."""
    if kind == "image":
        folder, data = folders.vision_transformer(output / "model"), pictures()
    elif kind == "tokens":
        folder = folders.token_classifier(output / "model", write_wordpiece)
        data = sentences()
    else:
        folder, data = folders.encoder(output / "model", write_wordpiece), sentences()
    return jettison.optimize(
        folder,
        data,
        max_drop=0.05,
        output=str(output / "run"),
        ledger=str(output / "ledger"),
        search={
            "techniques": ["export_onnx", "half_precision"],
            "runtimes": ["onnx_runtime"],
            "minimise": ["size_bytes"],
            "trials": 2,
            "max_minutes": 1.0,
        },
        serving={"batch_sizes": [1, 4]},
    )


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("tokens", "token_agreement"), ("image", "agreement"), ("features", "cosine")],
)
def test_a_whole_run(kind: str, metric: str, tmp_path: Path, write_wordpiece: Writer) -> None:
    """The smaller export answers as the original does, is certified, ships, and can be verified."""
    result = run(kind, tmp_path, write_wordpiece)
    assert result.exit_code == 0, (result.answer, [t.reason for t in result.record.trials])
    exported = [t for t in result.record.trials if t.recipe.steps[0].name == "export_onnx"]
    # The export alone is no smaller, so its trial may end there.
    assert {trial.state for trial in exported} <= {"complete", "stopped"}
    quality = [
        one
        for trial in exported
        if trial.ranking is not None
        for one in trial.ranking.estimates
        if one.metric == metric
    ]
    assert quality
    assert all(one.value is not None and one.value > 0.98 for one in quality)
    claims = result.certificate.claims
    assert {(claim.metric, claim.verdict) for claim in claims} == {(metric, "held")}
    assert verify(tmp_path / "run" / "release", ledger=str(tmp_path / "ledger")).checks
