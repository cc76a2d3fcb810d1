"""Labels for the rows that differ give the certificate of labels for all rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.certificate import Certificate, Requirement
from jettison.domain.record import to_json
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.pipeline.certify import (
    CertificationRequest,
    CertificationResult,
    certify,
    charge_look,
    conclude_look,
    plan_certification,
)
from jettison.trust.labelling import as_labelled, awaits_labels, rows_to_label
from jettison.trust.observing import observe, run_on_sealed
from jettison.trust.outcomes import load_outcomes
from jettison.trust.seal import open_seal

MakeRequest = Callable[..., CertificationRequest]


def blind(certificate: Certificate) -> list[str]:
    """Claims without the two values that only labels for all rows can tell."""
    return [
        to_json(
            dataclasses.replace(
                one,
                claims=tuple(
                    dataclasses.replace(c, baseline=None, candidate=None) for c in one.claims
                ),
            )
        )
        for one in certificate.order
    ]


def labelled_later(
    request: CertificationRequest, targets: Array, place: Path
) -> tuple[CertificationResult, Array]:
    """Certifies rows without targets; gives the result and which rows a person labelled."""
    assert awaits_labels(request)
    asked = as_labelled(request)
    plan = plan_certification(asked)
    assert plan.possible, plan.reason
    rules, look = charge_look(asked, plan)
    rows, known = open_seal(request.certification, look)
    kept: dict[str, tuple[Mapping[str, Array], bool]] = {}
    for variant in (request.baseline, *(c.variant for c in request.contenders)):
        outputs, alone = run_on_sealed(request, rows, variant, place)
        kept[variant.name] = ({n: np.array(v) for n, v in outputs.items()}, alone)
    answers = {c.recipe: kept[c.recipe][0] for c in request.contenders}
    matters = rows_to_label(request, kept["baseline"][0], answers, rows.n)
    # What a person did not say is a class that is surely wrong: it must not matter.
    said = np.where(matters, targets, (targets + 1) % 10)
    labels = dataclasses.replace(known, targets=said)
    outcomes, alone_by = observe(asked, rules, rows, labels, lambda variant: kept[variant.name])
    outcomes = dataclasses.replace(outcomes, unlabelled=~matters)
    return conclude_look(asked, plan, look, outcomes, alone_by), matters


@pytest.mark.parametrize("names", [("harmless",), ("harmless", "damaged"), ("damaged",)])
def test_the_claims_are_those_of_full_labelling(
    make_request: MakeRequest, digits: Any, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Byte for byte, whether a candidate is held or broken, though few rows were labelled."""
    targets = digits.targets[:1500]
    kinds = {"kind": np.where(targets < 5, "low", "high").astype(object)}
    full = certify(make_request(names, ledger=str(tmp_path / "full")))
    request = make_request(
        names,
        labels=Labels(None, kinds),
        ledger=str(tmp_path / "few"),
        folder=str(tmp_path / "few-certify"),
    )
    few, matters = labelled_later(request, targets, tmp_path)
    assert blind(few.certificate) == blind(full.certificate)
    assert (few.certificate.status, few.shipped) == (full.certificate.status, full.shipped)
    assert matters.sum() < 1500
    assert (matters.sum() > 0) == ("damaged" in names)
    whole = few.certificate.order[0].claims[0]
    assert whole.verdict == ("broken" if names == ("damaged",) else "held")
    assert (whole.baseline, whole.candidate) == (None, None)
    assert few.outcomes is not None
    stored = load_outcomes(few.outcomes).unlabelled
    assert stored is not None
    np.testing.assert_array_equal(stored, ~matters)


def test_units_and_weights_change_nothing_about_it(
    make_request: MakeRequest, digits: Any, tmp_path: Path
) -> None:
    """The test over unit means (grade B) sees the same differences."""
    targets = digits.targets[:1500]
    units = np.array([f"u{i // 3}" for i in range(1500)])
    weights = np.linspace(0.5, 1.5, 1500)
    asked = (Requirement("accuracy", 0.97, 0.97),)
    full = certify(
        make_request(
            ("damaged",),
            labels=Labels(targets, {}, units, weights),
            requirements=asked,
            ledger=str(tmp_path / "full"),
        )
    )
    request = make_request(
        ("damaged",),
        labels=Labels(None, {}, units, weights),
        requirements=asked,
        ledger=str(tmp_path / "few"),
        folder=str(tmp_path / "few-certify"),
    )
    few, matters = labelled_later(request, targets, tmp_path)
    claim = few.certificate.order[0].claims[0]
    assert (claim.grade, claim.verdict) == ("B", "held")
    assert matters.any()
    assert blind(few.certificate) == blind(full.certificate)


def test_a_metric_of_probabilities_needs_nearly_all_labels(
    make_request: MakeRequest, digits: Any, tmp_path: Path
) -> None:
    """Log-likelihoods differ wherever probabilities do, so there is little to save."""
    request = make_request(
        ("harmless",),
        labels=Labels(None, {}),
        requirements=(Requirement("nll", 0.1, 0.1),),
    )
    baseline, candidate = request.baseline, request.contenders[0].variant
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 10)).astype(np.float32)
    other = scores.copy()
    other[:30] *= 0.9
    outputs = {baseline.model.prediction: scores}
    answers = {request.contenders[0].recipe: {candidate.model.prediction: other}}
    matters = rows_to_label(request, outputs, answers, 40)
    assert matters[:30].all()
    assert not matters[30:].any()
