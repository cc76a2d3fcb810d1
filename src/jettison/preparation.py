"""Everything before the search: load, divide the data, profile, plan. Nothing is changed yet."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettison import config, registry
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration
from jettison.domain.disk_faults import explained
from jettison.domain.extension_points import QualityMetric, Technique
from jettison.domain.files import check_folder_place, exclusive_lock
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.progress import Journal, Progress
from jettison.domain.recipe import Recipe, Refusal, SearchSpace, Step
from jettison.domain.splits import Splits
from jettison.errors import CandidateFailed, ModelError, UsageError
from jettison.pipeline import apply as applying
from jettison.pipeline import emit, load, plan, split
from jettison.pipeline import profile as profiling
from jettison.trust.audit_record import open_trail
from jettison.trust.labelling import labelling_obstacle
from jettison.trust.ledger import Ledger
from jettison.trust.permissions import untrained
from jettison.trust.waiting_rows import check_open_rows

LOG = "run.log"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the search: enough for `profile`, `plan` and `advise`."""

    configuration: Configuration
    model: Model
    splits: Splits
    baseline: Variant
    profile: Profile
    starts: tuple[plan.Start, ...]
    space: SearchSpace
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


class Stopwatch:
    """Seconds of each stage, in order."""

    def __init__(self, earlier: Mapping[str, float] | None = None) -> None:
        self.seconds: dict[str, float] = dict(earlier or {})

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a block; a stage entered twice adds up."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


@contextlib.contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Holds the output folder for one run at a time.

    Raises:
        Busy: if another run holds it.
        UsageError: if anything of the run can't be written: the disk is full, read-only, ...
    """
    with explained(f"the run in {folder}", folder):
        check_folder_place(folder, "`output`")
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder / ".lock", f"another jettison run is using {folder}"):
            yield


def prepare(
    configuration: Configuration, progress: Progress, live: Any = None, live_data: Any = None
) -> Prepared:
    """Loads, divides the data, profiles and plans. Nothing is searched and nothing is sealed open.

    Args:
        configuration: what was asked for.
        progress: told about each stage.
        live: a model object in place of `configuration.model.source`.
        live_data: columns in place of `configuration.data.source`.
    """
    open_trail(configuration)  # A key that can't be used is told before anything is measured.
    watch = Stopwatch()
    work = Path(configuration.output) / "work"
    work.mkdir(parents=True, exist_ok=True)
    # A bundle that has no place must not be found out after hours and a look at sealed rows.
    emit.check_place(work.parent / emit.RELEASE)
    emit.check_not_certified(work.parent / emit.RELEASE)
    if configuration.ledger:
        check_folder_place(Path(configuration.ledger), "`ledger`")
    progress = Journal(progress, work.parent / LOG)
    with watch.stage("load"):
        progress.stage("load")
        model = load.load_model(configuration.model, work / "model", live, configuration.sections)
    with watch.stage("data"):
        progress.stage("data")
        splits = split.load_data(
            configuration.data, model, work / "data", live_data, configuration.contexts
        )
    if splits.selection is not None:
        check_open_rows(Path(splits.selection.rows.folder), Ledger.at(configuration.ledger))
    model = dataclasses.replace(model, encoder=splits.encoder or model.encoder)
    configuration = dataclasses.replace(
        configuration,
        requirements=config.complete_requirements(
            configuration.requirements, model, labelled=_labelled(splits)
        ),
    )
    for note in _doubts(configuration, model, splits):
        progress.say(note)
        splits = dataclasses.replace(splits, notes=(*splits.notes, note))
    _check_requirements(configuration, splits)
    runtime = registry.home_runtime(model.traits)
    baseline = Variant("baseline", model, Step(runtime.name), "fixed-batch" in model.traits)
    with watch.stage("profile"):
        progress.stage("profile")
        profile = profiling.profile(
            model,
            splits.fitting.rows,
            configuration.serving,
            work / "profile",
            _raw(splits),
            _sensing(splits, work),
        )
        starts, failed = _starts(model, splits, configuration, work)
        # A baseline that shows no layers is shown by those of its first conversion.
        shown = profile.layers or next((s.layers for s in starts if s.layers), ())
        profile = dataclasses.replace(profile, layers=shown)
    with watch.stage("plan"):
        failed = (*failed, *untrained(configuration))
        space = plan.plan(
            starts,
            profile,
            plan.Wishes(configuration.search, configuration.ranges, configuration.settings),
            failed,
        )
    return Prepared(configuration, model, splits, baseline, profile, starts, space, watch.seconds)


def _check_requirements(configuration: Configuration, splits: Splits) -> None:
    """Refuses what no certificate could say, before any time is spent on a search.

    Raises:
        UsageError: for a margin beyond every drop, a metric that has no test, or that needs labels
            that are not there.
    """
    for requirement in configuration.requirements:
        _check_margin(requirement)
    sealed = splits.certification
    if sealed is None:
        return
    config.check_gated_groups(configuration.requirements, sealed.group_sizes)
    _check_reported(configuration.report, labelled=sealed.labelled)
    for requirement in configuration.requirements:
        metric = registry.get("metrics", requirement.metric)
        if metric.kind == "reported_only":
            raise UsageError(
                f"`{metric.name}` can be reported, but no test certifies it (grade C); move it to "
                f'`report = ["{metric.name}"]`, and name another metric in `[[require]]` '
                f"(registered: {', '.join(registry.names('metrics'))})"
            )
        if requirement.require_grade == "A" and metric.kind != "binary":
            raise UsageError(
                f"`{metric.name}` can reach grade B at most, and `require_grade` asks for A: "
                'require a 0/1 metric such as `accuracy` or `agreement`, or set require_grade = "B"'
            )
        _check_weights(metric, weighted=sealed.weighted)
        if metric.needs_targets and not sealed.labelled:
            obstacle = labelling_obstacle(
                metric,
                labelled_selection=_labelled(splits),
                contexts=bool(configuration.contexts),
                looks=configuration.looks,
                report=configuration.report,
            )
            if obstacle:
                raise UsageError(obstacle)


def _check_margin(requirement: Requirement) -> None:
    """Refuses a margin that every model meets, as one that was meant in per cent."""
    metric = registry.get("metrics", requirement.metric)
    worst = 1.0 if metric.kind == "influence" else metric.high - metric.low
    if requirement.max_drop >= worst:
        raise UsageError(
            f"`max_drop` of `{metric.name}` is {requirement.max_drop:g}, and no drop is larger than "
            f"{worst:g}, so nothing would be asked. It is absolute: 0.01 of accuracy is one "
            "percentage point"
        )


def _check_weights(metric: QualityMetric, *, weighted: bool) -> None:
    """Refuses a metric that has no test for weighted rows."""
    if metric.kind == "influence" and weighted:
        raise UsageError(
            f"`{metric.name}` is no mean over rows, and no test here certifies it on weighted rows "
            "(grade C); leave `weight` out of `data`, or require a metric that is a mean, such as "
            "`accuracy` or `nll`"
        )


def _check_reported(names: tuple[str, ...], *, labelled: bool) -> None:
    """Refuses metrics that could not be shown beside the claims."""
    for name in names:
        if registry.get("metrics", name).needs_targets and not labelled:
            raise UsageError(
                f"`{name}` in `report` needs labels, and the sealed rows have none: name the "
                "column of the right answers with `target`, or leave it out"
            )


WIDE = 32
"""An output of as many floats may be an embedding as well as scores of classes."""


def _doubts(configuration: Configuration, model: Model, splits: Splits) -> Iterator[str]:
    """Says how a wide output was read where neither the user nor labels said it."""
    shape = next(spec.shape for spec in model.outputs if spec.name == model.prediction)
    width = shape[-1] if len(shape) == 2 else 0
    known = configuration.model.task or _labelled(splits) or model.encoder.labels
    if known or "onnx" not in model.traits or not isinstance(width, int) or width < WIDE:
        return
    others = {"embedding": "classification", "classification": "embedding"}
    if model.task in others:
        what = "an embedding" if model.task == "embedding" else "the scores of its classes"
        judged = " and ".join(r.metric for r in configuration.requirements)
        yield (
            f"The {width} values of output `{model.prediction}` were read as {what}, and quality "
            f"is judged by {judged}; if that is wrong, set `model.task` (--task) to "
            f'"{others[model.task]}".'
        )


def _raw(splits: Splits) -> Path | None:
    return Path(splits.raw) if splits.raw else None


def _sensing(splits: Splits, work: Path) -> profiling.Sensing | None:
    """Made-up rows tell nothing about what layers lose."""
    if splits.selection is None:
        return None
    return profiling.Sensing(splits.fitting, work / "artifacts" / applying.CACHE_FOLDER)


def _labelled(splits: Splits) -> bool:
    return splits.selection is not None and splits.selection.labels.targets is not None


def _starts(
    model: Model, splits: Splits, configuration: Configuration, work: Path
) -> tuple[tuple[plan.Start, ...], tuple[Refusal, ...]]:
    """Makes each chain of crossings between formats once: only its result tells its traits."""
    starts = [plan.Start((), model)]
    failed: list[Refusal] = []
    crossings = _crossings(configuration)
    # The list grows while it is read: what one crossing made is where the next one may begin.
    for start in starts:
        for name, technique in crossings.items():
            if name in start.techniques or not technique.requires <= start.model.traits:
                continue
            chain = (*start.techniques, name)
            steps = tuple(Step(n, configuration.settings.get(n, {})) for n in chain)
            recipe = Recipe(steps, Step(registry.home_runtime(technique.adds).name))
            try:
                made = applying.apply(
                    model, recipe, splits.fitting, work / "artifacts", configuration.serving
                )
                layers = profiling.layers(made.model, splits.fitting.rows, configuration.serving)
                starts.append(plan.Start(chain, made.model, layers))
            except (CandidateFailed, ModelError) as failure:
                failed.append(Refusal(name, str(failure)))
    return tuple(starts), tuple(failed)


def _crossings(configuration: Configuration) -> dict[str, Technique]:
    """The techniques that leave one format for another, if they and what runs it are wanted."""
    runtimes = {n: registry.get("runtimes", n) for n in registry.names("runtimes")}
    wanted = configuration.search.runtimes or tuple(runtimes)
    usable = {n for n in wanted if n in runtimes and not registry.hindrance(runtimes[n])}
    homes = {runtime.home for runtime in runtimes.values()}
    found: dict[str, Technique] = {}
    for name in configuration.search.techniques or registry.names("techniques"):
        technique = registry.get("techniques", name)
        if not technique.conversion or not technique.removes & homes:
            continue
        if not registry.hindrance(technique):
            found[name] = technique
    return {
        name: technique
        for name, technique in found.items()
        # What nothing here runs may still be a step on the way to another format.
        if any(runtimes[n].requires <= technique.adds | technique.requires for n in usable)
        or any(
            technique.adds & other.requires for other in found.values() if other is not technique
        )
    }
