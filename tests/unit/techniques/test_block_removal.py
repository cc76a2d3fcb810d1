"""`channel_pruning` with `unit = "blocks"` on a real BERT classifier, without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("torch_pruning")

from jettison.domain.extension_points import Encoded, Source  # noqa: E402
from jettison.domain.rows import Rows  # noqa: E402
from jettison.domain.splits import FittingData  # noqa: E402
from jettison.errors import NothingChanged  # noqa: E402
from jettison.loaders.huggingface import HuggingfaceLoader  # noqa: E402
from jettison.techniques.channel_pruning import ChannelPruning  # noqa: E402
from jettison.worker.workbench import Bench, open_model  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

BenchIn = Callable[[str], Bench]
ROWS, LENGTH = 12, 9


def test_a_block_goes_and_the_program_answers(
    tiny_classifier: Path,
    bench_in: BenchIn,
    write_rows: Callable[[Encoded, Path], Rows],
    tmp_path: Path,
) -> None:
    """One of two blocks is left out, with its weights; a program has no list of blocks any more."""
    model = HuggingfaceLoader().load(Source(str(tiny_classifier)), tmp_path / "model")
    random = np.random.default_rng(0)
    arrays = {
        spec.name: random.integers(1, 20, (ROWS, LENGTH)).astype(spec.dtype)
        if spec.name == "input_ids"
        else np.full((ROWS, LENGTH), int(spec.name == "attention_mask"), spec.dtype)
        for spec in model.inputs
    }
    fitting = FittingData(write_rows(Encoded(arrays), tmp_path / "rows"))
    made = ChannelPruning().apply(
        model, {"unit": "blocks", "removed": 0.5}, fitting, bench_in("blocks")
    )
    assert "1 of 2 blocks left out" in made.changes[0].what
    assert made.changes[0].operators == 1
    assert made.model.artifact.format == "torch_program"
    before, after = open_model(model), open_model(made.model)
    one_block = sum(w.numel() for name, w in before.named_parameters() if "layer.0." in name)
    assert made.changes[0].weights == one_block
    assert sum(w.numel() for w in before.parameters()) - one_block == sum(
        w.numel() for w in after.parameters()
    )
    with torch.no_grad():
        answer = after(**{name: torch.from_numpy(values) for name, values in arrays.items()})
    scores = answer[0] if isinstance(answer, tuple) else answer
    assert tuple(scores.shape) == (ROWS, 3)
    assert bool(torch.isfinite(scores).all())
    with pytest.raises(NothingChanged, match="remove channels instead"):
        ChannelPruning().apply(
            made.model, {"unit": "blocks", "removed": 0.5}, fitting, bench_in("again")
        )
