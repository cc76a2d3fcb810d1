"""Originals that are not ONNX as the shadow: scikit-learn and Hugging Face, from file to margin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Batch, Rows
from jettison.domain.splits import FittingData
from jettison.pipeline.apply import apply
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.pipeline.verify import open_bundle
from jettison.serving.monitoring import Outcome
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.requests import InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource
from tests.serving_bundle import Made, _charged, _record, make_certificate

pytestmark = pytest.mark.slow

REQUESTS, ROWS = 12, 3
WriteRows = Callable[[Encoded, Path], Rows]


def make_from(source: Path, conversion: str, folder: Path, write_rows: WriteRows) -> Path:
    """Loads a model, converts it to ONNX, and ships that with a certificate about it."""
    section = ModelSection(str(source), "classification")
    model = load_model(section, folder / "loaded")
    encoded = registry.get("encoders", model.encoder.kind).made_up(model.encoder, model, 16, 0)
    rows = replace(write_rows(encoded, folder / "rows"), digest="0" * 64)
    recipe = Recipe((Step(conversion),), Step("onnx_runtime"))
    serving = ServingProfile()
    candidate = apply(model, recipe, FittingData(rows, seed=0), folder / "made", serving)
    made = Made(one_by_one=False, batch_sizes=(1,))
    configuration = Configuration(section, DataSection("rows.npz", target="label"), serving=serving)
    certificate = make_certificate(made, candidate, configuration)
    ledger = str(folder / "ledger")
    certificate = replace(certificate, ledger=_charged(certificate, rows, ledger))
    record = _record(model, candidate, configuration, certificate)
    emit(record, Cargo(candidate, rows), folder / "release", ledger)
    return folder / "release"


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows) -> tuple[Path, Path]:
    """A random forest as a skops file, and the bundle of its ONNX form."""
    skops = pytest.importorskip("skops.io", reason="NO SKOPS: pip install 'jettison[sklearn]'")
    pytest.importorskip("skl2onnx", reason="NO SKL2ONNX: pip install 'jettison[sklearn]'")
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    folder = tmp_path_factory.mktemp("forest")
    inputs, targets = load_iris(return_X_y=True)
    live = RandomForestClassifier(n_estimators=10, random_state=0)
    live.fit(inputs.astype(np.float32), targets)
    skops.dump(live, folder / "forest.skops")
    source = folder / "forest.skops"
    return source, make_from(source, "convert_sklearn", folder, write_rows)


@pytest.fixture(scope="module")
def transformer(
    tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows
) -> tuple[Path, Path]:
    """A BERT classifier as a Hugging Face folder, and the bundle of its ONNX form."""
    folder = tmp_path_factory.mktemp("transformer")
    return tiny_classifier, make_from(tiny_classifier, "export_onnx", folder, write_rows)


def followed(source: Path, bundle: Path, rows: Callable[[int], Batch]) -> Mapping[str, float]:
    """Serves a bundle beside its original, labels what comes back; gives what is known then."""

    async def run() -> dict[str, float]:
        served = ServedSource("m", bundle, original=str(source))
        settings = ServeSettings(max_batch_rows=8, shadow_share=1.0)
        repository = Repository([served], Observability(), settings)
        await repository.start()
        items = []
        for number in range(REQUESTS):
            request = InferenceRequest(
                rows(number), ROWS, time.monotonic() + 60.0, request_id=f"r{number}"
            )
            answer = await repository.infer("m", request)
            await shadowed(repository, number + 1)
            said = answer.arrays[repository.get("m").model.prediction].argmax(axis=1)
            items += [Outcome(f"r{number}", int(one), row) for row, one in enumerate(said)]
        receipt = repository.outcomes("m", items)
        found = {reading.name: reading.value for reading in repository.readings()}
        await repository.drain()
        return {**found, "joined": receipt.joined, "paired": receipt.paired}

    return asyncio.run(run())


async def shadowed(repository: Repository, count: int) -> None:
    """Waits until the shadow has answered so many requests."""
    async with asyncio.timeout(60):
        while True:
            answered = [
                reading.value
                for reading in repository.readings()
                if reading.name == "jettison_quality_shadow_requests"
                and reading.labels["result"] == "answered"
            ]
            if answered[0] >= count:
                return
            await asyncio.sleep(0.01)


def check(found: Mapping[str, float]) -> None:
    """All rows were compared, all agree, and each label is a pair that the margin's test counts."""
    rows = float(REQUESTS * ROWS)
    assert found["jettison_quality_agreement_rows"] == rows
    assert found["jettison_quality_agreement_ratio"] == 1.0
    assert found["joined"] == found["paired"] == rows
    assert found["jettison_quality_margin_rows"] == rows
    assert found["jettison_quality_margin_held"] == 1.0
    assert found["jettison_quality_drop"] == 0.0


def test_a_forest_of_scikit_learn_follows_its_onnx_form(forest: tuple[Path, Path]) -> None:
    """The skops file is opened without running code, answers, and feeds agreement and margin."""
    rng, inputs = np.random.default_rng(0), inputs_of(forest[1])

    def rows(_: int) -> Batch:
        values = rng.random((ROWS, 4)) * np.array([8.0, 4.0, 7.0, 2.5])
        return {name: values.astype(dtype) for name, dtype in inputs.items()}

    check(followed(*forest, rows))


def test_a_hugging_face_model_follows_its_onnx_form(transformer: tuple[Path, Path]) -> None:
    """The folder is opened without running code from it; lengths differ from request to request."""
    rng, inputs = np.random.default_rng(0), inputs_of(transformer[1])

    def rows(number: int) -> Batch:
        length = 4 + number % 5
        ids = rng.integers(4, 30, (ROWS, length))
        kinds = {"token_type_ids": np.zeros_like(ids)}
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), **kinds}
        return {name: arrays[name].astype(dtype) for name, dtype in inputs.items()}

    check(followed(*transformer, rows))


def inputs_of(bundle: Path) -> dict[str, str]:
    """The inputs of the model in a bundle with their dtypes."""
    model, _, _ = open_bundle(bundle)
    return {spec.name: spec.dtype for spec in model.inputs}
