"""Selection rows of a finished run, and the two models that answer them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.assessment.attribution_parts import Row
from jettison.assessment.search_rows import read_record
from jettison.domain.extension_points import Example
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.raw_examples import read_raw
from jettison.domain.recipe import Step
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.domain.run import RunRecord, Trial
from jettison.errors import DataError, UsageError

ALONE = frozenset({"batch-dependent", "fixed-batch"})


@dataclass(frozen=True, slots=True)
class Pair:
    """The original and one candidate of a run, with the selection rows that both may answer."""

    record: RunRecord
    original: Variant
    candidate: Variant
    rows: Rows
    right: Array | None


def pair_of(folder: Path, recipe: str = "") -> Pair:
    """Opens a run.

    Args:
        folder: of the run (the `output` of jettison.toml).
        recipe: beginning of a recipe's digest; empty for what ships, or else for the first of
            the shortlist or of the front.

    Raises:
        UsageError: if there is no such run, recipe or data, or the task has no classes.
        DataError: if the work folder of the run is gone.
    """
    record = read_record(folder)
    if record.model.task != "classification":
        raise UsageError(
            f"the task of this model is {record.model.task}; rows whose answer changed are "
            "explained for classification only"
        )
    if record.data is None:
        raise UsageError(f"the run in {folder} had no data, so no answer could change")
    trial = _trial(record, recipe, folder)
    if trial.candidate is None:
        raise UsageError(f"the recipe {trial.recipe} could not be built: {trial.reason}")
    model, new = record.model, trial.candidate.model
    work = folder / "work"
    original = Variant(
        "baseline",
        model,
        Step(registry.home_runtime(model.traits).name),
        bool(model.traits & ALONE),
    )
    candidate = Variant(trial.recipe.digest, new, trial.recipe.runtime, bool(new.traits & ALONE))
    for one in (model, new):
        if not one.artifact.path.exists():
            raise DataError(
                f"the model {one.artifact.path} is gone: the work folder of this run was moved or "
                "removed; run `jettison optimize` again"
            )
    return Pair(
        record, original, candidate, encoded_rows(model, work / "data", "selection"), _right(work)
    )


def _trial(record: RunRecord, recipe: str, folder: Path) -> Trial:
    built = {t.recipe.digest: t for t in record.trials if t.candidate is not None}
    if recipe:
        wanted = [name for name in built if name.startswith(recipe)]
    else:
        order = [record.shipped, *(t.recipe for t in record.certificate.order), *record.front]
        wanted = [name for name in order if name in built] or list(built)
    if not wanted:
        known = ", ".join(name[:12] for name in built) or "none"
        asked = f" that begins with {recipe}" if recipe else ""
        raise UsageError(f"the run in {folder} built no candidate{asked} (built: {known})")
    return built[wanted[0]]


def encoded_rows(model: Model, data: Path, use: str) -> Rows:
    """The encoded `fitting` or `selection` rows of a run, as they lie in its work folder.

    Raises:
        DataError: if they are gone.
    """
    folder = data / use
    names = tuple(spec.name for spec in model.inputs)
    try:
        n = len(np.load(column_file(folder, names[0]), mmap_mode="r", allow_pickle=False))
    except OSError as error:
        raise DataError(
            f"the {use} rows in {folder} can't be read ({error}); run `jettison optimize` again"
        ) from error
    rows = Rows(str(folder.absolute()), names, n)
    if (folder / f"{LENGTHS}.npy").exists():
        # How rows are padded is the encoder's business; it tells with any one row.
        one = read_raw(data / "raw")
        first = Example({name: column[:1] for name, column in one.columns.items()}, 1)
        kind = registry.get("encoders", model.encoder.kind)
        pad = kind.encode(model.encoder, model, first).pad
        rows = dataclasses.replace(rows, pad=dict(pad))
    return rows


def _right(work: Path) -> Array | None:
    """Which selection rows the original has right, shape (n,) of bool; `None` without labels."""
    path = work / "baseline" / "selection" / "accuracy.npy"
    return np.load(path, allow_pickle=False) > 0.5 if path.exists() else None


def row_of(rows: Rows, number: int) -> Row:
    """One encoded row without the batch axis and without padding."""
    found = rows.batch(slice(number, number + 1))
    lengths = rows.lengths()
    cut = None if lengths is None else max(1, int(lengths[number]))
    return {
        name: array[0][:cut] if cut is not None and name in rows.pad else array[0]
        for name, array in found.items()
    }
