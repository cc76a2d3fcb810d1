"""A real network on real digits: the original, a harmless copy, and a damaged one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jettison import machine
from jettison.domain.bundle import Bundle
from jettison.domain.certificate import Certificate, Requirement
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.measurement import Measurement
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Candidate, Change, Recipe, SearchSpace, Step
from jettison.domain.record import digest
from jettison.domain.rows import Rows
from jettison.domain.run import DataSummary, RunRecord, Trial
from jettison.domain.splits import Labels, SelectionSet
from jettison.pipeline.certify import CertificationRequest, Contender, certify
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.trust.seal import seal_rows
from jettison.worker_client import WorkerSession

RUNTIME = Step("onnx_runtime")
SERVING = ServingProfile((1,), (1.0,), threads=1)
SEALED = slice(0, 1500)
SELECTION = slice(1500, 2100)
FITTING = slice(2100, 2164)


@dataclass(frozen=True)
class Digits:
    """What all tests of this folder share.

    Attributes:
        variants: by name, `baseline` first; the others are named by the digest of their recipe.
        contributions: name -> `.npy` of 0/1 answers on the selection rows.
    """

    folder: Path
    images: np.ndarray
    targets: np.ndarray
    variants: Mapping[str, Variant]
    recipes: Mapping[str, Recipe]
    contributions: Mapping[str, str]
    fitting: Rows
    selection: SelectionSet


def save_images(folder: Path, name: str, images: np.ndarray) -> Rows:
    """Writes rows of the network's input."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", images)
    return Rows(str(folder), (name,), len(images), {}, hashlib.sha256(images).hexdigest())


def copy_with(model: Model, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Model:
    """Saves a copy whose large weights are changed."""
    graph = onnx.load(model.artifact.path)
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 100:
            tensor.CopyFrom(numpy_helper.from_array(change(values), tensor.name))
    folder.mkdir(parents=True)
    onnx.save(graph, folder / "model.onnx")
    artifact = Artifact.of("onnx_file", folder, ("model.onnx",))
    return dataclasses.replace(model, artifact=artifact)


def rounded(values: np.ndarray) -> np.ndarray:
    """Rounds to 8 bits with one scale."""
    scale = np.abs(values).max() / 127
    return (np.round(values / scale) * scale).astype(np.float32)


def damaged(values: np.ndarray) -> np.ndarray:
    """Adds noise that costs several points of accuracy."""
    noise = np.random.default_rng(0).normal(size=values.shape)
    return (values + 0.9 * values.std() * noise).astype(np.float32)


def answers(variant: Variant, rows: Rows, targets: np.ndarray, folder: Path) -> np.ndarray:
    """0/1 answers of a variant."""
    with WorkerSession(
        SessionJob(variant.model, RUNTIME, rows, SERVING, one_by_one=True), folder
    ) as session:
        session.score(rows, folder / "outputs", 1)
    scores = np.load(folder / "outputs" / f"{variant.model.prediction}.npy")
    return (scores.reshape(len(targets), -1).argmax(axis=1) == targets).astype(np.float64)


@pytest.fixture(scope="session")
def digits(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """Loads the network, makes its copies and scores them on the selection rows."""
    folder = tmp_path_factory.mktemp("digits")
    with np.load(shared_data / "vision" / "mnist.npz") as data:
        images = data["x_test"][:, None].astype(np.float32)
        targets = data["y_test"].astype(np.int64)
    section = ModelSection(str(shared_data / "models" / "mnist-cnn-cntk.onnx"), "classification")
    model = load_model(section, folder / "model")
    recipes = {
        "harmless": Recipe((Step("round_weights", {"bits": 8}),), RUNTIME),
        "damaged": Recipe((Step("add_noise", {"scale": 0.9}),), RUNTIME),
    }
    models = {
        "baseline": model,
        "harmless": copy_with(model, folder / "harmless", rounded),
        "damaged": copy_with(model, folder / "damaged", damaged),
    }
    name = model.inputs[0].name
    selection = SelectionSet(
        save_images(folder / "selection", name, images[SELECTION]), labels_of(targets[SELECTION])
    )
    variants: dict[str, Variant] = {}
    contributions: dict[str, str] = {}
    for title, one in models.items():
        recipe = recipes.get(title)
        variants[title] = Variant(recipe.digest if recipe else title, one, RUNTIME, one_by_one=True)
        found = answers(variants[title], selection.rows, targets[SELECTION], folder / title / "w")
        contributions[title] = str(folder / f"{title}.npy")
        np.save(contributions[title], found)
    fitting = save_images(folder / "fitting", name, images[FITTING])
    return Digits(folder, images, targets, variants, recipes, contributions, fitting, selection)


def labels_of(targets: np.ndarray) -> Labels:
    """Two groups of digits, and three rows of a third."""
    kinds = np.where(targets < 5, "low", "high").astype(object)
    return Labels(targets, {"kind": kinds})


def request_in(
    tmp_path: Path,
    digits: Digits,
    names: tuple[str, ...] = ("harmless", "damaged"),
    labels: Labels | None = None,
    rows: slice = SEALED,
    **changes: Any,
) -> CertificationRequest:
    """Makes a request on freshly sealed rows; ledger and seal lie in the folder given."""
    baseline = digits.variants["baseline"]
    images, targets = digits.images[rows], digits.targets[rows]
    place = tmp_path / f"sealed-{len(list(tmp_path.glob('sealed-*')))}"
    sealed = seal_rows(
        save_images(tmp_path / "unsealed", baseline.model.inputs[0].name, images),
        labels or labels_of(targets),
        [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
        place,
    )
    request = CertificationRequest(
        baseline=baseline,
        baseline_contributions={"accuracy": digits.contributions["baseline"]},
        contenders=tuple(
            Contender(
                digits.variants[name],
                digits.recipes[name].digest,
                name,
                2.0 + i,
                {"accuracy": digits.contributions[name]},
            )
            for i, name in enumerate(names)
        ),
        selection=digits.selection,
        certification=sealed,
        requirements=(Requirement("accuracy", 0.01, 0.03),),
        configuration_digest=digest(configuration()),
        serving=SERVING,
        ledger=str(tmp_path / "ledger"),
        folder=str(tmp_path / "certify"),
    )
    return dataclasses.replace(request, **changes)


@pytest.fixture
def make_request(digits: Digits, tmp_path: Path) -> Callable[..., CertificationRequest]:
    """Makes requests in the test's own folder."""
    return partial(request_in, tmp_path, digits)


def configuration() -> Configuration:
    """What the tests ask for."""
    return Configuration(
        ModelSection("mnist-cnn-cntk.onnx", "classification"),
        DataSection("mnist.npz", target="y", groups=("kind",)),
        serving=SERVING,
        requirements=(Requirement("accuracy", 0.01, 0.03),),
    )


def record_of(
    digits: Digits, certificate: Certificate, name: str = "harmless"
) -> tuple[RunRecord, Candidate]:
    """Makes the record of a run that ships one of the copies, and its candidate."""
    device = machine.describe_device()
    model = digits.variants["baseline"].model
    candidate = Candidate(
        digits.recipes[name],
        digits.variants[name].model,
        (Change("2 weights rounded to 8 bits", 2, 5000),),
    )
    measured = Measurement("", "claim", (), device)
    ranking = Measurement(candidate.recipe.digest, "ranking", (), device)
    trial = Trial(0, candidate.recipe, "complete", "", candidate, ranking, 1.0)
    record = RunRecord(
        outcome="improved",
        answer="It is better.",
        next_step="",
        configuration=configuration(),
        model=model,
        profile=Profile(device, SERVING, (), (), 1e9, 0.02, model.artifact.size_bytes),
        space=SearchSpace((), {}, {}, (), ()),
        data=DataSummary("mnist.npz", {"certification": 1500}, {}, 0, "d" * 64),
        baseline=measured,
        trials=(trial,),
        claims={candidate.recipe.digest: dataclasses.replace(measured, recipe=trial.recipe.digest)},
        front=(candidate.recipe.digest,),
        shipped=candidate.recipe.digest,
        certificate=certificate,
        noise_floor=0.02,
        stage_seconds={"load": 1.0},
        command="jettison optimize jettison.toml",
        started="2026-01-01T00:00:00+00:00",
    )
    return record, candidate


@pytest.fixture
def make_record(digits: Digits) -> Callable[[Certificate], tuple[RunRecord, Candidate]]:
    """Makes the record of a run that ships the harmless copy, and its candidate."""
    return partial(record_of, digits)


@dataclass(frozen=True)
class Shipped:
    """A certified run and its bundle; tests copy the bundle before they change it."""

    folder: Path
    ledger: str
    bundle: Bundle
    record: RunRecord
    cargo: Cargo


@pytest.fixture(scope="session")
def shipped(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Certifies the harmless copy and emits it."""
    place = tmp_path_factory.mktemp("shipped")
    request = request_in(place, digits, ("harmless",))
    result = certify(request)
    record, candidate = record_of(digits, result.certificate)
    (place / "run.log").write_text("the log of the run\n")
    cargo = Cargo(candidate, digits.fitting, result.outcomes, place / "run.log")
    bundle = emit(record, cargo, place / "release", request.ledger)
    return Shipped(place / "release", request.ledger, bundle, record, cargo)
