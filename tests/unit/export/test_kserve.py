"""The two resources hold only fields that KServe's own definitions have, with true values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.exports import ExportJob
from jettison.domain.measurement import Estimate, Measurement
from jettison.errors import ConfigError
from jettison.export.kserve import Kserve
from jettison.export.yaml_text import yaml_text
from jettison.machine import describe_device
from tests.unit.export.conftest import job_of

yaml = pytest.importorskip("yaml", reason="NO PYYAML: the YAML of KServe was not read back")

MakeJob = Callable[..., ExportJob]
Fields = Mapping[str, Any]

SCALAR, FREE = None, "free"
PROBE: Fields = {
    "httpGet": {"path": SCALAR, "port": SCALAR, "scheme": SCALAR},
    "initialDelaySeconds": SCALAR,
    "periodSeconds": SCALAR,
    "timeoutSeconds": SCALAR,
    "failureThreshold": SCALAR,
}
METADATA: Fields = {"name": SCALAR, "namespace": SCALAR, "labels": FREE, "annotations": FREE}
RUNTIME: Fields = {
    "apiVersion": SCALAR,
    "kind": SCALAR,
    "metadata": METADATA,
    "spec": {
        "annotations": FREE,
        "supportedModelFormats": {"name": SCALAR, "version": SCALAR, "autoSelect": SCALAR},
        "protocolVersions": SCALAR,
        "containers": {
            "name": SCALAR,
            "image": SCALAR,
            "args": SCALAR,
            "env": {"name": SCALAR, "value": SCALAR},
            "ports": {"containerPort": SCALAR, "protocol": SCALAR, "name": SCALAR},
            "readinessProbe": PROBE,
            "livenessProbe": PROBE,
            "resources": {"requests": FREE, "limits": FREE},
            "securityContext": {
                "runAsNonRoot": SCALAR,
                "allowPrivilegeEscalation": SCALAR,
                "privileged": SCALAR,
                "readOnlyRootFilesystem": SCALAR,
                "capabilities": {"drop": SCALAR},
            },
            "volumeMounts": {"name": SCALAR, "mountPath": SCALAR, "readOnly": SCALAR},
        },
        "volumes": {"name": SCALAR, "emptyDir": FREE, "secret": {"secretName": SCALAR}},
    },
}
"""Fields of serving.kserve.io/v1alpha1 ServingRuntime (KServe 2026-08) that an export may use."""

SERVICE: Fields = {
    "apiVersion": SCALAR,
    "kind": SCALAR,
    "metadata": METADATA,
    "spec": {
        "predictor": {
            "minReplicas": SCALAR,
            "maxReplicas": SCALAR,
            "terminationGracePeriodSeconds": SCALAR,
            "nodeSelector": FREE,
            "model": {
                "modelFormat": {"name": SCALAR, "version": SCALAR},
                "runtime": SCALAR,
                "protocolVersion": SCALAR,
                "storageUri": SCALAR,
            },
        }
    },
}
"""Fields of serving.kserve.io/v1beta1 InferenceService."""


def unknown_fields(found: Any, allowed: Any, where: str = "") -> list[str]:
    """Every field of a resource that the definition lacks, and every value of the wrong kind."""
    if allowed == FREE:
        return [] if isinstance(found, Mapping) else [f"{where} is no map"]
    if isinstance(found, list):
        return [p for item in found for p in unknown_fields(item, allowed, f"{where}[]")]
    if allowed is SCALAR:
        return [f"{where} is no single value"] if isinstance(found, Mapping) else []
    if not isinstance(found, Mapping):
        return [f"{where} is no map"]
    problems = [f"{where}.{key} is unknown" for key in found if key not in allowed]
    for key in found.keys() & allowed.keys():
        problems += unknown_fields(found[key], allowed[key], f"{where}.{key}")
    return problems


def exported(job: ExportJob, folder: Path) -> tuple[Any, Any]:
    """Writes an export; gives its runtime and its service as YAML readers see them."""
    folder.mkdir()
    Kserve().write(job, folder)
    runtime = yaml.safe_load((folder / "serving-runtime.yaml").read_text())
    service = yaml.safe_load((folder / "inference-service.yaml").read_text())
    assert unknown_fields(runtime, RUNTIME) == []
    assert unknown_fields(service, SERVICE) == []
    return runtime, service


def test_the_service_runs_our_image_over_protocol_v2(job: MakeJob, tmp_path: Path) -> None:
    """Runtime and service name each other; probes, port and arguments are those of the server."""
    made = job(Kserve())
    runtime, service = exported(made, tmp_path / "out")
    assert runtime["apiVersion"] == "serving.kserve.io/v1alpha1"
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"] == "jettison-reviews"
    assert model["protocolVersion"] == "v2"
    assert runtime["spec"]["protocolVersions"] == ["v2"]
    assert model["modelFormat"]["name"] == runtime["spec"]["supportedModelFormats"][0]["name"]
    assert "storageUri" not in model
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["image"] == f"reviews:{made.manifest.digest[:12]}"
    assert container["args"][:5] == ["reviews=/srv/bundle", "--host", "0.0.0.0", "--port", "8080"]
    assert "--no-grpc" in container["args"]
    assert container["args"][-2:] == ["--key-file", "/run/secrets/jettison/key"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert container["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": 8080}
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert container["securityContext"]["runAsNonRoot"] is True
    assert {"name": "OMP_NUM_THREADS", "value": "1"} in container["env"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in runtime["spec"]["volumes"]}
    digest = runtime["metadata"]["annotations"]["jettison/bundle-digest"]
    assert digest == service["metadata"]["annotations"]["jettison/bundle-digest"]
    assert digest == made.manifest.digest


def test_the_bundle_may_come_from_storage(job: MakeJob, tmp_path: Path) -> None:
    """A URI or a volume claim is mounted where KServe mounts models."""
    made = job(
        Kserve(),
        "storage=pvc://models/reviews/v1",
        "image=registry.example/reviews:1",
        "namespace=ml",
        "access=open",
        "min_replicas=0",
        "max_replicas=5",
        "node=cpu-class=avx2",
    )
    runtime, service = exported(made, tmp_path / "out")
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == "pvc://models/reviews/v1"
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (0, 5)
    assert predictor["nodeSelector"] == {"cpu-class": "avx2"}
    assert predictor["terminationGracePeriodSeconds"] > 8
    (container,) = runtime["spec"]["containers"]
    assert container["args"][0] == "reviews=/mnt/models"
    assert container["args"][-1] == "--no-key"
    assert container["image"] == "registry.example/reviews:1"
    assert [v["name"] for v in runtime["spec"]["volumes"]] == ["tmp"]
    assert runtime["metadata"]["namespace"] == service["metadata"]["namespace"] == "ml"


def test_resources_come_from_threads_and_measured_memory(job: MakeJob, tmp_path: Path) -> None:
    """CPU is the certified threads; memory the measured peak and what may wait in the queue."""
    peak = Estimate("peak_memory_bytes", "overall", 300 * 2**20, None, None, 5, "bytes", "lower")
    measured = Measurement("r", "claim", (peak,), describe_device())
    runtime, _ = exported(job(Kserve(), measured=measured), tmp_path / "measured")
    resources = runtime["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "1", "memory": "556Mi"}
    assert resources["limits"] == {"cpu": "2", "memory": "1112Mi"}
    runtime, _ = exported(job(Kserve(), measured=None), tmp_path / "unmeasured")
    assert runtime["spec"]["containers"][0]["resources"]["requests"]["memory"] == "513Mi"


def test_an_uncertified_bundle_is_served_as_such(uncertified_bundle: Path, tmp_path: Path) -> None:
    """The server gets the flag without which it would refuse; the files begin with a warning."""
    runtime, service = exported(job_of(uncertified_bundle, Kserve()), tmp_path / "out")
    assert runtime["spec"]["containers"][0]["args"][-1] == "--allow-uncertified"
    assert service["metadata"]["annotations"]["jettison/certificate"] == "uncertified"
    assert "# UNCERTIFIED" in (tmp_path / "out" / "inference-service.yaml").read_text()


def test_what_kubernetes_would_refuse_is_refused_here(job: MakeJob, tmp_path: Path) -> None:
    """All at once: the name, the storage, the node, the replicas."""
    given = ["storage=ftp://x", "node=nolabel", "min_replicas=4", "max_replicas=2"]
    with pytest.raises(ConfigError) as caught:
        Kserve().write(job(Kserve(), *given, name="Reviews_2"), tmp_path)
    problems = "\n".join(caught.value.problems)
    assert "can't call a service `Reviews_2`" in problems
    assert "`storage` must begin with one of s3://" in problems
    assert "`node` must be label=value" in problems
    assert "`max_replicas` must not be below `min_replicas`" in problems
    with pytest.raises(ConfigError, match="must name a claim"):
        Kserve().write(job(Kserve(), "storage=pvc://"), tmp_path)
    assert list(tmp_path.iterdir()) == []


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(10**9), 10**9),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(["yes", "No", "on", "null", "~", "1e3", "0x1", "1:30", "- a", "a: b", "2026-01-01"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), KEYS)
def test_any_document_is_read_back(value: dict[str, Any], heading: str) -> None:
    """PyYAML reads what was written: no text becomes a number, a truth value or a comment."""
    assert yaml.safe_load(yaml_text(value, [heading])) == value
