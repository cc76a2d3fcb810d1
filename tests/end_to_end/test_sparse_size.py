"""A search for a sparser model ends in a certified bundle that is not called smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison.domain.measurement import OVERALL
from jettison.domain.run import GAIN
from tests.end_to_end.conftest import Command, record_of

pytestmark = pytest.mark.slow

ROWS = 4000
CONFIGURATION = """
[model]
source = "{example}:mlpnet"
weights = "{weights}"
inputs = ["image: float32[batch, 28, 28]"]
task = "classification"

[data]
source = "digits.npz"
target = "label"
inputs = ["image"]

[search]
techniques = ["magnitude_pruning"]
runtimes = ["torch_eager"]
minimise = ["sparse_size_bytes", "size_bytes"]
trials = 2

[[require]]
metric = "accuracy"
max_drop = 0.02

[settings.magnitude_pruning]
sparsity = 0.5
pattern = "unstructured"
budget = "global"
keep_outer = false
"""


def test_a_masked_model_is_named_by_what_is_smaller(
    shared_data: Path, jettison: Command, tmp_path: Path
) -> None:
    """The answer, the record and the card say `sparse_size_bytes`; the files are no smaller."""
    with np.load(shared_data / "vision" / "mnist.npz") as mnist:
        images = (mnist["x_test"][:ROWS].astype(np.float32) / 255 - 0.1307) / 0.3081
        np.savez(tmp_path / "digits.npz", image=images, label=mnist["y_test"][:ROWS].astype(int))
    example = Path(__file__).parents[2] / "examples" / "mnist_mlp.py"
    weights = shared_data / "models" / "mlpnet-mnist-chita.safetensors"
    written = CONFIGURATION.format(example=example, weights=weights)
    (tmp_path / "jettison.toml").write_text(f'ledger = "ledger"\n{written}')
    done = jettison("optimize", "jettison.toml")
    assert done.returncode in (0, 4), done.stdout[-3000:] + done.stderr[-3000:]
    record = record_of(tmp_path / "jettison-run")
    shipped = record.trial_of(record.shipped or record.trials[0].recipe.digest)
    assert shipped is not None
    assert shipped.ranking is not None
    gain = shipped.ranking.get("sparse_size_bytes" + GAIN, OVERALL)
    size = shipped.ranking.get("size_bytes" + GAIN, OVERALL)
    assert gain is not None
    assert size is not None
    assert gain.value is not None
    assert gain.value > 1.7
    assert size.value == pytest.approx(1.0, abs=0.02)
    assert "lower in sparse_size_bytes" in record.answer
    assert "x smaller" not in record.answer
