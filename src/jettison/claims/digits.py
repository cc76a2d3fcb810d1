"""Experiments about quality, on a small network trained here on scikit-learn's own digits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
        settings: `steps` of the candidate, and `against`, steps of what it is compared with (none:
            the untouched network).

    Raises:
        MissingDependency: without scikit-learn.
        CandidateFailed: if a step can't be carried out.
    """
    model, splits = _digits(bench.folder / "digits")
    before = _right(bench, model, splits, settings.get("against", []))
    after = _right(bench, model, splits, settings.get("steps", []))
    right, still = before > 0.5, after > 0.5
    lost, won = int((right & ~still).sum()), int((~right & still).sum())
    found = newcombe_interval(lost, won, int((right & still).sum()), len(right))
    note = f"{lost} rows lost, {won} won"
    return Reading(found.value, found.low, found.high, found.n, "held-out rows", note)


@functools.lru_cache(maxsize=1)
def _digits(folder: Path) -> tuple[Model, Splits]:
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
    tables = {
        "fitting": _table(x[:ROWS_FITTED], y[:ROWS_FITTED]),
        "selection": _table(x[TRAINED_ON:], y[TRAINED_ON:]),
    }
    model = load.load_model(ModelSection("live object"), folder / "model", network)
    return model, split.load_data(DataSection(target="digit"), model, folder / "data", tables)


def _table(x: Array, y: Array) -> dict[str, Array]:
    return {"digit": y, **{f"pixel_{place}": column for place, column in enumerate(x.T)}}


def _right(bench: Bench, model: Model, splits: Splits, steps: list[Any]) -> Array:
    """1 where the answer is right, shape (n,)."""
    serving = ServingProfile()
    crossing = Step("convert_sklearn")
    recipe = Recipe((crossing, *read_steps(steps)), Step("onnx_runtime"))
    folder = bench.folder / "digits"
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
