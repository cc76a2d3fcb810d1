"""What a finished run knows about its selection rows: raw, labelled, and as both models answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from jettison.domain.extension_points import Evidence
from jettison.domain.record import from_json
from jettison.domain.rows import Array
from jettison.domain.run import RunRecord, Trial
from jettison.errors import DataError, UsageError
from jettison.numerics.predictions import predicted_classes
from jettison.pipeline.measure import OUTPUTS_FOLDER
from jettison.pipeline.split.places import RawRows, read_again

RUN = "run.json"


@dataclass(frozen=True, slots=True, eq=False)
class SearchRows:
    """Selection rows of one run under the baseline and one candidate.

    Attributes:
        record: of the run.
        trial: of the candidate.
        raw: the rows as the user gave them, with groups and targets.
        evidence: of the candidate on these rows, for any metric.
        before, after: class that the baseline and the candidate give, shape (n,).
    """

    record: RunRecord
    trial: Trial
    raw: RawRows
    evidence: Evidence
    before: Array
    after: Array


def read_record(folder: Path) -> RunRecord:
    """Reads what a run wrote down.

    Raises:
        UsageError: if the folder holds no finished run.
    """
    try:
        return from_json(RunRecord, (folder / RUN).read_bytes())
    except OSError as error:
        raise UsageError(
            f"{folder} holds no finished run ({RUN} can't be read: {error}); name the `output` "
            "folder of `jettison optimize`"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{folder / RUN} is not a record of this version of jettison; run "
            f"`jettison optimize` again ({str(error)[:200]})"
        ) from error


def search_rows(folder: Path, recipe: str = "") -> SearchRows:
    """Reads the selection rows of a run again, with both models' answers.

    Args:
        folder: of the run.
        recipe: beginning of the digest of a recipe; empty for what ships, or else for the trial
            that ranking shows best.

    Raises:
        UsageError: if there is no such run or recipe, or the run had no data.
        DataError: if the data file is gone or was changed, or the task has no classes.
    """
    record = read_record(folder)
    if record.data is None:
        raise UsageError(f"the run in {folder} had no data, so it has no selection rows")
    if record.model.task != "classification":
        raise DataError(
            f"the model's task is {record.model.task}; rows whose answer changed are told apart "
            "for classification only"
        )
    trial = _trial(record, recipe, folder)
    work = folder / "work"
    labelled = bool(record.configuration.data.target)
    raw = read_again(
        record.configuration.data, record.model, work / "data", "selection", labelled=labelled
    )
    name = record.model.prediction
    reference = _outputs(work / "baseline" / "selection" / OUTPUTS_FOLDER, raw.table.n)
    outputs = _outputs(_place(trial, work) / OUTPUTS_FOLDER, raw.table.n)
    given = trial.candidate.model.prediction if trial.candidate is not None else name
    evidence = Evidence(
        raw.labels.targets,
        outputs,
        {**reference, given: reference[name]},
        given,
        record.model.encoder.labels,
    )
    before = predicted_classes(reference[name], reference[name], evidence.labels)
    after = predicted_classes(outputs[given], reference[name], evidence.labels)
    return SearchRows(record, trial, raw, evidence, before, after)


def _trial(record: RunRecord, recipe: str, folder: Path) -> Trial:
    scored = [t for t in record.trials if t.ranking is not None and t.ranking.contributions]
    if recipe:
        found = [t for t in scored if t.recipe.digest.startswith(recipe)]
    else:
        order = [record.shipped, *[t.recipe for t in record.certificate.order], *record.front]
        by_name = {t.recipe.digest: t for t in scored}
        found = [by_name[name] for name in order if name in by_name] or scored
    if not found:
        known = ", ".join(sorted(t.recipe.digest[:12] for t in scored)) or "none"
        raise UsageError(
            f"the run in {folder} scored no recipe"
            + (f" {recipe!r}" if recipe else "")
            + f" on its selection rows (scored: {known})"
        )
    return found[0]


def _place(trial: Trial, work: Path) -> Path:
    """Where the outputs of a trial lie; a run folder may have been moved since."""
    ranking = trial.ranking
    if ranking is None or not ranking.contributions:
        raise DataError(f"trial {trial.number} was not scored on the selection rows")
    path = Path(next(iter(ranking.contributions.values())))
    parts = path.parent.parts[-4:]
    return work.joinpath(*parts) if parts[0] == "trials" else path.parent


def _outputs(folder: Path, n: int) -> Mapping[str, Array]:
    """Outputs of the rows as they came; copies in contexts stand behind them."""
    found: dict[str, Array] = {
        unquote(path.stem): np.load(path, mmap_mode="r", allow_pickle=False)[:n]
        for path in sorted(folder.glob("*.npy"))
    }
    if not found:
        raise DataError(
            f"{folder} holds no outputs; the work folder of this run was removed: run it again"
        )
    return found
