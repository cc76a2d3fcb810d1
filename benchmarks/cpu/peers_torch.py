"""PyTorch as it comes, its quantizers, and torchao's, called as their documentation calls them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.records import TORCH, WORK, Subject
from jettison.domain.jobs import Variant
from jettison.domain.model import Artifact
from jettison.domain.recipe import Step

SCRIPT = "model.pt"
ROWS = 128


def net_of(name: str) -> Any:
    """The module of a subject."""
    if name == "minilm":
        from jettison.domain.model import Model
        from jettison.domain.record import from_json
        from jettison.worker.workbench import open_model

        source = from_json(Model, (WORK / name / "source.json").read_bytes())
        return open_model(source).eval()
    from benchmarks.cpu import nets

    return getattr(nets, name)().eval()


def rebuild(recipe: Mapping[str, Any], folder: Path) -> Any:
    """What a worker does with `peer.json`: opens TorchScript, or makes the module and changes it."""
    import torch

    if recipe["kind"] == "script":
        return torch.jit.load(str(folder / SCRIPT)).eval()
    module = net_of(recipe["net"])
    if recipe["kind"] == "torchao":
        from torchao import quantization

        quantization.quantize_(module, getattr(quantization, recipe["config"])())
    return module


def eager(subject: Subject, place: Path) -> Variant:
    """The module as it is, with its weights saved beside for the size."""
    import torch

    torch.save(net_of(subject.net).state_dict(), place / "weights.pt")
    return _saved(subject, place, {"kind": "eager", "net": subject.net}, "weights.pt")


def dynamic(subject: Subject, place: Path) -> Variant:
    """`torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)`."""
    import torch

    made = torch.ao.quantization.quantize_dynamic(
        net_of(subject.net), {torch.nn.Linear}, dtype=torch.qint8
    )
    return _script(subject, place, made)


def fx_static(subject: Subject, place: Path) -> Variant:
    """`prepare_fx`, some rows, `convert_fx`, with the default of this CPU's backend."""
    import torch
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    rows = subject.fitting.rows.batches(1, limit=ROWS)
    given = [torch.from_numpy(np.array(next(iter(batch.values())))) for batch in rows]
    prepared = prepare_fx(net_of(subject.net), get_default_qconfig_mapping("x86"), (given[0],))
    with torch.inference_mode():
        for row in given:
            prepared(row)
    return _script(subject, place, convert_fx(prepared))


def torchao(config: str) -> Callable[[Subject, Path], Variant]:
    """`torchao.quantization.quantize_(model, Config())`."""

    def build(subject: Subject, place: Path) -> Variant:
        import torch

        recipe = {"kind": "torchao", "net": subject.net, "config": config}
        torch.save(rebuild(recipe, place).state_dict(), place / "weights.pt")
        return _saved(subject, place, recipe, "weights.pt")

    return build


def _script(subject: Subject, place: Path, module: Any) -> Variant:
    import torch

    batch = next(iter(subject.fitting.rows.batches(2)))
    given = tuple(torch.from_numpy(np.array(batch[spec.name])) for spec in subject.model.inputs)
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), given, check_trace=False))
    torch.jit.save(traced, str(place / SCRIPT))
    return _saved(subject, place, {"kind": "script"}, SCRIPT)


def _saved(subject: Subject, place: Path, recipe: Mapping[str, Any], file: str) -> Variant:
    (place / "peer.json").write_text(json.dumps(recipe), encoding="utf-8")
    artifact = Artifact.of("onnx_file", place, (file, "peer.json"))
    model = dataclasses.replace(
        subject.model, artifact=artifact, traits=frozenset({"onnx", "torch"})
    )
    return Variant("", model, Step(TORCH))


PEERS: Mapping[str, Callable[[Subject, Path], Variant]] = {
    "torch eager": eager,
    "torch quantize_dynamic": dynamic,
    "torch FX static": fx_static,
    "torchao int8, weights": torchao("Int8WeightOnlyConfig"),
    "torchao int8, activations as well": torchao("Int8DynamicActivationInt8WeightConfig"),
}
