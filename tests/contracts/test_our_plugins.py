"""Every plug-in of ours passes the suite that outside plug-ins are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain import accelerators
from jettison.domain.extension_points import Evidence
from jettison.testing import contracts
from tests.contracts.conftest import Subject
from tests.serving_bundle import FEATURES, Made, make_bundle, make_model
from tests.unit.export.conftest import job_of

TECHNIQUE_ON = {
    "balanced_calibration": "grouped",
    "channel_pruning": "classifier",
    "chita": "classifier",
    "convert_openvino": "transformer",
    "convert_sklearn": "forest",
    "export_onnx": "classifier",
    "half_precision": "convolutional",
    "int8_dynamic": "transformer",
    "int8_static": "convolutional",
    "activation_smoothing": "transformer",
    "cross_layer_equalization": "picture_graph",
    "nncf_int8": "openvino",
    "nncf_weight_only": "openvino",
    "low_rank": "classifier",
    "magnitude_pruning": "classifier",
    "matmul_nbits": "transformer",
    "pt2e_int8": "program",
    "torch_dynamic_int8": "classifier",
    "torch_fx_int8": "program",
    "torchao_weight_only": "classifier",
    "constraint_learner": "grouped_table",
    "group_thresholds": "grouped_graph",
    "reweighing": "grouped_table",
    "recover": "pruned",
    "recover_private": "pruned",
    "sparsegpt": "classifier",
    "wanda": "classifier",
    "transformer_fusion": "transformer",
}
RUNTIME_ON = {
    "onnx_runtime": "convolutional",
    "openvino": "openvino",
    "scikit_learn": "forest",
    "torch_cuda": "classifier",
    "torch_compile": "program",
    "torch_eager": "classifier",
}
FORMAT_ON = {
    "onnx_file": "convolutional",
    "openvino_ir": "openvino",
    "sklearn_skops": "forest",
    "huggingface_folder": "classifier",
    "torch_program": "program",
    "torch_quantized": "packed",
}
EXPORTS = {
    "docker": ("wheel=jettison-0.1.0-py3-none-any.whl",),
    "kserve": (),
    "ray": (),
    "triton": (),
}
"""Each kind of export with the settings that it needs."""

ENCODER_ON = {
    "arrays": "convolutional",
    "image": "program",
    "tabular": "forest",
    "tokenizer": "classifier",
}


MEASURED = {
    "channel_pruning": {"round_to": 8},
    "low_rank": {"round_to": 8},
    "recover": {"fine_tune_target": "labels"},
}
"""Settings that are otherwise measured on this machine, once a run, and kept in its cache; and what
can be learned where a recipe has one step, so that no original lies before it."""

NEEDED = {
    "activation_smoothing": {"places": "all", "strength": "given"},
    "group_thresholds": {"use_attribute_at_inference": "sex"},
}
"""Settings without which a technique refuses, or finds nothing to do on random weights."""


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Subject:
    """The model that a plug-in is tried on, by the name of its fixture."""
    found: Subject = request.getfixturevalue(request.param)
    return found


def ours(family: registry.Family) -> set[str]:
    """The plug-ins that jettison itself registers."""
    return {name for name, package in registry.packages(family).items() if package == "jettison"}


def test_every_plugin_of_ours_is_tried() -> None:
    """No plug-in is left out of this module."""
    assert ours("techniques") == set(TECHNIQUE_ON)
    assert ours("runtimes") == set(RUNTIME_ON)
    assert ours("formats") == set(FORMAT_ON)
    assert ours("encoders") == set(ENCODER_ON)
    assert ours("exports") == set(EXPORTS)
    assert ours("guardrails") == {"input_limits", "out_of_distribution"}


@pytest.mark.parametrize(("name", "on"), sorted(TECHNIQUE_ON.items()), indirect=["on"])
def test_technique(name: str, on: Subject, tmp_path: Path) -> None:
    """It changes a copy, the same way each time, and the copy reloads."""
    settings = None
    if name in NEEDED:
        settings = NEEDED[name]
    elif name in MEASURED:
        space = registry.get("techniques", name).search_space(on.model, on.profile)
        settings = {key: r.default for key, r in space.items()} | MEASURED[name]
    contracts.check_technique(
        name, on.model, on.fitting, tmp_path, profile=on.profile, settings=settings
    )


@pytest.mark.parametrize(("name", "on"), sorted(RUNTIME_ON.items()), indirect=["on"])
def test_runtime(name: str, on: Subject, tmp_path: Path) -> None:
    """It answers every declared output, and tells where its nodes ran."""
    lacks = accelerators.lacking(registry.get("runtimes", name))
    if lacks:
        contracts.check_import_is_light("runtimes", name)
        pytest.skip(f"`{name}` {lacks}")
    contracts.check_runtime(name, on.model, on.fitting, tmp_path)


@pytest.mark.parametrize(("name", "on"), sorted(FORMAT_ON.items()), indirect=["on"])
def test_format(name: str, on: Subject, tmp_path: Path) -> None:
    """What it opened it can save, and open again."""
    contracts.check_format(name, on.model, tmp_path)


@pytest.mark.parametrize(("name", "on"), sorted(ENCODER_ON.items()), indirect=["on"])
def test_encoder(name: str, on: Subject) -> None:
    """It makes up inputs that fit the model."""
    contracts.check_encoder(name, on.model)


@pytest.mark.parametrize(("name", "given"), sorted(EXPORTS.items()))
def test_export(
    name: str, given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the same export each time, and leaves the bundle alone."""
    monkeypatch.chdir(tmp_path)
    Path("jettison-0.1.0-py3-none-any.whl").write_bytes(b"")
    job = job_of(make_bundle(tmp_path / "release"), registry.get("exports", name), *given)
    contracts.check_exporter(name, job, tmp_path / "out")


@pytest.mark.parametrize("name", sorted(ours("costs")))
def test_cost(name: str) -> None:
    """Its unit is the last part of its name."""
    contracts.check_cost(name)


def evidence(task: str, classes: int = 4) -> Evidence:
    """Targets, and outputs of an original and a slightly different candidate."""
    rng = np.random.default_rng(0)
    columns = 1 if task == "regression" else classes
    if task == "token-classification":
        tokens = rng.normal(size=(50, 6, classes)).astype(np.float32)
        tokens[::2, 4:] = 0.0  # padding
        return Evidence(None, {"y": np.round(tokens, 1)}, {"y": tokens}, "y", ())
    reference = rng.normal(size=(50, columns)).astype(np.float32)
    outputs = (reference + 0.3 * rng.normal(size=reference.shape)).astype(np.float32)
    targets = (
        rng.integers(0, classes, 50) if task == "classification" else reference[:, 0].astype(float)
    )
    names = ("ant", "bee", "cow", "dog")[:columns]
    return Evidence(targets, {"y": outputs}, {"y": reference}, "y", names)


@pytest.mark.parametrize("name", sorted(ours("metrics")))
def test_metric(name: str) -> None:
    """Its contributions keep the bounds and the kind that pick the test."""
    metric = registry.get("metrics", name)
    classes = 2 if metric.kind == "influence" else 4
    contracts.check_metric(name, evidence(sorted(metric.tasks)[0], classes))


def test_guardrail_contract(tmp_path: Path) -> None:
    """It keeps what every guardrail promises."""
    model = make_model(tmp_path / "model", Made())
    small, large = (np.full((1, FEATURES), value, np.float32) for value in (0.5, 5.0))
    settings = {"range": {"x": [0, 1]}}
    contracts.check_guardrail("input_limits", model, settings, {"x": small}, {"x": large})


VALUES = {
    "image": np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8),
    "text": "The quick brown fox jumps over the lazy dog, again and again.",
    "signal": np.random.default_rng(0).normal(size=4000),
}


@pytest.mark.parametrize("name", registry.names("transformations"))
def test_transformation(name: str) -> None:
    """It changes a copy, the same way for one seed, and imports nothing heavy."""
    value = VALUES[registry.get("transformations", name).takes]
    changed = contracts.check_transformation(name, value)
    assert not np.array_equal(changed, value)
