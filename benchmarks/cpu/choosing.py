"""What jettison chooses by itself for a model, with a small budget of trials and minutes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import jettison
from benchmarks.comparison import Lines
from benchmarks.cpu.margins import MARGINS, MINUTES, TRIALS
from benchmarks.cpu.records import Built, Subject, answers, cpu_seconds
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.domain.run import GAIN, RunRecord, Trial
from jettison.search.trial import variant_of

CHOICE = "jettison"
NOISY = "noisy"
RUNNERS_UP = 2
"""Further trials that are timed again, so that a choice made beside other work can be told wrong."""


def chosen(subject: Subject) -> list[Built]:
    """Runs `jettison.optimize`, the seal over the rows of the verdict.

    The second to fourth results are the next trials of the same run by speed, within the margin on
    the selection rows; they are no choice of jettison's, and are named so.
    """
    begun = cpu_seconds()
    folder = subject.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    record = _optimized(subject, folder)
    seconds = cpu_seconds() - begun
    print(" ", record.answer, flush=True)
    ordered = _by_speed(record)
    first = record.trial_of(record.shipped)
    if first is None and NOISY in record.answer and ordered:
        # Beside other work it claims nothing; what it ranked first is timed anew here, in quiet.
        first = ordered[0]
    if first is None:
        # Nothing was certified faster: jettison's answer is the original.
        note = f"{record.answer} {len(record.trials)} trials."
        kept = Variant(CHOICE, subject.model, Step(subject.runtime), subject.one_by_one)
        found = [Built(CHOICE, "jettison", kept, seconds, note)]
    else:
        note = f"{first.recipe}; {record.outcome}; {len(record.trials)} trials"
        found = [_built(CHOICE, first, seconds, note)]
    others = [t for t in ordered if first is None or t.recipe != first.recipe][:RUNNERS_UP]
    for place, trial in enumerate(others, 2):
        found.append(_built(f"jettison's trial {place}", trial, seconds, str(trial.recipe)))
    return found


def _built(name: str, trial: Trial, seconds: float, note: str) -> Built:
    if trial.candidate is None:
        return Built(name, "jettison", None, seconds, note)
    variant = dataclasses.replace(variant_of(trial.candidate), name=name)
    return Built(name, "jettison", variant, seconds, note)


def _optimized(subject: Subject, folder: Path) -> RunRecord:
    budget = {"trials": TRIALS, "max_minutes": MINUTES, "shortlist": 3}
    serving = {
        "batch_sizes": list(subject.serving.batch_sizes),
        "weights": list(subject.serving.weights),
    }
    common: dict[str, Any] = {
        "model_options": {"task": subject.model.task},
        "search": budget,
        "serving": serving,
        "output": str(folder),
        "progress": Lines(),
    }
    source = str(subject.model.artifact.path)
    if not subject.metric:
        return jettison.optimize(source, **common).record
    # The recogniser's words are not known to a search by cosine: the margin is still in force.
    labelled = subject.metric == "accuracy"
    files = {
        "fitting": _table(subject, subject.fitting.rows, "fitting", labelled=labelled),
        "selection": _table(subject, subject.selection, "selection", labelled=labelled),
        "certification": _table(subject, subject.tested, "certification", labelled=labelled),
    }
    return jettison.optimize(
        source,
        target="label" if labelled else "",
        max_drop=MARGINS[subject.name],
        data_options=files,
        ledger=str(folder / "ledger"),
        **common,
    ).record


def _table(subject: Subject, rows: Rows, title: str, *, labelled: bool) -> str:
    columns = {name: np.asarray(rows.column(name)) for name in rows.names}
    if "sklearn" in subject.model.traits:
        columns = {name: values[:, 0] for name, values in columns.items()}
    if labelled:
        columns["label"] = answers(rows)
    path = subject.folder / f"{title}.npz"
    np.savez(path, **columns)
    return str(path)


def _by_speed(record: RunRecord) -> list[Trial]:
    """Complete trials within the margin on the selection rows, the fastest in ranking first."""

    def gain(trial: Trial) -> float:
        found = trial.ranking.get("latency_ms" + GAIN) if trial.ranking is not None else None
        return float(found.value or 0.0) if found is not None else 0.0

    def holds(trial: Trial) -> bool:
        lost = lost_on_selection(record, trial)
        margins = [r.max_drop for r in record.configuration.requirements if r.max_drop is not None]
        return lost is None or not margins or lost <= min(margins)

    done = [t for t in record.trials if t.state == "complete" and holds(t)]
    return sorted(done, key=gain, reverse=True)


def lost_on_selection(record: RunRecord, trial: Trial) -> float | None:
    """What a trial lost by the required metric on the selection rows; `None` if not read."""
    for requirement in record.configuration.requirements:
        now = trial.ranking.get(requirement.metric) if trial.ranking is not None else None
        before = record.baseline.get(requirement.metric, OVERALL)
        if now is not None and now.value is not None:
            # Against its own answers the original is perfect.
            at = 1.0 if before is None or before.value is None else before.value
            return at - now.value
    return None
