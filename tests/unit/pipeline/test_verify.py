"""Verification: whatever is changed in a bundle is found, and everything found is listed."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import machine
from jettison.domain import accelerators
from jettison.domain.bundle import Manifest
from jettison.domain.certificate import Certificate
from jettison.domain.record import file_digest, from_json, to_json
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, UsageError
from jettison.pipeline import verify as verifying
from jettison.pipeline.verify import open_bundle, verify
from jettison.trust.bundle_layout import files_of, read_manifest, safe_name
from jettison.trust.ledger import Ledger
from jettison.trust.outcomes import load_outcomes, save_outcomes


@pytest.fixture
def copy(shipped: Any, tmp_path: Path) -> Path:
    """A copy of the bundle to change."""
    return Path(shutil.copytree(shipped.folder, tmp_path / "release"))


def seal_again(folder: Path, **changes: str) -> str:
    """Writes a manifest that fits the changed files, as a careful forger would."""
    manifest = read_manifest(folder)
    files = {name: file_digest(folder / name) for name in files_of(folder)}
    forged = dataclasses.replace(manifest, files=files, **changes)
    (folder / "manifest.json").write_text(to_json(forged))
    return forged.digest


def change_certificate(folder: Path, change: Callable[[Certificate], Certificate]) -> None:
    """Changes the certificate in both places where it stands."""
    record = from_json(RunRecord, (folder / "run.json").read_bytes())
    certificate = change(record.certificate)
    (folder / "certificate.json").write_text(to_json(certificate, indent=2) + "\n")
    record = dataclasses.replace(record, certificate=certificate)
    (folder / "run.json").write_text(to_json(record) + "\n")


def test_a_true_bundle_passes(shipped: Any, copy: Path) -> None:
    """A bundle verifies wherever it is copied; everything that was checked is told."""
    result = verify(copy, shipped.bundle.manifest.digest, shipped.ledger)
    assert result.digest == shipped.bundle.manifest.digest
    assert result.status == "certified"
    assert result.notes == ()
    told = " ".join(result.checks)
    for word in ("files", "name", "probes", "3 verdicts", "1,500 rows", "ledger"):
        assert word in told


def test_another_machine_without_the_ledger_says_so(
    shipped: Any, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the ledger at hand the rest is checked, and the gap is noted; asked for, it fails."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    away = Path(shipped.ledger).with_name("away")
    Path(shipped.ledger).rename(away)
    try:
        result = verify(copy)
        assert "is not on this machine" in result.notes[0]
        # A ledger of this machine at the same path that knows nothing of the look is another's.
        Ledger.at(shipped.ledger).record("bundle", "", "1" * 64, "uncertified")
        assert "is not on this machine" in verify(copy).notes[0]
        with pytest.raises(CheckFailed, match="holds no look"):
            verify(copy, ledger=shipped.ledger)
        shutil.rmtree(shipped.ledger)
        with pytest.raises(CheckFailed, match="there is no ledger in"):
            verify(copy, ledger=str(tmp_path / "nowhere"))
    finally:
        away.rename(shipped.ledger)


def test_another_class_of_processor_is_noted(
    shipped: Any, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate made on another class of CPU verifies here, with a note."""
    device = dataclasses.replace(machine.describe_device(), features=("made_up",))
    monkeypatch.setattr(machine, "describe_device", lambda: device)
    result = verify(copy, shipped.bundle.manifest.digest)
    assert "certify again for this machine" in result.notes[0]
    assert any("ledger" in check for check in result.checks)


def test_another_accelerator_is_noted(
    shipped: Any, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate made on a GPU says nothing of another one, or of none."""
    monkeypatch.setattr(accelerators, "computed_on", lambda plugin: "NVIDIA H200")
    told = verify(copy, shipped.bundle.manifest.digest).notes[0]
    assert told.startswith(
        "it was certified on no accelerator, and here it computes on NVIDIA H200"
    )


@pytest.mark.parametrize("place", [0.0, 0.31, 0.5, 0.87, 1.0])
def test_any_flipped_byte_fails(copy: Path, place: float) -> None:
    """A flipped bit in any file is found, and named, before the model is loaded."""
    for name in files_of(copy):
        whole = flip(copy / name, place)
        with pytest.raises(CheckFailed) as failed:
            verify(copy)
        assert failed.value.exit_code == 5
        assert f"{name} was changed" in str(failed.value)
        with pytest.raises(CheckFailed):
            open_bundle(copy)
        (copy / name).write_bytes(whole)
    assert read_manifest(copy)


def test_any_flipped_byte_of_the_manifest_fails(shipped: Any, copy: Path) -> None:
    """So is one in the manifest, against the name that is expected; a sample of its bytes."""
    size = (copy / "manifest.json").stat().st_size
    for place in range(0, size, 41):
        whole = flip(copy / "manifest.json", place / size)
        with pytest.raises(CheckFailed):
            verify(copy, shipped.bundle.manifest.digest)
        (copy / "manifest.json").write_bytes(whole)


def flip(path: Path, place: float) -> bytes:
    """Flips a bit at a share of the file from 0 to 1; gives the bytes as they were."""
    whole = path.read_bytes()
    at = min(int(place * len(whole)), len(whole) - 1)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    return whole


def test_all_mismatches_are_listed(copy: Path) -> None:
    """A changed, a missing and an extra file are all named in one error."""
    (copy / "README.md").write_text("better than it is")
    (copy / "recipe.toml").unlink()
    (copy / "model" / "more.bin").write_bytes(b"x")
    with pytest.raises(CheckFailed) as failed:
        verify(copy, "0" * 64)
    message = str(failed.value)
    assert "4 found" in message
    assert "README.md was changed" in message
    assert "recipe.toml is missing" in message
    assert "model/more.bin is not in the manifest" in message
    assert "its name is" in message


def test_links_are_refused(copy: Path, tmp_path: Path) -> None:
    """A link in place of a file is refused even if its content is right."""
    (copy / "README.md").rename(tmp_path / "README.md")
    (copy / "README.md").symlink_to(tmp_path / "README.md")
    with pytest.raises(CheckFailed, match=r"README\.md is a link"):
        verify(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a\\b", "./x", ""])
def test_names_that_climb_out_are_refused(copy: Path, name: str) -> None:
    """A manifest can't make verify read outside the bundle."""
    assert not safe_name(name)
    manifest = read_manifest(copy)
    forged = dataclasses.replace(manifest, files={**manifest.files, name: "0" * 64})
    (copy / "manifest.json").write_text(to_json(forged))
    with pytest.raises(CheckFailed, match="outside the bundle"):
        verify(copy)


def test_a_model_record_that_climbs_out_is_refused(copy: Path) -> None:
    """Nor can the record of the model."""
    told = json.loads((copy / "model.json").read_text())
    told["model"]["artifact"]["files"] = ["../../model.onnx"]
    (copy / "model.json").write_text(json.dumps(told))
    seal_again(copy)
    with pytest.raises(CheckFailed, match="names files outside the bundle"):
        verify(copy)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "not json"])
def test_no_bundle_is_one_clear_error(tmp_path: Path, content: str | None) -> None:
    """A folder without a readable manifest is not a bundle."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CheckFailed, match="manifest"):
        verify(tmp_path)


def test_a_better_number_on_the_certificate_is_found(copy: Path) -> None:
    """A p-value made smaller is recomputed, and both values are told."""

    def flatter(certificate: Certificate) -> Certificate:
        claims = tuple(dataclasses.replace(c, p_value=1e-6) for c in certificate.claims)
        return dataclasses.replace(certificate, claims=claims)

    change_certificate(copy, flatter)
    seal_again(copy)
    with pytest.raises(CheckFailed, match=r"certificate\.claims\[0\]\.p_value: computed again"):
        verify(copy)


def test_better_outcomes_are_found(shipped: Any, copy: Path) -> None:
    """Changed answers on sealed rows no longer give the numbers of the certificate."""
    outcomes = load_outcomes(copy / "outcomes.npz")
    recipe = outcomes.rules.order[0]
    answers = outcomes.candidates[recipe]["accuracy"].copy()
    answers[np.flatnonzero(answers == 0)[:2]] = 1.0
    better = dataclasses.replace(outcomes, candidates={recipe: {"accuracy": answers}})
    save_outcomes(better, copy / "outcomes.npz")
    seal_again(copy)
    with pytest.raises(CheckFailed, match="computed again"):
        verify(copy)


def test_looser_margins_are_found(copy: Path) -> None:
    """Margins edited after opening do not fit the digest that was frozen before."""
    outcomes = load_outcomes(copy / "outcomes.npz")
    loose = tuple(dataclasses.replace(r, max_drop=0.05) for r in outcomes.rules.requirements)
    rules = dataclasses.replace(outcomes.rules, requirements=loose)
    save_outcomes(dataclasses.replace(outcomes, rules=rules), copy / "outcomes.npz")
    seal_again(copy)
    with pytest.raises(CheckFailed, match="fixed before opening"):
        verify(copy)


def test_another_model_under_the_certificate_is_found(digits: Any, copy: Path) -> None:
    """A swapped model is neither the certificate's nor does it answer the probes alike."""
    damaged = digits.variants["damaged"].model
    shutil.copyfile(damaged.artifact.path, copy / "model" / "model.onnx")
    told = json.loads((copy / "model.json").read_text())
    told["model"]["artifact"]["digest"] = damaged.artifact.digest
    told["model"]["artifact"]["size_bytes"] = damaged.artifact.size_bytes
    (copy / "model.json").write_text(json.dumps(told))
    seal_again(copy)
    with pytest.raises(CheckFailed) as failed:
        verify(copy)
    assert "the certificate is about another model" in str(failed.value)
    assert "on the stored probes differs by" in str(failed.value)


def test_a_model_that_no_longer_loads_is_found(copy: Path) -> None:
    """A model that can't be loaded is listed with its reason."""
    (copy / "model" / "model.onnx").write_bytes(b"not a model")
    seal_again(copy)
    with pytest.raises(CheckFailed, match="can't be loaded and run again"):
        verify(copy)


def test_a_certificate_without_its_evidence_fails(copy: Path) -> None:
    """Taking the outcomes away, or the look, leaves claims that rest on nothing."""
    (copy / "outcomes.npz").unlink()
    seal_again(copy)
    with pytest.raises(CheckFailed, match=r"outcomes\.npz is missing"):
        verify(copy)
    change_certificate(copy, lambda c: dataclasses.replace(c, ledger=None))
    seal_again(copy)
    with pytest.raises(CheckFailed, match="no seal was opened"):
        verify(copy)


def test_a_forged_bundle_is_not_in_the_ledger(shipped: Any, copy: Path) -> None:
    """A consistent forgery still lacks its line in the ledger, and its name is another."""
    (copy / "README.md").write_text("better than it is")
    name = seal_again(copy)
    assert name != shipped.bundle.manifest.digest
    with pytest.raises(CheckFailed, match="doesn't record this bundle"):
        verify(copy)
    with pytest.raises(CheckFailed, match="its name is"):
        verify(copy, shipped.bundle.manifest.digest)


def test_a_broken_ledger_fails_the_check(shipped: Any, copy: Path, tmp_path: Path) -> None:
    """A ledger at hand whose chain is broken is a failed check, not a missing one."""
    ledger = Path(shutil.copytree(shipped.ledger, tmp_path / "ledger"))
    path = Ledger.at(ledger).path
    path.write_bytes(path.read_bytes().replace(b"certified", b"Certified"))
    with pytest.raises(CheckFailed, match="was changed after it was written"):
        verify(copy, ledger=str(ledger))


def test_a_manifest_must_be_canonical(copy: Path) -> None:
    """The same content in another form has another hash, and is refused."""
    manifest = from_json(Manifest, (copy / "manifest.json").read_bytes())
    (copy / "manifest.json").write_text(to_json(manifest, indent=2))
    with pytest.raises(CheckFailed, match="canonical"):
        verify(copy)


def test_a_ledger_that_is_not_open_to_this_user_is_a_note(
    shipped: Any, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a shared machine the ledger of a certificate is another's; an account may have no home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ledger = Path(shipped.ledger)
    away = ledger.rename(ledger.with_name("away"))
    try:
        ledger.mkdir()
        (ledger / "ledger.jsonl").touch()
        (ledger / "lock").mkdir()
        assert "not open to this user" in verify(copy).notes[0]

        def closed(_: object) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied", str(ledger))

        def homeless() -> Path:
            raise UsageError("this user has no home folder")

        monkeypatch.setattr(Ledger, "exists", property(closed))
        assert "not open to this user" in verify(copy).notes[0]
        monkeypatch.setattr(verifying, "default_folder", homeless)
        assert "not open to this user" in verify(copy).notes[0]
    finally:
        shutil.rmtree(ledger)
        away.rename(ledger)


def test_a_bundle_brings_no_ledger_of_its_own(
    shipped: Any, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path in a certificate is not looked up where the bundle was unpacked."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(shipped.ledger, tmp_path / "ledger")
    monkeypatch.chdir(tmp_path)

    def moved(certificate: Certificate) -> Certificate:
        assert certificate.ledger is not None
        position = dataclasses.replace(certificate.ledger, ledger="ledger/ledger.jsonl")
        return dataclasses.replace(certificate, ledger=position)

    change_certificate(copy, moved)
    seal_again(copy)
    assert "is not on this machine" in verify(copy).notes[0]


def test_outcomes_of_another_model_are_found(copy: Path) -> None:
    """The rows that are judged must be those of the model that the certificate is about."""
    outcomes = load_outcomes(copy / "outcomes.npz")
    (member,) = outcomes.rules.members
    other = dataclasses.replace(member, artifact="0" * 64)
    rules = dataclasses.replace(outcomes.rules, members=(other,))
    save_outcomes(dataclasses.replace(outcomes, rules=rules), copy / "outcomes.npz")
    change_certificate(copy, lambda c: dataclasses.replace(c, order_digest=rules.digest))
    seal_again(copy)
    with pytest.raises(CheckFailed, match="the outcomes are those of another model"):
        verify(copy)
