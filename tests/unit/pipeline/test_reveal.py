"""Several looks at real digits: «no» says nothing, `reveal` says all and retires the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jettison.domain.record import file_digest, from_json, to_json
from jettison.errors import CheckFailed, UsageError
from jettison.pipeline import certify as certifying
from jettison.pipeline.certify import CertificationRequest, certify
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.reveal import reveal
from jettison.pipeline.verify import verify
from jettison.trust.bundle_layout import files_of, read_manifest
from jettison.trust.ledger import Ledger
from jettison.trust.looks import look_plan
from jettison.trust.outcomes import load_outcomes, save_outcomes

MakeRequest = Callable[..., CertificationRequest]
PLAN = look_plan(3)


def with_looks(request: CertificationRequest) -> CertificationRequest:
    return dataclasses.replace(request, looks=PLAN)


def test_a_failed_look_says_no_and_nothing_else(make_request: MakeRequest) -> None:
    """No claim, no figure, no file that can be read; the rows needed come from the plan."""
    result = certify(with_looks(make_request(("damaged",))))
    certificate = result.certificate
    assert (certificate.status, certificate.claims, result.outcomes) == ("failed", (), None)
    assert {tested.verdict for tested in certificate.order} == {"withheld"}
    assert all(not tested.claims for tested in certificate.order)
    assert certificate.reason.startswith("look 1 of 3 says no, and no more: 2 left")
    assert "needs about" in certificate.reason
    folder = Path(make_request(("damaged",)).folder)
    assert not list(folder.rglob("outcomes.npz"))
    (withheld,) = folder.rglob("*.outcomes")
    with pytest.raises(CheckFailed):
        load_outcomes(withheld)
    assert from_json(type(certificate), to_json(certificate)) == certificate


def test_a_second_look_may_ship_at_its_own_share(make_request: MakeRequest) -> None:
    """After one «no» the harmless copy ships on the same rows, and they are retired."""
    certify(with_looks(make_request(("damaged",))))
    request = with_looks(make_request(("harmless",)))
    result = certify(request)
    assert result.certificate.status == "certified", result.certificate.reason
    position = result.certificate.ledger
    assert position is not None
    assert (position.look, position.looks) == (2, 3)
    assert position.alpha == pytest.approx(0.05 * PLAN[1])
    assert "look 2 of 3" in result.certificate.procedure
    assert result.outcomes is not None
    rules = load_outcomes(result.outcomes).rules
    assert rules.share == pytest.approx(PLAN[1])
    assert rules.digest == result.certificate.order_digest
    first, second = reveal(Path(request.folder), request.ledger)
    assert first.certificate is not None
    assert (second.certificate, second.reason) == (None, "it certified a model; see its bundle")
    # The same request would take up the certificate, which has no bundle yet.
    again = certify(dataclasses.replace(request, configuration_digest="of another"))
    assert again.certificate.status == "uncertified"
    assert "retired" in again.certificate.reason or "shown" in again.certificate.reason


def test_rows_are_retired_before_scores_lie_in_plain(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies while it writes the outcomes of what ships leaves no further look."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(certifying, "save_outcomes", die)
    request = with_looks(make_request(("harmless",)))
    with pytest.raises(KeyboardInterrupt):
        certify(request)
    monkeypatch.undo()
    assert Ledger.at(request.ledger).entries()[-1].kind == "revealed"
    assert "were shown" in certify(request).certificate.reason


def test_reveal_shows_every_look_and_retires_the_rows(make_request: MakeRequest) -> None:
    """The figures of a failed look come back in full, and a further look is refused."""
    request = with_looks(make_request(("damaged",)))
    certify(request)
    (shown,) = reveal(Path(request.folder), request.ledger)
    assert shown.certificate is not None
    assert shown.certificate.order[0].verdict == "broken"
    assert shown.certificate.order[0].claims[0].estimate is not None
    assert shown.outcomes is not None
    assert load_outcomes(shown.outcomes).n == 1500
    assert [e.kind for e in Ledger.at(request.ledger).entries()][-1] == "revealed"
    after = certify(with_looks(make_request(("harmless",))))
    assert after.certificate.status == "uncertified"
    assert "were shown" in after.certificate.reason


def test_a_bundle_of_a_later_look_verifies(
    make_request: MakeRequest, make_record: Any, digits: Any, tmp_path: Path
) -> None:
    """Verdicts are computed again at that look's share, and another share is found out."""
    certify(with_looks(make_request(("damaged",))))
    request = dataclasses.replace(with_looks(make_request(("harmless",))), reported=("agreement",))
    result = certify(request)
    shown = [claim for claim in result.certificate.claims if claim.metric == "agreement"]
    assert [(claim.gates, claim.group) for claim in shown][:1] == [(False, "overall")]
    record, candidate = make_record(result.certificate)
    (tmp_path / "run.log").write_text("the log of the run\n")
    cargo = Cargo(candidate, digits.fitting, result.outcomes, tmp_path / "run.log")
    release = tmp_path / "release"
    emit(record, cargo, release, request.ledger)
    checks = " ".join(verify(release, "", request.ledger).checks)
    assert "verdicts were computed again" in checks
    assert "the ledger recorded the look" in checks
    outcomes = load_outcomes(release / "outcomes.npz")
    full = dataclasses.replace(outcomes, rules=dataclasses.replace(outcomes.rules, share=1.0))
    save_outcomes(full, release / "outcomes.npz")
    manifest = read_manifest(release)
    files = {name: file_digest(release / name) for name in files_of(release)}
    (release / "manifest.json").write_text(to_json(dataclasses.replace(manifest, files=files)))
    with pytest.raises(CheckFailed, match=r"made at an error rate of 0\.05"):
        verify(release, "", request.ledger)


def test_reveal_without_anything_withheld_is_a_usage_error(tmp_path: Path) -> None:
    """It says what it is for."""
    with pytest.raises(UsageError, match="nothing is withheld"):
        reveal(tmp_path, tmp_path / "ledger")


def test_other_rows_in_the_same_folder_keep_their_own_evidence(make_request: MakeRequest) -> None:
    """Two sets of rows that were certified from one folder both have a look 1."""
    first = with_looks(make_request(("damaged",)))
    certify(first)
    certify(with_looks(make_request(("damaged",), rows=slice(3000, 4500))))
    shown = reveal(Path(first.folder), first.ledger)
    assert [one.number for one in shown] == [1, 1]
    assert len({one.outcomes for one in shown}) == 2


def test_a_look_that_was_cut_short_hides_no_other(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies while it withholds its outcomes leaves nothing that `reveal` trips over."""
    request = with_looks(make_request(("damaged",)))
    certify(request)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(certifying, "write_atomically", die)
    with pytest.raises(KeyboardInterrupt):
        certify(with_looks(make_request(("damaged",))))
    monkeypatch.undo()
    first, second = reveal(Path(request.folder), request.ledger)
    assert first.certificate is not None
    assert second.certificate is None
    assert "cut short" in second.reason
