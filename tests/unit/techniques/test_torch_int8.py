"""PyTorch models in 8 and 4 bits: answers, sizes, saving without pickle, layers kept, bad input."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.domain.traits import excludes, illegality, traits_after
from jettison.errors import CandidateFailed, ModelError, NothingChanged
from jettison.pipeline.load import load_model
from jettison.worker.workbench import Bench, prepare

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

from safetensors.torch import load_file  # noqa: E402

BenchIn = Callable[[str], Bench]
FittingOf = Callable[..., FittingData]
IMAGES = np.random.default_rng(0).standard_normal((24, 3, 16, 16)).astype(np.float32)
ALL = ("pt2e_int8", "torch_dynamic_int8", "torch_fx_int8", "torchao_weight_only")
STATIC = ("pt2e_int8", "torch_fx_int8")

SOURCE = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.norm.running_mean.uniform_(-0.1, 0.1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.hidden = nn.Linear(16, 64)
        self.head = nn.Linear(64, 5)

    def forward(self, image):
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(self.second(x) + x).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))

def zeros():
    net = Residual()
    for layer in (net.second, net.hidden):
        nn.init.zeros_(layer.weight)
    return net
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "net.py"
    path.write_text(SOURCE)
    return path


def loaded(source: Path, function: str, folder: Path) -> Model:
    section = ModelSection(f"{source}:{function}", inputs=("image: float32[batch, 3, 16, 16]",))
    return load_model(section, folder)


@pytest.fixture(scope="module")
def network(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two convolutions with a norm and a sum between them, and two linear layers."""
    return loaded(source, "Residual", tmp_path_factory.mktemp("network"))


def answer(model: Model, images: Array = IMAGES) -> Array:
    runner = prepare(model, Step("torch_eager"), ServingProfile())
    return np.asarray(runner.run({"image": images})[model.prediction])


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("name", "settings", "told", "within"),
    [
        ("torch_fx_int8", {}, "4 of 4 layers to int8, 7-bit", 0.06),
        ("torch_fx_int8", {"engine": "onednn", "calibrator": "minmax"}, "4 of 4", 0.06),
        (
            "torch_fx_int8",
            {"keep_float": "head, hid*"},
            "2 of 4 .* left in float: hidden, head",
            0.06,
        ),
        ("pt2e_int8", {}, "4 of 4 layers to int8, 7-bit", 0.06),
        ("torch_dynamic_int8", {}, "2 of 2 Linear to int8", 0.02),
        ("torchao_weight_only", {}, "2 of 2 Linear in 8 bits", 0.01),
        ("torchao_weight_only", {"mode": "int4_32"}, "1 of 2 Linear|2 of 2 Linear", 0.15),
    ],
)
def test_answers(
    network: Model,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    name: str,
    settings: dict[str, str],
    told: str,
    within: float,
) -> None:
    """The saved files, opened again, answer nearly as the original, and say what was changed."""
    technique = registry.get("techniques", name)
    settings = {"reduce_range": True, **settings} if name in STATIC else settings
    done = technique.apply(network, settings, fitting_of(IMAGES, "image"), bench_in("a"))
    assert re.search(told, done.changes[0].what)
    assert done.model.artifact.size_bytes < network.artifact.size_bytes
    assert 0 < error(answer(done.model), answer(network)) < within
    files = [Path(done.model.artifact.folder) / file for file in done.model.artifact.files]
    assert {file.suffix for file in files} == {".json", ".safetensors"}


def test_most_sensitive_layer(network: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """As many layers as asked for stay in float, those first that lose most."""
    technique = registry.get("techniques", "torch_fx_int8")
    fitting = fitting_of(IMAGES, "image")
    done = technique.apply(network, {"exclude_layers": 2}, fitting, bench_in("a"))
    assert done.changes[0].what.startswith("2 of 4 layers")


@pytest.mark.parametrize("name", ALL)
def test_a_pattern_that_matches_nothing(
    network: Model, bench_in: BenchIn, fitting_of: FittingOf, name: str
) -> None:
    """It is refused with near names; patterns that keep everything are refused as well."""
    technique, fitting = registry.get("techniques", name), fitting_of(IMAGES, "image")
    with pytest.raises(CandidateFailed, match=r"`heat` of `keep_float` .*near names: `head`"):
        technique.apply(network, {"keep_float": "heat"}, fitting, bench_in("a"))
    with pytest.raises(NothingChanged, match="are to stay in float"):
        technique.apply(network, {"keep_float": "*"}, fitting, bench_in("b"))


NESTED = """
import torch
from torch import nn

class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, image):
        return self.head(self.body(image.mean(1).flatten(1)))
"""


def same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and bool(torch.equal(one, other))


@pytest.mark.parametrize("name", ALL)
def test_a_layer_that_is_to_stay_in_float_keeps_its_weights(
    name: str, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """`keep_float` is kept by what is saved, not only told: those weights alone are as they were."""
    path = tmp_path / "nested.py"
    path.write_text(NESTED)
    model, technique = loaded(path, "Nested", tmp_path / "model"), registry.get("techniques", name)
    weights = registry.get("formats", "torch_program").open(model.artifact).state_dict()
    for place, kept in enumerate(("", "body.2", "head")):
        bench = bench_in(str(place))
        done = technique.apply(model, {"keep_float": kept}, fitting_of(IMAGES, "image"), bench)
        assert f"{3 - bool(kept)} of 3 " in done.changes[0].what
        stored = load_file(Path(done.model.artifact.folder) / "weights.safetensors").values()
        found = {
            layer
            for layer in ("body.0", "body.2", "head")
            if any(same(tensor, weights[f"{layer}.weight"]) for tensor in stored)
        }
        assert found == ({kept} if kept else set())


@pytest.mark.parametrize("name", ALL)
def test_zeros_and_constants(
    source: Path, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf, name: str
) -> None:
    """Layers of zeros, rows that are all alike, and one row give finite answers."""
    model = loaded(source, "zeros", tmp_path / "zeros")
    flat = np.full((1, 3, 16, 16), 0.5, dtype=np.float32)
    technique = registry.get("techniques", name)
    done = technique.apply(model, {}, fitting_of(flat, "image"), bench_in("a"))
    np.testing.assert_allclose(answer(done.model, flat), answer(model, flat), atol=0.05)
    assert np.isfinite(answer(done.model)).all()


@pytest.mark.parametrize("name", STATIC)
def test_rows_without_a_range(
    network: Model, bench_in: BenchIn, fitting_of: FittingOf, name: str
) -> None:
    """A row that is not finite is refused, not made into a range."""
    bad = IMAGES[:3].copy()
    bad[1] = np.nan
    technique = registry.get("techniques", name)
    with pytest.raises(CandidateFailed, match="NaN"):
        technique.apply(network, {}, fitting_of(bad, "image"), bench_in("a"))


@pytest.mark.parametrize("name", STATIC)
def test_rows_of_another_shape(
    network: Model, bench_in: BenchIn, fitting_of: FittingOf, name: str
) -> None:
    """Calibration rows that the program can't take are one sentence with its reason."""
    technique = registry.get("techniques", name)
    grey = fitting_of(IMAGES[:, :1], "image")
    with pytest.raises(CandidateFailed, match="ranges can't be observed on this model"):
        technique.apply(network, {}, grey, bench_in("a"))


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("torch_fx_int8", {"engine": "fast"}, "`engine` .* must be one of x86, onednn; got 'fast'"),
        ("torch_fx_int8", {"calibrator": "best"}, "one of histogram, minmax; got 'best'"),
        ("torch_dynamic_int8", {"engine": "fast"}, "must be one of x86, onednn"),
        ("torchao_weight_only", {"mode": "int2"}, "must be one of int8, int4_32"),
    ],
)
def test_settings_out_of_range(
    network: Model,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    name: str,
    settings: dict[str, str],
    told: str,
) -> None:
    """A value that there is not is refused with those that there are."""
    with pytest.raises(CandidateFailed, match=told):
        registry.get("techniques", name).apply(
            network, settings, fitting_of(IMAGES, "image"), bench_in("a")
        )


@pytest.mark.parametrize("name", ALL)
def test_transformers(
    tiny_classifier: Path, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf, name: str
) -> None:
    """Each follows a transformer, which torchao can't straight from `torch.export`."""
    model = load_model(ModelSection(str(tiny_classifier)), tmp_path / "model")
    ids = np.random.default_rng(0).integers(4, 30, (4, 6))
    rows = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    fitting = fitting_of(ids, "input_ids")
    for key, values in rows.items():
        np.save(Path(fitting.rows.folder) / f"{key}.npy", values)
    fitting = dataclasses.replace(
        fitting, rows=dataclasses.replace(fitting.rows, names=tuple(rows))
    )
    done = registry.get("techniques", name).apply(model, {}, fitting, bench_in("a"))
    found, expected = (
        prepare(m, Step("torch_eager"), ServingProfile()).run(rows)[m.prediction]
        for m in (done.model, model)
    )
    assert 0 < error(found, expected) < 0.2


SHARED = """
import torch
from torch import nn

class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        for norm in self.norms:
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.2, 2)
        self.head = nn.Linear(8, 3)

    def part(self, image, norm):
        return torch.relu(norm(self.conv(image))).mean((2, 3))

class ANormForEach(Shared):
    def forward(self, image):
        return self.head(self.part(image, self.norms[0]) - self.part(image * 2, self.norms[1]))

class Twins(Shared):
    def forward(self, image):
        return self.head(self.part(image, self.norms[0]) - self.part(image * 2, self.norms[0]))

class ReadToo(Shared):
    def forward(self, image):
        found = self.part(image, self.norms[0]) * 10 * self.conv.weight.mean((1, 2, 3))
        return self.head(found)
"""


@pytest.mark.parametrize(
    ("name", "function"),
    [(name, kind) for name in ALL for kind in ("ANormForEach", "ReadToo")]
    + [(name, "Twins") for name in ALL if name != "pt2e_int8"],
)
def test_a_convolution_that_is_called_twice(
    name: str, function: str, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Each call keeps its own norm, and a norm is folded in once.

    What torchao refuses, with its reason, is left out: one convolution and norm called twice.
    """
    path = tmp_path / "shared.py"
    path.write_text(SHARED)
    model = loaded(path, function, tmp_path / "model")
    technique = registry.get("techniques", name)
    done = technique.apply(model, {}, fitting_of(IMAGES, "image"), bench_in("a"))
    assert error(answer(done.model), answer(model)) < 0.15


READ = """
import torch
from torch import nn

class Read(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(256, 8)
        self.head = nn.Linear(256, 5)

    def forward(self, image):
        x = image.mean(1).flatten(1)
        return self.head(torch.relu(self.hidden(x)) @ self.hidden.weight)
"""


@pytest.mark.parametrize("name", ALL)
def test_a_weight_that_is_read_elsewhere(
    name: str, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A layer whose weight something else multiplies by stays as it is."""
    path = tmp_path / "read.py"
    path.write_text(READ)
    model = loaded(path, "Read", tmp_path / "model")
    technique = registry.get("techniques", name)
    done = technique.apply(model, {}, fitting_of(IMAGES, "image"), bench_in("a"))
    assert error(answer(done.model), answer(model)) < 0.1


@pytest.mark.parametrize("name", STATIC)
def test_a_batch_of_one(
    name: str, network: Model, tmp_path: Path, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A program that takes one row at a time is shown one row at a time."""
    net = registry.get("formats", "torch_program").open(network.artifact)
    program = torch.export.export(net, (), kwargs={"image": torch.from_numpy(IMAGES[:1])})
    torch.export.save(program, tmp_path / "one.pt2")
    model = load_model(ModelSection(str(tmp_path / "one.pt2")), tmp_path / "model")
    assert "fixed-batch" in model.traits
    technique = registry.get("techniques", name)
    done = technique.apply(model, {}, fitting_of(IMAGES, "image"), bench_in("a"))
    assert error(answer(done.model, IMAGES[:1]), answer(model, IMAGES[:1])) < 0.1


def test_no_further_way(network: Model) -> None:
    """What is packed can't be exported to ONNX or quantized again; the reason names the trait."""
    fx, export, dynamic = (
        registry.get("techniques", name)
        for name in ("torch_fx_int8", "export_onnx", "torch_dynamic_int8")
    )
    assert illegality(network.traits, (fx,), frozenset({"torch"})) is None
    assert "is not `packed`" in str(illegality(network.traits, (fx, export)))
    assert "`float32`" in str(illegality(network.traits, (fx, dynamic)))


def test_imitated_arithmetic_needs_the_compiler(network: Model) -> None:
    """What only imitates 8 bits until it is compiled is not offered to the eager runtime."""
    made = traits_after(network.traits, (registry.get("techniques", "pt2e_int8"),))
    assert excludes(registry.get("runtimes", "torch_eager")) & made
    assert not excludes(registry.get("runtimes", "torch_compile")) & made
    fx = traits_after(network.traits, (registry.get("techniques", "torch_fx_int8"),))
    assert not excludes(registry.get("runtimes", "torch_eager")) & fx


def test_damaged_files(network: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """Ranges of another program, an unknown method and lost tensors are refused when opened."""
    bench = bench_in("a")
    technique = registry.get("techniques", "torch_fx_int8")
    done = technique.apply(network, {}, fitting_of(IMAGES, "image"), bench)
    opener = registry.get("formats", "torch_quantized")
    path = Path(done.model.artifact.folder) / "quantized.json"
    whole = json.loads(path.read_text())
    for change in (
        {"method": "pickle"},
        {"version": 2},
        {"facts": {**whole["facts"], "ranges": {}}},
        {"layers": {**whole["layers"], "tail": {"bits": 8, "shape": [1, 1]}}},
        {"layers": {**whole["layers"], "head": {"bits": 8, "shape": [5, 63]}}},
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(ModelError, match=r"is damaged|can't be read"):
            opener.open(done.model.artifact)
    path.write_text(json.dumps(whole))
    opener.open(done.model.artifact)
