"""The experiments behind claims, on small networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from jettison.claims import arithmetic, costs, digits, networks
from jettison.claims.costs import Bench
from jettison.errors import UsageError


def test_chance_alone_falls_below_four_fifths() -> None:
    """The exact probability agrees with a simulation, and fades with rows."""
    few = arithmetic.below_four_fifths(None, {"rows": 50, "rate": 0.3}).value  # type: ignore[arg-type]
    many = arithmetic.below_four_fifths(None, {"rows": 1000, "rate": 0.3}).value  # type: ignore[arg-type]
    draws = np.random.default_rng(0).binomial(50, 0.3, (200_000, 2)).astype(float)
    simulated = np.mean(draws.min(axis=1) < 0.8 * draws.max(axis=1))
    assert few == pytest.approx(simulated, abs=0.005)
    assert many < 0.01 < few


def test_distilbert_is_as_large_as_published() -> None:
    """BERT-base has 109.5 million weights; DistilBERT 66.4."""
    reading = arithmetic.distilled_weights(None, {})  # type: ignore[arg-type]
    assert reading.n == 109_482_240
    assert reading.n * (1 - reading.value) == pytest.approx(66_362_880)


@pytest.mark.parametrize("name", sorted(networks.NETWORKS))
def test_networks_answer(name: str, tmp_path: Path) -> None:
    """Each gives finite scores of ten classes for a batch of any size."""
    import onnxruntime

    small = {"convolutional": {"width": 8}, "dense": {"width": 32}}.get(name, {"width": 16})
    file = networks.build(name, tmp_path / "m.onnx", **small)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    shape = [3, *session.get_inputs()[0].shape[1:]]
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (scores,) = session.run(None, {"x": rows})
    assert scores.shape == (3, 10)
    assert np.isfinite(scores).all()


def test_zeros_are_as_many_as_asked(tmp_path: Path) -> None:
    """The same share of the weights is zero in the file, which is as large as before."""
    full = networks.build("dense", tmp_path / "full.onnx", width=64)
    thin = networks.build("dense", tmp_path / "thin.onnx", width=64, zeros=0.8)
    weights = onnx.load(thin).graph.initializer
    values = np.concatenate([onnx.numpy_helper.to_array(one).ravel() for one in weights])
    assert np.mean(values == 0) == pytest.approx(0.8, abs=0.01)
    assert thin.stat().st_size == full.stat().st_size


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    """The error lists those that exist."""
    with pytest.raises(UsageError, match="no network `absent`; there are: convolutional"):
        networks.build("absent", tmp_path / "m.onnx")


def test_a_step_without_a_technique_is_refused() -> None:
    """A table of settings must say of what."""
    with pytest.raises(UsageError, match="needs `technique`"):
        costs.read_steps([{"per_channel": True}])


@pytest.mark.slow
def test_sizes_are_compared_in_workers(tmp_path: Path) -> None:
    """Zeros change the compressed size and not the file; dynamic int8 depends on batch mates."""
    bench = Bench(tmp_path)
    asked = {
        "baseline": {"network": "dense", "width": 64},
        "candidate": {"network": "dense", "width": 64, "zeros": 0.8},
    }
    assert costs.compare(bench, {"cost": "size_bytes", **asked}).value == 1.0
    assert costs.compare(bench, {"cost": "compressed_size_bytes", **asked}).low > 1.5
    steps = {"baseline": asked["baseline"], "steps": ["int8_dynamic"]}
    assert costs.batch_mates(bench, steps).value == 1.0
    assert costs.batch_mates(bench, {"baseline": asked["baseline"]}).value == 0.0


@pytest.mark.slow
def test_accuracy_is_compared_where_weights_go(tmp_path: Path) -> None:
    """A network of PyTorch loses nothing without a step, and much with nearly all weights gone."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    bench = Bench(tmp_path)
    assert digits.accuracy_drop(bench, {"library": "torch"}).value == 0.0
    steps = [{"technique": "magnitude_pruning", "sparsity": 0.95}]
    assert digits.accuracy_drop(bench, {"library": "torch", "steps": steps}).low > 0.02
