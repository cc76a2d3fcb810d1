"""What a server tells about itself and its models, in the words of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

import jettison
from jettison.serving.oip.signature import Signature
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

NAME = "jettison"
EXTENSIONS = ("binary_tensor_data", "model_repository", "schedule_policy", "parameters")
READY = "READY"


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": NAME, "version": jettison.__version__, "extensions": list(EXTENSIONS)}


def model_metadata(
    served: ServedVersion, versions: Sequence[ServedVersion], signature: Signature
) -> dict[str, Any]:
    """Inputs and outputs of a version, the versions beside it, and what is certified."""
    return {
        "name": served.name,
        "versions": [version.version for version in versions],
        "platform": f"{served.runtime.name}_{served.model.artifact.format}",
        "inputs": [tensor.plain() for tensor in signature.inputs.values()],
        "outputs": [tensor.plain() for tensor in signature.outputs.values()],
        "properties": properties(served),
    }


def properties(served: ServedVersion) -> dict[str, str]:
    """Facts about a version as the protocol holds them: texts by name."""
    told = {
        "version": served.version,
        "digest": served.digest,
        "certificate": served.label,
        "task": served.model.task,
        "prediction": served.model.prediction,
        "max_batch_rows": str(served.policy.max_batch_rows),
        "notes": " ".join(served.notes),
    }
    labels = served.model.encoder.labels
    if labels:
        told["labels"] = orjson.dumps(labels).decode()
    return told


def repository_index(repository: Repository, *, ready: bool) -> list[dict[str, str]]:
    """Every version that is loaded, and every name that is not, with its state.

    Args:
        repository: what is served.
        ready: only what answers now.
    """
    told: list[dict[str, str]] = []
    for name, state in repository.states().items():
        versions = repository.versions(name)
        told += [
            {
                "name": name,
                "version": served.version,
                "state": READY,
                "reason": "" if served.certified else served.label,
            }
            for served in versions
        ]
        if not versions and not ready:
            told.append({"name": name, "version": "", "state": state, "reason": ""})
    return told
