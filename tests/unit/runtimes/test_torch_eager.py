"""The torch runtime: named arrays in and out, threads of the profile, costs of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Runner, Source
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Array
from jettison.graphs.torch_runner import TorchRunner

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def runner(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("model")
    model = registry.get("loaders", "huggingface").load(Source(str(tiny_classifier)), folder)
    native = registry.get("formats", model.artifact.format).open(model.artifact)
    return registry.get("runtimes", "torch_eager").prepare(
        model, native, {}, ServingProfile(threads=1)
    )


def batch(rows: int, length: int = 6) -> dict[str, Array]:
    ids = np.random.default_rng(0).integers(4, 30, (rows, length))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


def test_named_arrays(runner: Runner) -> None:
    """A batch gives float32 logits, one row each, the same alone and together."""
    together = runner.run(batch(3))["logits"]
    assert (together.shape, together.dtype) == ((3, 3), np.float32)
    for row in range(3):
        alone = runner.run({k: v[row : row + 1] for k, v in batch(3).items()})["logits"]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_read_only_arrays(runner: Runner) -> None:
    """Memory-mapped, read-only and strided arrays are taken as they are."""
    plain = batch(2)
    frozen = {name: array.copy() for name, array in plain.items()}
    for array in frozen.values():
        array.flags.writeable = False
    strided = {name: np.repeat(array, 2, axis=1)[:, ::2] for name, array in plain.items()}
    expected = runner.run(plain)["logits"]
    np.testing.assert_array_equal(runner.run(frozen)["logits"], expected)
    np.testing.assert_array_equal(runner.run(strided)["logits"], expected)


def test_threads_of_the_profile(runner: Runner) -> None:
    """The process computes with the threads of the serving profile."""
    assert torch.get_num_threads() == 1


def test_layer_costs(runner: Runner) -> None:
    """Shares sum to 1; parameters, bytes and multiply-accumulates are those of the layers."""
    costs = runner.layer_costs(batch(2, length=6))
    assert sum(c.time_share or 0.0 for c in costs) == pytest.approx(1.0)
    assert all((c.time_share or 0.0) >= 0.0 for c in costs)
    by_name = {cost.name: cost for cost in costs}
    up = next(c for name, c in by_name.items() if "layer.0.intermediate.dense" in name)
    assert (up.operator, up.parameters, up.macs) == ("Linear", 32 * 64 + 64, 6 * 32 * 64)
    assert up.bytes == 4 * up.parameters
    head = by_name["backbone.classifier"]
    assert head.macs == 32 * 3


def test_hooks_are_removed(runner: Runner) -> None:
    """Asking for costs leaves no hook behind to slow later calls."""
    module = runner._module  # type: ignore[attr-defined]
    runner.layer_costs(batch(1))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_providers(runner: Runner) -> None:
    """All leaf modules are told to run in PyTorch on the CPU."""
    assert runner.providers()["torch-cpu"] > 10


def test_a_layer_that_is_called_twice() -> None:
    """Its multiplications are those of all calls of one row."""

    class Twice(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.layer(self.layer(x))

    rows = (TensorSpec("x", "float32", ("batch", 4)),)
    artifact = Artifact("torch_program", "", (), "", 0)
    model = Model(artifact, frozenset(), rows, rows, "x", "embedding", Encoder("arrays"))
    costs = TorchRunner(model, Twice()).layer_costs({"x": np.zeros((3, 4), np.float32)})
    assert costs[0].macs == 2 * 4 * 4
    assert costs[0].activation_bytes == 2 * 2 * 4 * 4
