"""The export `kserve`: a ServingRuntime and an InferenceService around our container image."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.exports import ExportJob, ExportSetting
from jettison.errors import ConfigError
from jettison.export.bundle_copy import copy_check, copy_papers, standing
from jettison.export.serve_command import (
    ACCESS,
    DRAIN_SECONDS,
    LIVE,
    READY,
    image_tag,
    serve_arguments,
    thread_variables,
)
from jettison.export.yaml_text import yaml_text

NAME = re.compile(r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?")
"""KServe's rule, short enough for the `<name>-predictor` that Kubernetes makes a label of."""

STORES = ("s3://", "gs://", "pvc://", "oci://", "https://", "hdfs://", "webhdfs://")
PORT = 8080
IN_IMAGE, MOUNTED = "/srv/bundle", "/mnt/models"
KEY_FOLDER = "/run/secrets/jettison"
MEBIBYTE = 2**20
WAITING_MEBIBYTES = 256
"""What the server lets waiting inputs take."""


class Kserve:
    """ServingRuntime and InferenceService: Open Inference Protocol v2, probes, resources."""

    name: ClassVar[str] = "kserve"
    requires: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[Mapping[str, ExportSetting]] = {
        "image": ExportSetting(
            "", "container image; empty: <name>:<start of the digest>, as `docker` tags it"
        ),
        "storage": ExportSetting(
            "",
            "where KServe fetches the bundle (s3://..., gs://..., pvc://CLAIM/PATH, ...); empty: "
            "the image holds it",
        ),
        "namespace": ExportSetting("", "Kubernetes namespace; empty: that of the caller"),
        "access": ACCESS,
        "min_replicas": ExportSetting(1, "replicas at least; 0 lets it sleep", lowest=0),
        "max_replicas": ExportSetting(3, "replicas at most"),
        "node": ExportSetting(
            "", "label=value of the nodes whose CPU is of the certified class; empty: any node"
        ),
    }

    def write(self, job: ExportJob, folder: Path) -> tuple[str, ...]:
        """Writes serving-runtime.yaml, inference-service.yaml and the papers."""
        _check(job)
        heading = (f"{job.name}: jettison bundle {job.manifest.digest}", *standing(job))
        runtime = yaml_text(_runtime(job), heading)
        service = yaml_text(_service(job), heading)
        (folder / "serving-runtime.yaml").write_text(runtime, "utf-8")
        (folder / "inference-service.yaml").write_text(service, "utf-8")
        copy_papers(job, folder)
        return (*_steps(job), copy_check(job, folder))


def _check(job: ExportJob) -> None:
    storage, node = job.text("storage"), job.text("node")
    problems: list[str] = []
    if not NAME.fullmatch(job.name):
        problems.append(
            f"KServe can't call a service `{job.name}` (small letters, digits and `-`, at most 53, "
            "the first a letter): give another with --name"
        )
    if storage and not storage.startswith(STORES):
        problems.append(f"`storage` must begin with one of {', '.join(STORES)}; got {storage!r}")
    if storage.startswith("pvc://") and not re.fullmatch(r"pvc://[a-z0-9.-]+(/.*)?", storage):
        problems.append(f"`storage` must name a claim, pvc://CLAIM/PATH; got {storage!r}")
    if node and not re.fullmatch(r"[A-Za-z0-9._/-]+=[A-Za-z0-9._-]*", node):
        problems.append(f"`node` must be label=value; got {node!r}")
    if job.whole("max_replicas") < job.whole("min_replicas"):
        problems.append("`max_replicas` must not be below `min_replicas`")
    if problems:
        raise ConfigError(problems)


def _metadata(job: ExportJob, name: str) -> dict[str, Any]:
    namespace = job.text("namespace")
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {"app.kubernetes.io/managed-by": "jettison"},
        "annotations": {
            "jettison/bundle-digest": job.manifest.digest,
            "jettison/certificate": job.certificate.status,
        },
    }


def _runtime_name(job: ExportJob) -> str:
    return f"jettison-{job.name}"


def _runtime(job: ExportJob) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": _metadata(job, _runtime_name(job)),
        "spec": {
            "annotations": {
                "prometheus.kserve.io/port": str(PORT),
                "prometheus.kserve.io/path": "/metrics",
            },
            "supportedModelFormats": [{"name": "jettison", "version": "1", "autoSelect": False}],
            "protocolVersions": ["v2"],
            "containers": [_container(job)],
            "volumes": _volumes(job),
        },
    }


def _container(job: ExportJob) -> dict[str, Any]:
    place = MOUNTED if job.text("storage") else IN_IMAGE
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    if job.text("access") == "key":
        mounts.append({"name": "jettison-key", "mountPath": KEY_FOLDER, "readOnly": True})
    return {
        # KServe puts what it injects into the container of this name.
        "name": "kserve-container",
        "image": job.text("image") or image_tag(job),
        "args": serve_arguments(job, place, f"{KEY_FOLDER}/key", (PORT, 0)),
        "env": [{"name": key, "value": value} for key, value in thread_variables(job).items()],
        # One port: Knative refuses a second, so gRPC stays off.
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {**_probe(READY), "periodSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {
            **_probe(LIVE),
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": _resources(job),
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _volumes(job: ExportJob) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if job.text("access") == "key":
        volumes.append({"name": "jettison-key", "secret": {"secretName": _secret(job)}})
    return volumes


def _secret(job: ExportJob) -> str:
    return f"{job.name}-key"


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}, "timeoutSeconds": 2}


def _resources(job: ExportJob) -> dict[str, Any]:
    """CPU from the certified threads, memory from the peak that was measured.

    Requests cover the computing threads; the limit leaves one core for reading and answering.
    """
    threads = job.serving.threads
    peak = job.measured.get("peak_memory_bytes") if job.measured else None
    if peak is not None and peak.value:
        base = peak.value
    else:
        # Not measured: the weights, their copy while a runtime prepares them, and an interpreter.
        base = 2 * job.model.artifact.size_bytes + 256 * MEBIBYTE
    mebibytes = math.ceil(base / MEBIBYTE) + WAITING_MEBIBYTES
    return {
        "requests": {"cpu": str(threads), "memory": f"{mebibytes}Mi"},
        "limits": {"cpu": str(threads + 1), "memory": f"{2 * mebibytes}Mi"},
    }


def _service(job: ExportJob) -> dict[str, Any]:
    storage, node = job.text("storage"), job.text("node")
    label, _, value = node.partition("=")
    model: dict[str, Any] = {
        "modelFormat": {"name": "jettison", "version": "1"},
        "runtime": _runtime_name(job),
        "protocolVersion": "v2",
        **({"storageUri": storage} if storage else {}),
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(job, job.name),
        "spec": {
            "predictor": {
                "minReplicas": job.whole("min_replicas"),
                "maxReplicas": job.whole("max_replicas"),
                "terminationGracePeriodSeconds": DRAIN_SECONDS + 22,
                **({"nodeSelector": {label: value}} if node else {}),
                "model": model,
            }
        },
    }


def _steps(job: ExportJob) -> tuple[str, ...]:
    secret = (
        (
            f"openssl rand -hex 32 > key && kubectl create secret generic {_secret(job)} "
            "--from-file=key",
        )
        if job.text("access") == "key"
        else ()
    )
    return (
        *secret,
        "kubectl apply -f serving-runtime.yaml -f inference-service.yaml",
    )
