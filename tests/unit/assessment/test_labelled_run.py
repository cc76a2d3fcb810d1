"""A run that waits for labels: one look, blind rows, answers once, the claims of full labelling."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison import machine, whole_run
from jettison.assessment import labelled_run
from jettison.assessment.label_files import write_answers
from jettison.assessment.labelled_run import Labelling, conclude_labelling, open_labelling
from jettison.domain.certificate import Certificate, Requirement
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import Measurement
from jettison.domain.model import Artifact
from jettison.domain.profile import Profile
from jettison.domain.progress import Silent
from jettison.domain.recipe import Candidate, Recipe, SearchSpace, Step
from jettison.domain.record import digest, to_json
from jettison.domain.run import RunRecord, Trial
from jettison.errors import CheckFailed, DataError, SealRefused, UsageError
from jettison.pipeline.certify import (
    CertificationRequest,
    Contender,
    certify,
    plan_certification,
    uncertified_certificate,
)
from jettison.pipeline.load import load_model
from jettison.pipeline.split import load_data
from jettison.trust.audit import AUDIT, read_trail
from jettison.trust.labelling import UNLABELLED, as_labelled, save_pending
from jettison.trust.ledger import Ledger
from jettison.whole_run import certify_labelled

RUNTIME, SERVING = Step("onnx_runtime"), ServingProfile((1,), (1.0,), threads=1)
ROWS, SEALED = 1000, slice(300, 1000)


def write_model(path: Path, weights: np.ndarray) -> None:
    """One layer of three classes."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def rounded_to(weights: np.ndarray, step: float) -> np.ndarray:
    """Weights in whole steps; a step of 0 leaves them as they are."""
    return weights if step == 0 else (np.round(weights / step) * step).astype(np.float32)


class Waiting:
    """A run folder whose certification rows have labels or not, and its truth."""

    def __init__(self, place: Path, *, labelled: bool, step: float = 0.5) -> None:
        rng = np.random.default_rng(0)
        weights = rng.normal(size=(8, 3)).astype(np.float32)
        write_model(place / "model.onnx", weights)
        x = rng.normal(size=(ROWS, 8)).astype(np.float32)
        noise = rng.normal(0, 0.5, (ROWS, 3))
        label = (x @ weights + noise).argmax(axis=1)
        site = np.where(np.arange(ROWS) % 2 == 0, "north", "south")
        parts = {"fitting": slice(0, 50), "selection": slice(50, 300), "certification": SEALED}
        for name, rows in parts.items():
            known = {} if name == "certification" and not labelled else {"label": label[rows]}
            np.savez(place / f"{name}.npz", x=x[rows], site=site[rows], **known)
        self.truth, self.run = label[SEALED], place / "run"
        work = self.run / "work"
        files = {name: str(place / f"{name}.npz") for name in parts}
        data = DataSection(inputs=("x",), target="label", groups=("site",), **files)
        section = ModelSection(str(place / "model.onnx"), "classification")
        model = load_model(section, work / "model")
        self.splits = load_data(data, model, work / "data")
        (work / "rounded").mkdir()
        write_model(work / "rounded" / "model.onnx", rounded_to(weights, step))
        artifact = Artifact.of("onnx_file", work / "rounded", ("model.onnx",))
        rounded = dataclasses.replace(model, artifact=artifact)
        recipe = Recipe((Step("round"),), RUNTIME)
        asked = (Requirement("accuracy", 0.3, 0.3),)
        configuration = Configuration(
            section,
            data,
            serving=SERVING,
            requirements=asked,
            output=str(self.run),
            ledger=str(place / "ledger"),
        )
        assert self.splits.certification is not None
        contender = Contender(
            Variant(recipe.digest, rounded, RUNTIME), recipe.digest, "rounded", 2.0
        )
        self.request = CertificationRequest(
            Variant("baseline", model, RUNTIME),
            {},
            (contender,),
            None,
            self.splits.certification,
            asked,
            digest(configuration),
            SERVING,
            configuration.ledger,
            str(work / "certify"),
        )
        device = machine.describe_device()
        measured = Measurement(recipe.digest, "claim", (), device)
        record = RunRecord(
            "undecided",
            "It waits.",
            "",
            configuration,
            model,
            Profile(device, SERVING, (), (), 1e9, 0.02, 1),
            SearchSpace((), {}, {}, (), ()),
            None,
            measured,
            (Trial(0, recipe, "complete", "", Candidate(recipe, rounded, ()), measured, 1.0),),
            {recipe.digest: measured},
            (recipe.digest,),
            recipe.digest,
            uncertified_certificate(UNLABELLED),
            0.02,
            {},
            "jettison optimize",
            "2026-01-01T00:00:00+00:00",
        )
        (self.run / "run.json").write_text(to_json(record))

    def open(self) -> Labelling:
        """What waits, with the plan frozen first."""
        if not (Path(self.request.folder) / "pending.json").exists():
            plan = plan_certification(as_labelled(self.request))
            assert plan.possible, plan.reason
            save_pending(self.request, plan, self.splits.fitting.rows)
        return open_labelling(self.run, Silent())

    def answered(self, labelling: Labelling) -> Path:
        """The right answers, in a file."""
        path = self.run / "answers.csv"
        write_answers({t.row: str(self.truth[t.row]) for t in labelling.tasks}, path)
        return path


def blind(certificate: Certificate) -> list[str]:
    """Claims without each model's own accuracy, which few labels can't tell."""
    return [
        to_json(dataclasses.replace(c, baseline=None, candidate=None)) for c in certificate.claims
    ]


def test_few_labels_give_the_claims_of_all(tmp_path: Path) -> None:
    """From the user's files to the certificate, byte for byte."""
    (tmp_path / "few").mkdir()
    (tmp_path / "full").mkdir()
    few = Waiting(tmp_path / "few", labelled=False)
    labelling = few.open()
    assert 0 < len(labelling.tasks) < 350
    assert labelling.classes == ("0", "1", "2")
    assert set(labelling.tasks[0].values) == {"x"}
    result = conclude_labelling(labelling, few.answered(labelling))
    full = certify(Waiting(tmp_path / "full", labelled=True).request)
    assert result.certificate.status == "certified"
    assert blind(result.certificate) == blind(full.certificate)
    assert f"labelled {len(labelling.tasks)} of the" in result.certificate.assumptions[-1]


def test_one_look_and_one_answer(tmp_path: Path) -> None:
    """Asking again opens nothing; answers that can't be used spend nothing; a second is refused."""
    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    again = waiting.open()
    assert [t.row for t in again.tasks] == [t.row for t in labelling.tasks]
    ledger = Ledger.at(waiting.request.ledger)
    (looked,) = read_trail(waiting.run / AUDIT)
    assert (looked.kind, looked.facts["entry"]) == ("looked", ledger.entries()[0].digest)
    assert [e.kind for e in ledger.entries()] == ["look", "opened", "asked"]
    path = waiting.answered(labelling)
    good = path.read_text()
    path.write_text(good.replace(",0\n", ",7\n"))
    with pytest.raises(DataError, match="'7'"):
        conclude_labelling(labelling, path)
    path.write_text(good[: len(good) // 2])
    with pytest.raises(DataError, match="without a label"):
        conclude_labelling(labelling, path)
    path.write_text(good)
    conclude_labelling(labelling, path)
    with pytest.raises(SealRefused, match="have their certificate already"):
        conclude_labelling(labelling, path)


def test_what_was_kept_can_not_be_changed(tmp_path: Path) -> None:
    """Neither the outputs of the look nor the list of rows that need a label."""
    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    path = waiting.answered(labelling)
    fewer = dataclasses.replace(labelling.asked, wanted=labelling.asked.wanted[:-1])
    with pytest.raises(CheckFailed, match="recorded something else"):
        conclude_labelling(
            dataclasses.replace(labelling, asked=fewer, tasks=labelling.tasks[:-1]),
            _without_last(path),
        )
    kept = next(Path(waiting.request.folder, "label", "baseline").glob("*.npy"))
    np.save(kept, np.zeros((700, 3), dtype=np.float32))
    with pytest.raises(CheckFailed, match="were changed after the look"):
        conclude_labelling(labelling, waiting.answered(labelling))


def _without_last(path: Path) -> Path:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return path


def test_a_moved_run_is_refused_before_the_look(tmp_path: Path) -> None:
    """Its paths lead elsewhere; nothing is charged."""
    waiting = Waiting(tmp_path, labelled=False)
    moved = tmp_path / "moved"
    waiting.run.rename(moved)
    with pytest.raises(UsageError, match="don't move a run"):
        open_labelling(moved, Silent())
    assert not Ledger.at(waiting.request.ledger).exists


def test_models_that_never_differ_need_no_answers(tmp_path: Path) -> None:
    """A copy of the original is certified without a file of answers."""
    waiting = Waiting(tmp_path, labelled=False, step=0)
    labelling = waiting.open()
    assert labelling.tasks == ()
    result = conclude_labelling(labelling, waiting.run / "no such file.csv")
    assert result.certificate.status == "certified"
    assert "No sealed row needed a label" in result.certificate.assumptions[-1]


def test_a_broken_trail_spends_no_look(tmp_path: Path) -> None:
    """What could not be told afterwards is not begun."""
    waiting = Waiting(tmp_path, labelled=False)
    (waiting.run / AUDIT).write_text("{}\n")
    with pytest.raises(CheckFailed, match="line 1"):
        waiting.open()
    assert not Ledger.at(waiting.request.ledger).exists


def test_what_was_not_timed_is_refused_before_the_ledger(tmp_path: Path) -> None:
    """A record of another run in the same folder makes no certificate."""
    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    answers = waiting.answered(labelling)
    kinds = [e.kind for e in Ledger.at(waiting.request.ledger).entries()]
    other = dataclasses.replace(labelling, record=dataclasses.replace(labelling.record, claims={}))
    with pytest.raises(CheckFailed, match="does not hold the timing"):
        certify_labelled(other, answers, Silent())
    assert [e.kind for e in Ledger.at(waiting.request.ledger).entries()] == kinds


def test_notes_on_privacy_are_about_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to ship before the labels came may be another model."""
    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    answers = waiting.answered(labelling)
    monkeypatch.setattr(whole_run, "privacy_notes", lambda trials, name: (f"private: {name}",))
    monkeypatch.setattr(whole_run, "_write", lambda *given: None)
    notes = ("a row was left out", "private: other")
    old = dataclasses.replace(labelling.record, shipped="other", notes=notes)
    made = certify_labelled(dataclasses.replace(labelling, record=old), answers, Silent())
    assert made.shipped
    assert made.notes == ("a row was left out", f"private: {made.shipped}")


def test_a_certificate_that_was_left_without_a_bundle_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the bundle, the same command finishes it; with a bundle there is nothing to take up."""

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    answers = waiting.answered(labelling)
    monkeypatch.setattr(whole_run, "privacy_notes", lambda trials, name: ())
    with monkeypatch.context() as patched:
        patched.setattr(whole_run, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            certify_labelled(labelling, answers, Silent())
    ledger = Ledger.at(waiting.request.ledger)
    before = ledger.entries()
    monkeypatch.setattr(whole_run, "_write", lambda *given: None)
    made = certify_labelled(waiting.open(), tmp_path / "no such file.csv", Silent())
    assert made.certificate.status == "certified"
    assert ledger.entries() == before
    assert [e.kind for e in read_trail(waiting.run / AUDIT)].count("looked") == 1
    ledger.record("bundle", before[0].digest, "b" * 64, "certified")
    with pytest.raises(SealRefused, match="have their certificate already"):
        certify_labelled(labelling, answers, Silent())


def test_what_waited_in_the_folder_waits_no_longer(tmp_path: Path) -> None:
    """A second run that finds nothing faster leaves nothing to label."""
    waiting = Waiting(tmp_path, labelled=False)
    waiting.open()
    pending = Path(waiting.request.folder) / "pending.json"
    assert pending.exists()
    nothing: Any = SimpleNamespace(finalists=(), interrupted=False)
    bench: Any = SimpleNamespace(folder=waiting.run / "work", costs=("latency_ms",))
    made = whole_run._certified(waiting.request, nothing, nothing, Silent(), bench, certify=True)
    assert made.certificate.status == "uncertified"
    assert not pending.exists()


def test_nothing_is_concluded_that_can_not_ship(tmp_path: Path) -> None:
    """A broken trail, or a folder of somebody else's where the bundle goes, stops before the ledger."""
    waiting = Waiting(tmp_path, labelled=False)
    labelling = waiting.open()
    answers = waiting.answered(labelling)
    kinds = [e.kind for e in Ledger.at(waiting.request.ledger).entries()]
    (waiting.run / "release").mkdir()
    (waiting.run / "release" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a jettison bundle"):
        certify_labelled(labelling, answers, Silent())
    (waiting.run / AUDIT).write_text("{}\n")
    with pytest.raises(CheckFailed, match="line 1"):
        certify_labelled(labelling, answers, Silent())
    assert [e.kind for e in Ledger.at(waiting.request.ledger).entries()] == kinds


def test_the_columns_of_an_intersection_are_not_shown() -> None:
    """Who labels sees neither column of `sex & site`, though no group is called by either name."""
    table = SimpleNamespace(columns=dict.fromkeys(("x", "z", "sex", "site", "label")))
    section = DataSection(target="label", groups=("sex & site",))
    record = SimpleNamespace(model=SimpleNamespace(encoder=SimpleNamespace(settings={})))
    raw = SimpleNamespace(table=table)
    assert labelled_run._columns(record, raw, section) == ("x", "z")  # type: ignore[arg-type]
