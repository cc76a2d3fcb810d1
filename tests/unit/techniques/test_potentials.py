"""What 8-bit and 16-bit techniques say before anything runs: bounds, reasons, refusals, ranges."""

from __future__ import annotations

import dataclasses

import pytest

from jettison.domain.device import Device, ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.recipe import Choices, IntegerRange, Potential, Refusal
from jettison.techniques.chita import Chita
from jettison.techniques.convert_openvino import ConvertOpenvino
from jettison.techniques.half_precision import HalfPrecision
from jettison.techniques.int8_dynamic import Int8Dynamic
from jettison.techniques.int8_static import Int8Static
from jettison.techniques.wanda import Wanda

AVX2 = Device("a CPU", "x86_64", ("avx2", "fma"), 2, 2**33, "Linux")
VNNI = dataclasses.replace(AVX2, features=("avx2", "avx512_vnni"))


def model(*traits: str) -> Model:
    spec = (TensorSpec("x", "float32", ("batch", 4)),)
    artifact = Artifact("onnx_file", "/nowhere", ("model.onnx",), "0", 1000)
    found = frozenset({"onnx", "float32", *traits})
    return Model(artifact, found, spec, spec, "x", "classification", Encoder.of("arrays", {}))


def profile(*layers: LayerCost, device: Device = AVX2) -> Profile:
    return Profile(device, ServingProfile(), (), layers, 1e9, 0.02, 1000)


def layer(operator: str, share: float | None, size: int = 100, macs: int = 10**6) -> LayerCost:
    return LayerCost(operator, operator, size // 4, macs, size, share)


PROFILE = profile(layer("MatMul", 0.6), layer("Conv", 0.2), layer("Erf", 0.2, size=0))


def gain(answer: Potential | Refusal) -> Potential:
    assert isinstance(answer, Potential), answer
    return answer


def reason(answer: Potential | Refusal) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.reason


def test_bound_is_amdahls() -> None:
    """Twice as fast products over 80 % of the time: at most 1 / (0.2 + 0.8 / 2)."""
    found = gain(Int8Static().potential(model("matmul", "convolution"), PROFILE))
    assert found.speedup == pytest.approx(1 / 0.6)
    assert found.size_ratio == pytest.approx(0.25)
    assert "at most about 2x faster on this CPU (no VNNI)" in found.reason
    assert "80% of the model's time" in found.reason
    assert "saturate" in found.reason


def test_dot_products_raise_the_bound() -> None:
    """With 8-bit dot products the ratio is 4, and saturation is not mentioned."""
    fast = dataclasses.replace(PROFILE, device=VNNI)
    found = gain(Int8Static().potential(model("matmul", "convolution"), fast))
    assert found.speedup == pytest.approx(1 / 0.4)
    assert "saturate" not in found.reason.replace("without saturating", "")


def test_dynamic_counts_products_only() -> None:
    """Convolutions stay in float: neither their time nor their bytes count."""
    found = gain(Int8Dynamic().potential(model("matmul", "convolution"), PROFILE))
    assert found.speedup == pytest.approx(1 / 0.7)
    assert found.size_ratio == pytest.approx(1 - 0.75 / 2)
    assert "convolutions stay in float" in found.reason


def test_weights_that_stream_from_memory() -> None:
    """Where each weight is read for one product, a quarter of the bytes may be 4 times faster."""
    streamed = profile(layer("MatMul", 1.0, size=2**28, macs=2**26))
    found = gain(Int8Dynamic().potential(model("matmul"), streamed))
    assert found.speedup == pytest.approx(4.0)
    assert "a quarter of the bytes" in found.reason


def test_no_layers() -> None:
    """Without costs per layer the bound is the ratio itself, and that is said."""
    for technique in (Int8Static(), Int8Dynamic()):
        found = gain(technique.potential(model("matmul"), profile()))
        assert (found.speedup, found.size_ratio) == (2.0, 0.25)
        assert "is not known here" in found.reason


def test_refusals() -> None:
    """Trees are refused by both; convolutions alone by dynamic int8, with what was measured."""
    trees = model("trees")
    assert "no matrix product" in reason(Int8Static().potential(trees, PROFILE))
    assert "no matrix product" in reason(Int8Dynamic().potential(trees, PROFILE))
    assert "slower" in reason(Int8Dynamic().potential(model("convolution"), PROFILE))
    assert "tree ensembles" in reason(HalfPrecision().potential(trees, PROFILE))
    gain(Int8Static().potential(model("convolution"), PROFILE))


def test_curvature_needs_batches_of_its_own() -> None:
    """`chita` refuses a model of one batch size before it is tried, and says what to do."""
    assert "free batch dimension" in reason(Chita().potential(model("fixed-batch"), PROFILE))
    assert gain(Chita().potential(model("matmul"), PROFILE)).speedup == 1.0


def test_another_runtime_is_bounded_only_by_what_is_outside_of_it() -> None:
    """80 % of the time in products: merging the rest gains 1.25x, faster products may gain more."""
    found = gain(ConvertOpenvino().potential(model("matmul", "convolution"), PROFILE))
    assert found.speedup == PROFILE.bound
    assert found.first_try == pytest.approx(1 / 0.8)
    assert "80% of the model's time lies in products" in found.reason
    unknown = gain(ConvertOpenvino().potential(model("matmul"), profile()))
    assert unknown.first_try == 1.0
    assert "not known here" in unknown.reason


def test_a_mask_says_which_kernels_would_skip_zeros() -> None:
    """Neither faster nor smaller; AMX on this CPU or a GPU for 2:4 would be needed."""
    found = gain(Wanda().potential(model("matmul"), PROFILE))
    assert (found.speedup, found.size_ratio) == (1.0, 1.0)
    assert "this CPU lacks it" in found.reason
    assert "2:4 in PyTorch, an NVIDIA GPU" in found.reason
    amx = dataclasses.replace(AVX2, features=(*AVX2.features, "amx_int8"))
    able = gain(Wanda().potential(model("matmul"), dataclasses.replace(PROFILE, device=amx)))
    assert "this CPU has it" in able.reason


def test_half_precision_promises_size_only() -> None:
    """16-bit floats halve the bytes and make nothing faster."""
    found = gain(HalfPrecision().potential(model("matmul"), PROFILE))
    assert (found.speedup, found.size_ratio) == (1.0, 0.5)
    assert HalfPrecision().search_space(model("matmul"), PROFILE) == {}


@pytest.mark.parametrize(
    ("traits", "offered"),
    [
        (("matmul",), ("matmul", "all")),
        (("convolution",), ("conv", "all")),
        (("matmul", "convolution"), ("conv+matmul", "conv", "matmul", "all")),
    ],
)
def test_only_operators_at_hand_are_offered(
    traits: tuple[str, ...], offered: tuple[str, ...]
) -> None:
    """The choice of operators holds what the graph has, the widest first."""
    space = Int8Static().search_space(model(*traits), PROFILE)
    assert space["operators"] == Choices(offered, offered[0])


@pytest.mark.parametrize("technique", [Int8Static(), Int8Dynamic()], ids=lambda t: t.name)
def test_reduce_range_starts_where_it_is_needed(technique: Int8Static | Int8Dynamic) -> None:
    """7-bit weights are tried first where sums of products saturate, elsewhere by name only.

    Dynamic int8 tries 8-bit ones right after: a try is cheap.
    """
    needed = Choices((True, False), default=True, early=technique.name == "int8_dynamic")
    named = Choices((False,), False, others=True)
    for device, expected in ((AVX2, needed), (VNNI, named)):
        space = technique.search_space(model("matmul"), dataclasses.replace(PROFILE, device=device))
        assert space["reduce_range"] == expected


def test_a_layer_must_remain() -> None:
    """At most a quarter of the layers can be excluded; with few there is nothing to exclude."""
    space = Int8Static().search_space(model("matmul", "convolution"), PROFILE)
    assert "exclude_layers" not in space
    eight = profile(*(layer("MatMul", 0.1) for _ in range(8)))
    space = Int8Static().search_space(model("matmul"), eight)
    assert space["exclude_layers"] == IntegerRange(0, 2, 0)
    alone = profile(layer("MatMul", 1.0))
    assert "exclude_layers" not in Int8Dynamic().search_space(model("matmul"), alone)
    unknown = Int8Dynamic().search_space(model("matmul"), profile())
    assert unknown["exclude_layers"] == IntegerRange(0, 4, 0)
