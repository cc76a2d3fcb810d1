"""Experiments about quality, on a small network trained here on scikit-learn's own digits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettison import registry
from jettison.claims.catalogue import Reading
from jettison.claims.costs import Bench, read_steps
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Array
from jettison.domain.splits import Splits
from jettison.errors import MissingDependency
from jettison.pipeline import apply as applying
from jettison.pipeline import load, measure, split
from jettison.statistics import newcombe_interval

TRAINED_ON = 600
ROWS_FITTED = 256


def accuracy_drop(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """How much accuracy is lost, row by row on rows that the network never saw.

    Args:
        bench: where.
        settings: `steps` of the candidate, `against`, steps of what it is compared with (none:
            the untouched network), and `library` (`torch` for steps on weights of PyTorch).

    Raises:
        MissingDependency: without scikit-learn, or torch where it is asked for.
        CandidateFailed: if a step can't be carried out.
    """
    library = str(settings.get("library", "sklearn"))
    folder = bench.folder / f"digits-{library}"
    model, splits = _digits(folder, library)
    before = _right(folder, model, splits, settings.get("against", []))
    after = _right(folder, model, splits, settings.get("steps", []))
    right, still = before > 0.5, after > 0.5
    lost, won = int((right & ~still).sum()), int((~right & still).sum())
    found = newcombe_interval(lost, won, int((right & still).sum()), len(right))
    note = f"{lost} rows lost, {won} won"
    return Reading(found.value, found.low, found.high, found.n, "held-out rows", note)


@functools.lru_cache(maxsize=2)
def _digits(folder: Path, library: str) -> tuple[Model, Splits]:
    try:
        from sklearn.datasets import load_digits
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise MissingDependency(
            "scikit-learn is not installed; run: pip install 'jettison[sklearn]'"
        ) from error
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    x, y = pixels[order].astype(np.float32), digits[order]
    network = MLPClassifier((128, 64), max_iter=120, random_state=0, tol=1e-3)
    network.fit(x[:TRAINED_ON], y[:TRAINED_ON])
    section, live, table = ModelSection("live object"), network, _table
    if library == "torch":
        section = ModelSection("live object", inputs=(f"input: float32[batch, {x.shape[1]}]",))
        live, table = _as_module(network), _array
    tables = {
        "fitting": table(x[:ROWS_FITTED], y[:ROWS_FITTED]),
        "selection": table(x[TRAINED_ON:], y[TRAINED_ON:]),
    }
    model = load.load_model(section, folder / "model", live)
    return model, split.load_data(DataSection(target="digit"), model, folder / "data", tables)


def _table(x: Array, y: Array) -> dict[str, Array]:
    return {"digit": y, **{f"pixel_{place}": column for place, column in enumerate(x.T)}}


def _array(x: Array, y: Array) -> dict[str, Array]:
    return {"digit": y, "input": x}


def _as_module(network: Any) -> Any:
    """The same network for PyTorch; it answers with scores in place of probabilities."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(
            "torch is not installed; run: pip install 'jettison[torch]'"
        ) from error
    layers: list[Any] = []
    for weight, bias in zip(network.coefs_, network.intercepts_, strict=True):
        layer = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _right(folder: Path, model: Model, splits: Splits, steps: list[Any]) -> Array:
    """1 where the answer is right, shape (n,)."""
    serving = ServingProfile()
    recipe = Recipe((Step("convert_sklearn"), *read_steps(steps)), Step("onnx_runtime"))
    if "torch" in model.traits:
        recipe = Recipe(read_steps(steps), Step(registry.home_runtime(model.traits).name))
    made = applying.apply(model, recipe, splits.fitting, folder / "artifacts", serving)
    variant = Variant(recipe.digest, made.model, made.recipe.runtime)
    if splits.selection is None:
        raise ValueError("the digits are always divided")
    workers = folder / "workers"
    workers.mkdir(parents=True, exist_ok=True)
    with measure.Sessions(splits.selection.rows, serving, workers) as sessions:
        quality = measure.reference_quality(
            variant, splits.selection, ("accuracy",), sessions, folder / recipe.digest[:16]
        )
    found: Array = np.load(quality.contributions["accuracy"])
    return found.astype(np.float64)
