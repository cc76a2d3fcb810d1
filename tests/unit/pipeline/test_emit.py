"""Bundles: whole or not at all, and everything a person needs inside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from jettison.domain.certificate import Certificate
from jettison.domain.record import from_json, to_json
from jettison.errors import CheckFailed, UsageError
from jettison.pipeline.certify import uncertified_certificate
from jettison.pipeline.emit import check_not_certified, emit
from jettison.pipeline.verify import open_bundle, verify
from jettison.trust.bundle_layout import differences, read_manifest
from jettison.trust.certificate_schema import certificate_schema, schema_text
from jettison.trust.ledger import Ledger
from jettison.trust.probes import probe_count

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "certificate.schema.json"


def test_a_bundle_holds_everything(shipped: Any) -> None:
    """Model, recipe, certificate, card, report, log, probes, outcomes and records are inside."""
    names = set(shipped.bundle.manifest.files)
    assert names == {
        "README.md",
        "certificate.json",
        "model.json",
        "model/model.onnx",
        "outcomes.npz",
        "probes.npz",
        "recipe.toml",
        "report.html",
        "run.json",
        "run.log",
        "sketch.json",
    }
    assert (shipped.folder / "README.md").read_text()
    assert "<html" in (shipped.folder / "report.html").read_text()
    leftovers = [p.name for p in shipped.folder.parent.iterdir() if p.name.endswith(".part")]
    assert leftovers == []


def test_the_name_is_the_hash_of_the_manifest(shipped: Any) -> None:
    """Anyone can compute a bundle's name with `sha256sum manifest.json`; the ledger holds it."""
    data = (shipped.folder / "manifest.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == shipped.bundle.manifest.digest
    entry = Ledger.at(shipped.ledger).find("bundle", shipped.bundle.manifest.digest)
    assert entry is not None
    assert entry.look == shipped.record.certificate.ledger.entry


def test_the_certificate_follows_the_published_schema(shipped: Any) -> None:
    """`certificate.json` validates, and unknown or missing keys do not."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    text = (shipped.folder / "certificate.json").read_text()
    jsonschema.validate(json.loads(text), schema)
    assert from_json(Certificate, text) == shipped.record.certificate
    jsonschema.validate(json.loads(to_json(uncertified_certificate("no data"))), schema)
    for damaged in ({"extra": 1}, {"status": "perfect"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**json.loads(text), **damaged}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"status": "certified"}, schema)


def test_the_published_schema_is_current() -> None:
    """The committed schema is the one of the type; else run docs/schemas/generate.py."""
    assert SCHEMA.read_text() == schema_text()
    assert certificate_schema()["additionalProperties"] is False


def test_the_recipe_is_enough_to_make_it_again(shipped: Any) -> None:
    """Steps, settings, runtime, seeds, versions and digests stand in readable TOML."""
    recipe = tomllib.loads((shipped.folder / "recipe.toml").read_text())
    candidate = shipped.cargo.candidate
    assert recipe["recipe"] == candidate.recipe.digest
    assert recipe["steps"][0]["name"] == "round_weights"
    assert recipe["steps"][0]["settings"] == {"bits": 8}
    assert recipe["steps"][0]["did"] == "2 weights rounded to 8 bits"
    assert recipe["runtime"] == {"name": "onnx_runtime"}
    assert recipe["original"]["digest"] == shipped.record.model.artifact.digest
    assert recipe["result"]["digest"] == candidate.model.artifact.digest
    assert recipe["serving"] == {
        "batch_sizes": [1],
        "weights": [1.0],
        "threads": 1,
        "spinning": False,
    }
    assert recipe["data"]["split_seed"] == 7
    assert "\nsplit_seed = 7\n" in (shipped.folder / "recipe.toml").read_text()
    assert "onnxruntime" in recipe["versions"]


def test_probes_are_never_sealed_rows(shipped: Any, digits: Any) -> None:
    """The stored inputs are the first fitting rows."""
    with np.load(shipped.folder / "probes.npz") as probes:
        name = digits.variants["baseline"].model.inputs[0].name
        n = probe_count(digits.fitting)
        assert n >= 8
        np.testing.assert_array_equal(probes[f"input.{name}"], digits.fitting.column(name)[:n])
        assert any(key.startswith("output.") for key in probes)


def test_a_bundle_opens_for_serving(shipped: Any) -> None:
    """Model with absolute paths, runtime and certificate come back."""
    model, runtime, certificate = open_bundle(shipped.folder)
    assert model.artifact.path == shipped.folder / "model" / "model.onnx"
    assert model.artifact.digest == shipped.cargo.candidate.model.artifact.digest
    # It was certified row by row, so nothing may serve it otherwise.
    assert "batch-dependent" in model.traits
    assert runtime.name == "onnx_runtime"
    assert certificate == shipped.record.certificate


def test_an_older_bundle_is_replaced(shipped: Any, tmp_path: Path) -> None:
    """Emitting again leaves one whole bundle; the ledger knows both names."""
    record = dataclasses.replace(shipped.record, certificate=uncertified_certificate("no rows"))
    cargo = dataclasses.replace(shipped.cargo, outcomes=None, log=None)
    first = emit(record, cargo, tmp_path / "release", str(tmp_path / "ledger"))
    (tmp_path / ".release.999999999.part").mkdir()
    second = emit(record, shipped.cargo, tmp_path / "release", str(tmp_path / "ledger"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ledger", "release"]
    assert read_manifest(tmp_path / "release") == second.manifest
    kinds = [(e.kind, e.facts["digest"]) for e in Ledger.at(tmp_path / "ledger").entries()]
    assert kinds == [("bundle", first.manifest.digest), ("bundle", second.manifest.digest)]
    assert verify(tmp_path / "release").status == "uncertified"


def test_a_certified_bundle_is_no_place_for_another_run(shipped: Any, tmp_path: Path) -> None:
    """Its rows are spent: the same command again would put an uncertified bundle in its place."""
    release = Path(shutil.copytree(shipped.folder, tmp_path / "release"))
    with pytest.raises(UsageError, match=r"holds a certified bundle.*choose another `output`"):
        check_not_certified(release)
    shutil.rmtree(release)
    record = dataclasses.replace(shipped.record, certificate=uncertified_certificate("no rows"))
    emit(record, dataclasses.replace(shipped.cargo, outcomes=None), release, shipped.ledger)
    check_not_certified(release)
    check_not_certified(tmp_path / "new")


def test_what_jettison_did_not_write_is_left_alone(shipped: Any, tmp_path: Path) -> None:
    """A folder with other files, a file and a link are refused and untouched."""
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a jettison bundle"):
        emit(shipped.record, shipped.cargo, other, shipped.ledger)
    assert (other / "chapter.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(other)
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="a file or a link"):
            emit(shipped.record, shipped.cargo, tmp_path / name, shipped.ledger)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link", "thesis"]


def test_a_place_that_cannot_be_written_is_one_clear_error(shipped: Any, tmp_path: Path) -> None:
    """A parent that is no folder gives an error with the way out, and no half bundle."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="choose another"):
        emit(shipped.record, shipped.cargo, tmp_path / "file" / "release", shipped.ledger)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_only_what_was_certified_ships(shipped: Any, digits: Any, tmp_path: Path) -> None:
    """A candidate that the certificate is not about is refused."""
    wrong = dataclasses.replace(shipped.cargo.candidate, model=digits.variants["damaged"].model)
    cargo = dataclasses.replace(shipped.cargo, candidate=wrong)
    with pytest.raises(CheckFailed, match="not about what would ship"):
        emit(shipped.record, cargo, tmp_path / "release", shipped.ledger)
    assert list(tmp_path.iterdir()) == []


EMIT = """
import pickle, resource, sys, time
from jettison.errors import UsageError
from jettison.pipeline import emit as emitting

record, cargo, folder, ledger, how = pickle.load(open(sys.argv[1], "rb"))

def hang(*arguments):
    print("writing", flush=True)
    time.sleep(600)

if how == "small":
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
else:
    setattr(emitting, how, hang)
try:
    emitting.emit(record, cargo, folder, ledger)
except UsageError as error:
    print(error, flush=True)
"""


def start_emitting(shipped: Any, folder: Path, how: str) -> subprocess.Popen[str]:
    """Emits in another process that hangs at a step, or may write small files only."""
    job = folder.parent / "job"
    record = dataclasses.replace(shipped.record, certificate=uncertified_certificate("no rows"))
    ledger = str(folder.parent / "ledger")
    job.write_bytes(pickle.dumps((record, shipped.cargo, folder, ledger, how)))
    return subprocess.Popen(
        [sys.executable, "-c", EMIT, str(job)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("step", ["render_report", "replace_folder"])
def test_killed_while_writing_leaves_the_old_bundle(
    shipped: Any, tmp_path: Path, step: str
) -> None:
    """Kill -9 half way or just before the rename: the old bundle is whole, the next run cleans."""
    record = dataclasses.replace(shipped.record, certificate=uncertified_certificate("no rows"))
    folder = tmp_path / "release"
    old = emit(record, shipped.cargo, folder, str(tmp_path / "ledger"))
    process = start_emitting(shipped, folder, step)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert read_manifest(folder) == old.manifest
    assert differences(folder, old.manifest) == []
    assert list(tmp_path.glob(".release.*.part"))
    new = emit(record, shipped.cargo, folder, str(tmp_path / "ledger"))
    assert differences(folder, new.manifest) == []
    assert not list(tmp_path.glob(".release.*"))


def test_killed_between_the_renames_brings_the_old_bundle_back(
    shipped: Any, tmp_path: Path
) -> None:
    """An old bundle that was moved aside comes back, even if the new one then fails."""
    aside = tmp_path / ".release.999999999.old"
    shutil.copytree(shipped.folder, aside)
    gone = dataclasses.replace(shipped.cargo, log=tmp_path / "no such log")
    record = dataclasses.replace(shipped.record, certificate=uncertified_certificate("no rows"))
    with pytest.raises(UsageError, match="no such log"):
        emit(record, gone, tmp_path / "release", str(tmp_path / "ledger"))
    assert [path.name for path in tmp_path.iterdir()] == ["release"]
    assert read_manifest(tmp_path / "release") == shipped.bundle.manifest


def test_a_disk_that_is_too_small_leaves_nothing(shipped: Any, tmp_path: Path) -> None:
    """Where the files do not fit, there is one clear error and no half bundle."""
    process = start_emitting(shipped, tmp_path / "release", "small")
    told = process.communicate()[0]
    assert "can't be written" in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job"]
