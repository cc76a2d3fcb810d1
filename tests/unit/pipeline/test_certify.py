"""Certification of a real network on real digits: what it opens, ships, refuses and survives."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.certificate import Requirement
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.model import Artifact, Model
from jettison.domain.recipe import Step
from jettison.domain.record import digest, from_json, to_json
from jettison.domain.rows import Rows
from jettison.domain.splits import Labels
from jettison.errors import CheckFailed, ConfigError
from jettison.pipeline.certify import (
    CertificationRequest,
    Contender,
    certify,
    plan_certification,
    uncertified_certificate,
)
from jettison.trust.ledger import Ledger
from jettison.trust.outcomes import load_outcomes
from jettison.trust.seal import seal_rows

MakeRequest = Callable[..., CertificationRequest]


def test_a_harmless_copy_ships(make_request: MakeRequest) -> None:
    """The harmless copy is certified overall and by group; the ledger tells charge and result."""
    request = make_request(("harmless",))
    result = certify(request)
    certificate = result.certificate
    assert certificate.status == "certified", certificate.reason
    assert result.shipped == request.contenders[0].recipe
    groups = {claim.group: claim for claim in certificate.claims}
    assert set(groups) == {"overall", "kind=high", "kind=low"}
    assert {claim.verdict for claim in certificate.claims} == {"held"}
    assert groups["overall"].n == 1500
    assert groups["overall"].baseline is not None
    assert groups["overall"].baseline > 0.97
    assert groups["overall"].grade == "A"
    subject = certificate.subject
    assert subject is not None
    assert subject.artifact == request.contenders[0].variant.model.artifact.digest
    assert (subject.batch_size, subject.batch_policy) == (1, "batch size 1 only")
    assert certificate.config_digest == request.configuration_digest
    assert certificate.data_digest == request.certification.digest
    ledger = Ledger.at(request.ledger)
    entries = ledger.entries()
    assert [entry.kind for entry in entries] == ["look", "opened", "certificate"]
    assert certificate.ledger is not None
    assert certificate.ledger.entry == entries[0].digest
    assert entries[0].facts["order"] == certificate.order_digest
    assert entries[2].facts["digest"] == digest(certificate)
    assert certificate.assumptions
    # It outlives a crash of whatever comes next: the rows are spent.
    kept = (Path(request.folder) / "certificate.json").read_text()
    assert from_json(type(certificate), kept) == certificate


def test_the_outcomes_give_the_certificate_again(make_request: MakeRequest) -> None:
    """`outcomes.npz` holds the frozen order and every row's part."""
    result = certify(make_request(("harmless",)))
    assert result.outcomes is not None
    outcomes = load_outcomes(result.outcomes)
    assert outcomes.rules.digest == result.certificate.order_digest
    assert outcomes.n == 1500
    assert set(np.unique(outcomes.baseline["accuracy"])) == {0.0, 1.0}


def test_a_damaged_copy_does_not_ship(make_request: MakeRequest) -> None:
    """The order puts the harmless copy first, and the damaged one behind it is broken."""
    request = make_request(("harmless", "damaged"))
    plan = plan_certification(request)
    names = {c.recipe: c.title for c in request.contenders}
    assert names[plan.order[0].recipe] == "harmless"
    result = certify(request)
    assert names[result.shipped] == "harmless"
    alone = certify(make_request(("damaged",), rows=slice(3000, 4500)))
    assert alone.certificate.status == "failed"
    assert alone.shipped == ""
    assert alone.certificate.order[0].verdict == "broken"
    assert "above the margin" in alone.certificate.reason
    assert alone.certificate.subject is None


def test_the_second_certification_is_refused(make_request: MakeRequest) -> None:
    """The same rows, sealed again by another project, end uncertified with the way out."""
    certify(make_request(("damaged",)))
    again = make_request(("harmless",))
    plan = plan_certification(again)
    assert not plan.possible
    result = certify(again)
    assert result.certificate.status == "uncertified"
    assert "1,500 of the 1,500 sealed rows were spent" in result.certificate.reason
    assert result.outcomes is None
    overlapping = certify(make_request(("harmless",), rows=slice(1499, 2999)))
    assert "1 of the 1,500 sealed rows" in overlapping.certificate.reason


def test_a_certificate_without_its_bundle_is_taken_up(make_request: MakeRequest) -> None:
    """After a kill before the bundle the same request gives the same certificate, and spends nothing."""
    request = make_request(("harmless", "damaged"))
    first = certify(request)
    ledger = Ledger.at(request.ledger)
    before = ledger.entries()
    again = certify(request)
    assert (again.certificate, again.shipped) == (first.certificate, first.shipped)
    assert again.outcomes == first.outcomes
    assert ledger.entries() == before
    damaged = tuple(c for c in request.contenders if c.recipe != first.shipped)
    faster = dataclasses.replace(request.serving, threads=2)
    for other in (
        dataclasses.replace(request, configuration_digest="of another"),
        dataclasses.replace(request, contenders=damaged),
        dataclasses.replace(request, serving=faster),
    ):
        refused = certify(other)
        assert refused.certificate.status == "uncertified"
        assert "were spent by an earlier look" in refused.certificate.reason
    assert ledger.entries() == before


def test_a_certificate_is_taken_up_only_as_the_ledger_recorded_it(
    make_request: MakeRequest,
) -> None:
    """Neither a changed one, nor one that has its bundle."""
    request = make_request(("harmless",))
    certificate = certify(request).certificate
    assert certificate.ledger is not None
    path = Path(request.folder) / "certificate.json"
    good = path.read_text()
    path.write_text(to_json(dataclasses.replace(certificate, reason="better"), indent=2))
    assert certify(request).certificate.status == "uncertified"
    path.write_text(good)
    assert certify(request).certificate == certificate
    ledger = Ledger.at(request.ledger)
    ledger.record("bundle", certificate.ledger.entry, "b" * 64, "certified")
    assert certify(request).certificate.status == "uncertified"


def test_too_few_rows_stop_before_opening(make_request: MakeRequest) -> None:
    """A run that can't pass spends nothing, and says how many rows it would take."""
    request = make_request(("harmless",), rows=slice(0, 250))
    result = certify(request)
    assert result.certificate.status == "uncertified"
    assert "250 sealed rows are below the floor of 299" in result.certificate.reason
    assert "are needed" in result.certificate.reason
    assert not Ledger.at(request.ledger).exists


def test_a_group_of_three_rows_stops_before_opening(make_request: MakeRequest, digits: Any) -> None:
    """A gated group of 3 rows can't pass; with `ship_listed` it is named and the rest ships."""
    kinds = np.array(["small"] * 3 + ["large"] * 1497, dtype=object)
    labels = Labels(digits.targets[:1500], {"kind": kinds})
    request = make_request(("harmless",), labels=labels)
    closed = certify(request)
    assert closed.certificate.status == "uncertified"
    assert "kind=small: 3 sealed rows are below the floor of 99" in closed.certificate.reason
    assert "ship_listed" in closed.certificate.reason
    assert not Ledger.at(request.ledger).exists
    listed = certify(dataclasses.replace(request, on_undecided="ship_listed"))
    assert listed.certificate.status == "certified", listed.certificate.reason
    assert listed.certificate.reason == "listed as not certified: accuracy: kind=small"
    small = next(c for c in listed.certificate.claims if c.group == "kind=small")
    assert (small.verdict, small.gates) == ("undecided", False)


def test_nothing_cheaper_is_nothing_to_certify(make_request: MakeRequest) -> None:
    """Candidates that are not cheaper than the original never enter."""
    request = make_request(("harmless",))
    dear = dataclasses.replace(request.contenders[0], gain=1.0)
    result = certify(dataclasses.replace(request, contenders=(dear,)))
    assert "no candidate is cheaper" in result.certificate.reason
    assert not Ledger.at(request.ledger).exists


def test_agreement_is_certified_without_labels(make_request: MakeRequest) -> None:
    """Rows without labels certify agreement by the exact bound; accuracy they can't."""
    request = make_request(("harmless",), labels=Labels(None))
    assert "needs labels" in plan_certification(request).reason
    ones = request.baseline_contributions["accuracy"].replace("baseline.npy", "ones.npy")
    np.save(ones, np.ones(600))
    contender = dataclasses.replace(request.contenders[0], contributions={"agreement": ones})
    result = certify(
        dataclasses.replace(
            request,
            contenders=(contender,),
            baseline_contributions={"agreement": ones},
            requirements=(Requirement("agreement", 0.01, 0.03),),
        )
    )
    assert result.certificate.status == "certified", result.certificate.reason
    assert "exact binomial" in result.certificate.claims[0].method


def test_a_model_changed_after_measuring_is_found(
    make_request: MakeRequest, tmp_path: Path
) -> None:
    """A candidate's file that changed is found before the look is spent."""
    request = make_request(("harmless",))
    contender = request.contenders[0]
    model = contender.variant.model
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "model.onnx").write_bytes(model.artifact.path.read_bytes() + b"x")
    moved = dataclasses.replace(
        model, artifact=dataclasses.replace(model.artifact, folder=str(copy))
    )
    changed = dataclasses.replace(
        contender, variant=dataclasses.replace(contender.variant, model=moved)
    )
    with pytest.raises(CheckFailed, match="was changed after it was measured"):
        certify(dataclasses.replace(request, contenders=(changed,)))
    assert not Ledger.at(request.ledger).exists


def test_flipped_sealed_bytes_are_found_before_the_charge(make_request: MakeRequest) -> None:
    """Tampered labels are a failed check, and no look is spent on them."""
    request = make_request(("harmless",))
    path = Path(request.certification.folder) / "labels.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckFailed, match=r"labels\.npz"):
        certify(request)
    assert not Ledger.at(request.ledger).exists


def test_a_candidate_that_cannot_run_is_undecided(
    make_request: MakeRequest, tmp_path: Path
) -> None:
    """A model that the runtime can't load does not crash the opened certification."""
    request = make_request(("harmless",))
    contender = request.contenders[0]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"not a model")
    model = dataclasses.replace(
        contender.variant.model, artifact=Artifact.of("onnx_file", broken, ("model.onnx",))
    )
    unusable = dataclasses.replace(
        contender, variant=dataclasses.replace(contender.variant, model=model)
    )
    result = certify(dataclasses.replace(request, contenders=(unusable,)))
    assert result.certificate.status == "failed"
    assert "can't be scored on the sealed rows" in result.certificate.reason
    assert result.certificate.order[0].verdict == "undecided"


KILLED = """
import pickle, sys, time
from jettison.pipeline import certify as certifying

request = pickle.load(open(sys.argv[1], "rb"))

def hang(*arguments):
    print("opened", flush=True)
    time.sleep(600)

certifying.observe = hang
certifying.certify(request)
"""


def test_killed_with_the_seal_open_is_charged(make_request: MakeRequest, tmp_path: Path) -> None:
    """Kill -9 right after the seal opened: starting again does not give a second look."""
    request = make_request(("harmless",))
    (tmp_path / "request").write_bytes(pickle.dumps(request))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "request")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opened\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    result = certify(request)
    assert result.certificate.status == "uncertified"
    assert "were spent by an earlier look" in result.certificate.reason


def test_a_model_that_depends_on_its_batch_is_certified_alone(
    network: Model, dynamic_int8: Model, tmp_path: Path
) -> None:
    """Dynamic int8 ranges span the batch: found by running, certified at batch 1 only."""
    rng = np.random.default_rng(3)
    spread = np.geomspace(0.1, 3.0, 400)[:, None]
    values = (rng.normal(size=(400, 16)) * spread).astype(np.float32)
    (tmp_path / "rows").mkdir()
    np.save(tmp_path / "rows" / "x.npy", values)
    sealed = seal_rows(
        Rows(str(tmp_path / "rows"), ("x",), 400),
        Labels(None),
        [hashlib.sha256(row.tobytes()).hexdigest() for row in values],
        tmp_path / "sealed",
    )
    runtime = Step("onnx_runtime")
    request = CertificationRequest(
        baseline=Variant("baseline", network, runtime),
        baseline_contributions={},
        contenders=(Contender(Variant("r", dynamic_int8, runtime), "r", "int8", 2.0),),
        selection=None,
        certification=sealed,
        requirements=(Requirement("agreement", 0.2, 0.3),),
        configuration_digest="c",
        serving=ServingProfile((1, 8), (0.5, 0.5)),
        ledger=str(tmp_path / "ledger"),
        folder=str(tmp_path / "certify"),
    )
    certificate = certify(request).certificate
    assert certificate.status == "certified", certificate.reason
    assert certificate.subject is not None
    assert certificate.subject.batch_policy == "batch size 1 only"
    assert certificate.subject.batch_size == 1
    float_twin = dataclasses.replace(
        request,
        contenders=(Contender(Variant("f", network, runtime), "f", "float", 2.0),),
        ledger=str(tmp_path / "second ledger"),
    )
    subject = certify(float_twin).certificate.subject
    assert subject is not None
    assert (subject.batch_policy, subject.batch_size) == (
        "any batch size of the serving profile",
        8,
    )


def test_a_report_that_can_not_be_scored_costs_no_look(make_request: MakeRequest) -> None:
    """The area is undefined for ten classes: the claim says so, and the copy ships all the same."""
    certificate = certify(make_request(("harmless",), reported=("auc",))).certificate
    assert certificate.status == "certified", certificate.reason
    (shown,) = (claim for claim in certificate.claims if claim.metric == "auc")
    assert "could not be scored" in shown.reason


def test_embeddings_are_certified_by_cosine(
    make_network: Callable[..., Model], tmp_path: Path
) -> None:
    """A bounded mean against the original's vectors: itself holds, another network is broken."""
    values = np.random.default_rng(4).normal(size=(400, 16)).astype(np.float32)
    one, other = make_network(seed=0), make_network(seed=1)
    verdicts = {}
    for name, model in (("same", one), ("other", other)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", values)
        request = CertificationRequest(
            baseline=Variant("baseline", one, Step("onnx_runtime")),
            baseline_contributions={},
            contenders=(Contender(Variant(name, model, Step("onnx_runtime")), name, name, 2.0),),
            selection=None,
            certification=seal_rows(
                Rows(str(tmp_path / name), ("x",), 400),
                Labels(None),
                [hashlib.sha256(row.tobytes()).hexdigest() for row in values],
                tmp_path / f"sealed {name}",
            ),
            requirements=(Requirement("cosine", 0.05, 0.1),),
            configuration_digest="c",
            serving=ServingProfile((1, 8), (0.5, 0.5)),
            ledger=str(tmp_path / f"ledger of {name}"),
            folder=str(tmp_path / "certify"),
        )
        claim = certify(request).certificate.order[0].claims[0]
        verdicts[name] = claim.verdict
        assert claim.grade == "B"
    assert verdicts == {"same": "held", "other": "broken"}


def test_rows_of_one_unit_are_judged_together(make_request: MakeRequest, digits: Any) -> None:
    """Three rows a unit: 500 units are judged as means at grade B, groups by their own units."""
    targets = digits.targets[:1500]
    units = np.array([f"writer {i // 3}" for i in range(1500)], dtype=object)
    kinds = np.where(targets < 5, "low", "high").astype(object)
    request = make_request(("harmless",), labels=Labels(targets, {"kind": kinds}, units))
    assert (request.certification.units, request.certification.n) == (500, 1500)
    certificate = certify(request).certificate
    assert certificate.status == "certified", certificate.reason
    claims = {claim.group: claim for claim in certificate.claims}
    assert (claims["overall"].n, claims["overall"].grade) == (500, "B")
    assert claims["kind=low"].n == request.certification.group_units["kind=low"]
    strict = (Requirement("accuracy", 0.01, 0.03, require_grade="A"),)
    plan = plan_certification(dataclasses.replace(request, requirements=strict))
    assert "grade A is required" in plan.reason


def test_requirements_must_be_clear(make_request: MakeRequest) -> None:
    """No requirement, or one metric twice, is a mistake in what was asked."""
    request = make_request(("harmless",))
    one = Requirement("accuracy", 0.01, 0.03)
    for wrong in ((), (one, dataclasses.replace(one, max_drop=0.5))):
        with pytest.raises(ConfigError, match=r"\[\[require\]\]|empty"):
            plan_certification(dataclasses.replace(request, requirements=wrong))


def test_an_uncertified_certificate_says_why() -> None:
    """It round-trips, claims nothing and names no look."""
    certificate = uncertified_certificate("there is no data", "c", "d")
    assert from_json(type(certificate), to_json(certificate)) == certificate
    assert (certificate.status, certificate.claims, certificate.ledger) == ("uncertified", (), None)
