"""PyTorch on a GPU: settings, precision, 2:4 layers. What needs a GPU is skipped without one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain import accelerators
from jettison.domain.configuration import ImageSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.model import Artifact, Model
from jettison.domain.ranges import within
from jettison.domain.recipe import is_read
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, MissingDependency
from jettison.pipeline.load import load_model
from jettison.runtimes.torch_cuda import TorchCuda, TorchDeviceRunner, chosen
from jettison.worker.workbench import Step, open_model, prepare

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from jettison.numerics.masks import n_of_m  # noqa: E402

NETWORKS = Path(__file__).resolve().parents[1] / "graphs" / "torch_models.py"
GPU = accelerators.cuda_devices()
on_gpu = pytest.mark.skipif(not GPU, reason="NO CUDA GPU: torch_cuda is not run here")


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Model:
    section = ModelSection(f"{NETWORKS}:Conv", inputs=("image: float32[batch, 3, 32, 32]",))
    return load_model(section, tmp_path_factory.mktemp("model"), tables={"image": ImageSection()})


def images(rows: int) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {"image": random.normal(size=(rows, 3, 32, 32)).astype(np.float32)}


@pytest.mark.skipif(bool(GPU), reason="this machine has a CUDA GPU")
def test_without_a_gpu_it_is_refused_by_name(convolutional: Model) -> None:
    """Asking for it says what the machine lacks."""
    with pytest.raises(MissingDependency, match="`torch_cuda` needs an accelerator"):
        prepare(convolutional, Step("torch_cuda"), ServingProfile())


def test_settings_out_of_range_are_refused() -> None:
    """An unknown setting, an unknown precision, and 2:4 in 32 bits each say what is allowed."""
    for settings, words in (
        ({"precison": "float16"}, "no setting `precison`"),
        ({"precision": "fp16"}, "must be one of float32, float16, bfloat16; got 'fp16'"),
        ({"semi_structured": True}, "16 bits only"),
    ):
        with pytest.raises(CandidateFailed, match=words):
            chosen(settings)
    assert chosen({"precision": "bfloat16", "semi_structured": True}) == ("bfloat16", True)


def space(model: Model) -> Any:
    profile: Any = None
    return TorchCuda().search_space(model, profile)


def with_matrix(model: Model, folder: Path, weight: Any) -> Model:
    """The model with one stored matrix."""
    folder.mkdir()
    save_file({"layer.weight": weight}, folder / "weights.safetensors")
    artifact = Artifact.of("torch_program", folder, ("weights.safetensors",))
    return dataclasses.replace(model, artifact=artifact, traits=frozenset({"torch", "matmul"}))


def test_zeros_are_left_out_only_in_16_bits_and_of_2_of_4(
    convolutional: Model, tmp_path: Path
) -> None:
    """The search varies `semi_structured` where the precision allows it and a matrix is 2:4 then."""
    torch.manual_seed(0)
    matrix = torch.randn(64, 64)
    allowed = space(with_matrix(convolutional, tmp_path / "dense", matrix))["semi_structured"]
    half, masked = {"precision": "float16"}, Step("made", {"pattern": "2:4"})
    assert within(allowed, value=True)
    assert is_read(allowed, half, [Step("other"), masked])
    assert not is_read(allowed, {"precision": "float32"}, [masked])
    for earlier in ([], [Step("made", {"pattern": "unstructured", "sparsity": 0.5})]):
        assert not is_read(allowed, half, earlier)
    pruned = (matrix * n_of_m(matrix.abs(), 2, 4)).to(torch.bfloat16)
    came = space(with_matrix(convolutional, tmp_path / "pruned", pruned))["semi_structured"]
    assert is_read(came, half, [])
    small = space(with_matrix(convolutional, tmp_path / "small", torch.randn(10, 64)))
    assert small["semi_structured"].values == (False,)
    none = dataclasses.replace(convolutional, traits=frozenset({"torch", "convolution"}))
    assert set(space(none)) == {"precision"}


def test_a_program_answers_in_16_bits_like_in_32(convolutional: Model) -> None:
    """On whatever device: answers come back as float32 arrays, close to those of `torch_eager`."""
    expected = prepare(convolutional, Step("torch_eager"), ServingProfile()).run(images(3))
    name = convolutional.outputs[0].name
    for precision, close in (("float32", 1e-6), ("bfloat16", 0.1)):
        runner = TorchDeviceRunner(convolutional, open_model(convolutional), "cpu", precision)
        answer = runner.run(images(3))[name]
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected[name], atol=close)
        assert set(runner.providers()) == {"torch-cpu"}


def test_a_batch_that_does_not_fit_fails_with_the_reason(convolutional: Model) -> None:
    """What PyTorch refuses is a failed candidate, not a fault of ours."""
    runner = TorchDeviceRunner(convolutional, open_model(convolutional), "cpu", "float32")
    with pytest.raises(CandidateFailed, match="could not run a batch on `cpu`"):
        runner.run({"image": np.zeros((1, 4, 32, 32), np.float32)})


@on_gpu
def test_it_runs_on_the_gpu(convolutional: Model) -> None:
    """Answers are those of the CPU, and the device is told."""
    expected = prepare(convolutional, Step("torch_eager"), ServingProfile()).run(images(3))
    runner = prepare(convolutional, Step("torch_cuda"), ServingProfile())
    name = convolutional.outputs[0].name
    np.testing.assert_allclose(runner.run(images(3))[name], expected[name], atol=1e-4)
    assert runner.providers()["torch-cuda"] > 1


@on_gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_layers_of_2_of_4_are_computed_without_their_zeros(precision: str) -> None:
    """The answers are those of the masked dense layers."""
    from jettison.graphs.torch_semi_structured import replace_layers
    from tests.unit.graphs.test_torch_semi_structured import two_layers

    dense = two_layers().to("cuda", getattr(torch, precision))
    values = torch.randn(5, 7, 64, device="cuda", dtype=dense[0].weight.dtype)
    with torch.inference_mode():
        expected = dense(values)
        assert replace_layers(dense).names == ("0",)
        torch.testing.assert_close(dense(values), expected, atol=0.02, rtol=0.02)


def test_it_is_told_to_need_a_gpu() -> None:
    """The declaration, not the name, is what planning reads."""
    assert isinstance(registry.get("runtimes", "torch_cuda"), accelerators.NeedsAccelerator)
    assert not isinstance(registry.get("runtimes", "torch_eager"), accelerators.NeedsAccelerator)
