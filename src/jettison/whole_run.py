"""From what was prepared to a bundle: search, time, certify, emit."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from pathlib import Path

from jettison import config, registry
from jettison.assessment.labelled_run import Labelling, conclude_labelling, taken_up
from jettison.domain.bundle import Bundle
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration
from jettison.domain.files import write_atomically
from jettison.domain.measurement import OVERALL, Measurement
from jettison.domain.progress import Journal, Progress
from jettison.domain.record import digest, to_json
from jettison.domain.rows import Rows
from jettison.domain.run import DataSummary, RunRecord
from jettison.domain.splits import Splits
from jettison.errors import CheckFailed
from jettison.pipeline import emit, measure
from jettison.pipeline.certify import (
    CertificationPlan,
    CertificationRequest,
    CertificationResult,
    plan_certification,
    uncertified_certificate,
)
from jettison.pipeline.certify import certify as certifying
from jettison.preparation import LOG, Prepared, Stopwatch
from jettison.reporting import html_report
from jettison.reporting.terminal import certification_plan
from jettison.search import shortlist as shortlisting
from jettison.search.conclusion import Facts, Finalist, conclude
from jettison.search.finalists import OTHERS, Timed, time_finalists
from jettison.search.loop import SearchResult, Watch, search
from jettison.search.trial import SANITY_ROWS, Bench
from jettison.trust.audit import AUDIT
from jettison.trust.audit_record import RunAudit, open_trail
from jettison.trust.labelling import (
    PENDING,
    UNLABELLED,
    Pending,
    as_labelled,
    awaits_labels,
    save_pending,
)
from jettison.trust.privacy.statement import privacy_notes
from jettison.trust.wording import TAKEN_UP


def run(prepared: Prepared, progress: Progress, *, certify: bool = True) -> RunRecord:
    """Searches, times the finalists, certifies, and writes bundle and report.

    Args:
        prepared: what `prepare` gave.
        progress: told about each stage.
        certify: `False` keeps the seal closed; the bundle is then `uncertified`.
    """
    watch = Stopwatch(prepared.stage_seconds)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    folder = Path(prepared.configuration.output)
    work = folder / "work"
    progress = Journal(progress, folder / LOG)
    audit = RunAudit(open_trail(prepared.configuration))
    audit.started(prepared.configuration, prepared.profile)
    audit.prepared(prepared.model, prepared.splits, prepared.space)
    with watch.stage("baseline"):
        progress.stage("baseline")
        bench = _bench(prepared, work)
        configuration = dataclasses.replace(prepared.configuration, requirements=bench.requirements)
    audit.required(configuration)
    with watch.stage("search"):
        identity = _identity(prepared)
        witness = Watch(progress, audit.tried)
        found = search(bench, prepared.space, configuration.search, identity, witness)
        progress.say(f"The search ended: {found.ended}.")
        audit.searched(found.trials, found.front, found.ended)
    with watch.stage("time finalists"):
        request = _request(bench, found, prepared.splits, configuration)
        timed = _timed(bench, found, request, configuration, progress)
    told = shortlisting.told(request, timed.finalists, bench.costs[0])
    audit.shortlisted(told, opens=certify)
    with watch.stage("certify"):
        result = _certified(request, timed, found, progress, bench, certify=certify)
    audit.certified(result.certificate)
    facts = Facts(
        cost=configuration.search.minimise[0],
        trials=len(found.trials),
        finalists=timed.finalists,
        certificate=result.certificate,
        shipped=result.shipped,
        interrupted=found.interrupted,
        noisy=timed.noisy,
    )
    conclusion = conclude(facts)
    record = RunRecord(
        outcome=conclusion.outcome,
        answer=conclusion.answer,
        next_step=conclusion.next_step,
        configuration=configuration,
        model=prepared.model,
        profile=prepared.profile,
        space=prepared.space,
        data=_summary(prepared.splits, configuration),
        baseline=_with_quality(timed.measurements["baseline"], bench),
        trials=found.trials,
        claims=timed.measurements,
        front=found.front,
        shipped=conclusion.shipped,
        certificate=result.certificate,
        noise_floor=timed.noise_floor,
        stage_seconds=dict(watch.seconds),
        command=_command(configuration),
        started=started,
        notes=(*prepared.splits.notes, *privacy_notes(found.trials, conclusion.shipped)),
    )
    with watch.stage("emit"):
        progress.stage("emit")
        audit.concluded(record.outcome, record.answer, record.shipped)
        bundle = _write(record, result.outcomes, bench.fitting.rows, progress)
        if bundle is not None:
            audit.emitted(bundle)
    return dataclasses.replace(record, stage_seconds=dict(watch.seconds))


def certify_labelled(labelling: Labelling, answers: Path, progress: Progress) -> RunRecord:
    """Makes the certificate from a person's answers, and writes record, report and bundle anew.

    One that waits for its bundle is taken up, whatever the answers.

    Raises:
        DataError: for answers that are incomplete, unknown or doubled.
        SealRefused: if the certificate was made already.
        CheckFailed: if anything was changed since the look, or the audit trail is broken.
        UsageError: if the bundle has no place.
    """
    old, pending = labelling.record, labelling.pending
    audit = RunAudit(open_trail(old.configuration))
    # The certificate is made once, so whatever would stop its bundle must show before.
    audit.trail.check()
    emit.check_place(Path(old.configuration.output) / emit.RELEASE)
    finalists = _finalists(old, pending)
    result = taken_up(labelling)
    if result is not None:
        progress.say(TAKEN_UP)
    else:
        result = conclude_labelling(labelling, answers)
    audit.certified(result.certificate)
    facts = Facts(
        cost=old.configuration.search.minimise[0],
        trials=len(old.trials),
        finalists=finalists,
        certificate=result.certificate,
        shipped=result.shipped,
        interrupted=False,
        noisy=False,
    )
    conclusion = conclude(facts)
    record = dataclasses.replace(
        old,
        outcome=conclusion.outcome,
        answer=conclusion.answer,
        next_step=conclusion.next_step,
        shipped=conclusion.shipped,
        certificate=result.certificate,
        notes=_notes_anew(old, conclusion.shipped),
    )
    audit.concluded(record.outcome, record.answer, record.shipped)
    bundle = _write(record, result.outcomes, pending.fitting, progress)
    if bundle is not None:
        audit.emitted(bundle)
    return record


def _finalists(record: RunRecord, pending: Pending) -> list[Finalist]:
    """What the order tests, with its timing; only what was faster was put in the order.

    Raises:
        CheckFailed: if the record lacks one of them.
    """
    finalists = []
    for place in pending.plan.order:
        trial, claim = record.trial_of(place.recipe), record.claims.get(place.recipe)
        if trial is None or claim is None:
            raise CheckFailed(
                f"run.json does not hold the timing of {place.recipe[:12]}, which waits to be "
                "certified: it is of another run, or was changed; run `jettison optimize` again"
            )
        finalists.append(Finalist(trial, claim, "faster"))
    return finalists


def _notes_anew(old: RunRecord, shipped: str) -> tuple[str, ...]:
    """Notes of a run, with those on private training about what ships now."""
    before = privacy_notes(old.trials, old.shipped)
    kept = (note for note in old.notes if note not in before)
    return (*kept, *privacy_notes(old.trials, shipped))


def _bench(prepared: Prepared, work: Path) -> Bench:
    """Scores the untouched model once on the rows that the search may see."""
    configuration = prepared.configuration
    fitting = prepared.splits.fitting
    selection = prepared.splits.selection
    few = dataclasses.replace(fitting.rows, n=min(SANITY_ROWS, fitting.rows.n))
    serving = configuration.serving
    quality = None
    with measure.Sessions(fitting.rows, serving, work / "workers") as workers:
        sane = measure.score_rows(prepared.baseline, few, workers, work / "baseline/sanity")
        if selection is not None:
            metrics = tuple(r.metric for r in configuration.requirements)
            quality = measure.reference_quality(
                prepared.baseline, selection, metrics, workers, work / "baseline/selection"
            )
    return Bench(
        model=prepared.model,
        baseline=prepared.baseline,
        fitting=fitting,
        selection=selection,
        quality=quality,
        sanity_reference=sane,
        costs=configuration.search.minimise,
        requirements=_requirements(configuration, quality),
        serving=serving,
        device=prepared.profile.device,
        folder=work,
    )


def _requirements(
    configuration: Configuration, quality: measure.QualityResult | None
) -> tuple[Requirement, ...]:
    """Margins as numbers: a relative one is a share of the original's value on selection rows."""
    values = {e.metric: e.value for e in quality.estimates if e.group == OVERALL} if quality else {}
    return tuple(
        config.resolve_relative(
            r,
            values.get(r.metric) or 0.0,
            logarithmic=getattr(registry.get("metrics", r.metric), "logarithmic", False),
        )
        if quality
        else r
        for r in configuration.requirements
    )


def _identity(prepared: Prepared) -> dict[str, str]:
    """Digests of everything that a stored trial depends on; limits may change, inputs may not."""
    configuration = prepared.configuration
    return {
        "model": prepared.model.artifact.digest,
        "prediction": f"{prepared.model.prediction} ({prepared.model.task})",
        "data": prepared.splits.digest,
        # Not the advice: its figures are measured anew, and differ a little each time.
        "search space": digest(dataclasses.replace(prepared.space, advice=(), refused=())),
        "serving profile": digest(configuration.serving),
        "costs": ",".join(configuration.search.minimise),
        "metrics": ",".join(r.metric for r in configuration.requirements),
        # A trial that lost clearly more than the margin was stopped: under a wider one it would miss.
        "margin": ",".join(
            f"{r.max_drop_relative or r.max_drop:g}" for r in configuration.requirements
        ),
        "machine": prepared.profile.device.cpu_class,
    }


def _request(
    bench: Bench, found: SearchResult, splits: Splits, configuration: Configuration
) -> CertificationRequest | None:
    if splits.certification is None:
        return None
    return shortlisting.request_of(bench, found.trials, splits.certification, configuration)


def _timed(
    bench: Bench,
    found: SearchResult,
    request: CertificationRequest | None,
    configuration: Configuration,
    progress: Progress,
) -> Timed:
    """Times the shortlist and what may be as fast; an interrupted search times the baseline alone."""
    by_name = {t.recipe.digest: t for t in found.trials}
    order: list[str] = []
    others: list[str] = []
    if request is not None and not found.interrupted:
        order = shortlisting.order_of(request)
        others = shortlisting.near(request, order)[:OTHERS]
    elif not found.interrupted:
        gains = shortlisting.cheaper(bench, found.trials)
        order = sorted(gains, key=lambda name: -gains[name][1])[: configuration.search.shortlist]
    tested = [*order, *others]
    front = [] if found.interrupted else [name for name in found.front if name not in tested]
    first = [by_name[name] for name in tested]
    told = [by_name[name] for name in front[: OTHERS - len(others)]]
    return time_finalists(bench, first, told, configuration.search.max_minutes, progress)


def _certified(
    request: CertificationRequest | None,
    timed: Timed,
    found: SearchResult,
    progress: Progress,
    bench: Bench,
    *,
    certify: bool,
) -> CertificationResult:
    """Opens the seal for candidates that are really faster; says why where it stays closed."""
    # What an earlier run in this folder left to be labelled is not about this one.
    (bench.folder / "certify" / PENDING).unlink(missing_ok=True)
    gains = shortlisting.faster(timed.finalists, bench.costs[0])
    order = shortlisting.testing(request, gains)
    if found.interrupted or not order:
        reason = "the search was interrupted" if found.interrupted else "no candidate is faster"
        return _closed(reason, "", request)
    if request is None:
        return _closed("there is no data to certify it on", order[0], None)
    asked = shortlisting.measured(request, gains)
    if awaits_labels(asked):
        planned = plan_certification(as_labelled(asked))
        progress.show(certification_plan(planned.parts))
        if not planned.possible:
            return _closed(planned.reason, order[0], asked)
        save_pending(asked, planned, bench.fitting.rows)
        return _closed(UNLABELLED, planned.order[0].recipe, asked)
    if not certify:
        return _closed("you asked to keep the seal closed (--no-certify)", order[0], asked)
    planned = plan_certification(asked)
    progress.show(certification_plan(planned.parts))
    progress.stage("certify")
    result = certifying(asked)
    if not planned.possible and result.certificate.status == "certified":
        progress.say(TAKEN_UP)
    if result.certificate.status == "uncertified":
        return dataclasses.replace(result, shipped=planned.order[0].recipe if planned.order else "")
    return result


def _closed(reason: str, shipped: str, request: CertificationRequest | None) -> CertificationResult:
    certificate = uncertified_certificate(
        reason,
        request.configuration_digest if request is not None else "",
        request.certification.digest if request is not None else "",
    )
    return CertificationResult(
        certificate, None, shipped, CertificationPlan((), (), possible=False, reason=reason)
    )


def _summary(splits: Splits, configuration: Configuration) -> DataSummary | None:
    if splits.selection is None or splits.certification is None:
        return None
    section = configuration.data
    return DataSummary(
        source=section.source or section.certification or "rows given in Python",
        rows={
            "fitting": splits.fitting.rows.n,
            "selection": int(splits.selection.labels.as_they_came(splits.selection.rows.n).sum()),
            "certification": splits.certification.n,
        },
        group_sizes=splits.certification.group_sizes,
        duplicates=splits.duplicates,
        digest=splits.digest,
        notes=splits.notes,
    )


def _with_quality(claim: Measurement, bench: Bench) -> Measurement:
    """The baseline's costs and its quality on the selection rows in one record."""
    quality = bench.quality.estimates if bench.quality is not None else ()
    return dataclasses.replace(claim, estimates=(*claim.estimates, *quality))


def _command(configuration: Configuration) -> str:
    return shlex.join(["jettison", "optimize", str(Path(configuration.output) / "jettison.toml")])


def _write(
    record: RunRecord, outcomes: Path | None, probes: Rows, progress: Progress
) -> Bundle | None:
    """Writes configuration, record and report of the run, and the bundle if something ships."""
    folder = Path(record.configuration.output)
    there = config.seen_from(record.configuration, folder)
    write_atomically(folder / "jettison.toml", config.render_configuration(there))
    write_atomically(folder / "run.json", to_json(record, indent=1))
    write_atomically(folder / "report.html", html_report.render_report(record))
    trial = record.trial_of(record.shipped)
    if trial is None or trial.candidate is None:
        return None
    cargo = emit.Cargo(trial.candidate, probes, outcomes, folder / LOG, folder / AUDIT)
    bundle = emit.emit(record, cargo, folder / emit.RELEASE, record.configuration.ledger)
    progress.say(f"bundle: {bundle.folder}\nits name (digest): {bundle.manifest.digest}")
    return bundle
