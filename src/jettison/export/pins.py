"""Which packages a bundle needs to run, and the versions that it was certified with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from jettison import registry
from jettison.domain.exports import ExportJob

DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Import name -> the name that pip knows, where they differ."""


def needed(job: ExportJob) -> Mapping[str, str]:
    """The packages of the runtime and the encoder: pip's name -> version, or empty if unknown."""
    plugins: tuple[Any, ...] = (
        registry.get("runtimes", job.runtime.name),
        registry.get("encoders", job.model.encoder.kind),
    )
    imports = [name for plugin in plugins for name in getattr(plugin, "packages", ())]
    names = [DISTRIBUTIONS.get(name, name) for name in imports]
    return {name: job.versions.get(name, "") for name in dict.fromkeys(names)}


def recorded(job: ExportJob) -> Mapping[str, str]:
    """Every package version that the run recorded; neither Python nor jettison itself."""
    return {
        name: version
        for name, version in sorted(job.versions.items())
        if name not in ("python", "jettison")
    }


def of_the_server() -> Mapping[str, str]:
    """The packages of the extra `serve` as they are installed here: name -> version."""
    found: dict[str, str] = {}
    for requirement in metadata.requires("jettison") or ():
        named = re.match(r"[A-Za-z0-9._-]+", requirement)
        if named is None or named[0] == "jettison" or not re.search(r"extra == .serve.", requirement):
            continue
        try:
            found[named[0]] = metadata.version(named[0])
        except metadata.PackageNotFoundError:
            continue  # It is not needed to write an export, only to run it.
    return dict(sorted(found.items()))


def python_version(job: ExportJob) -> str:
    """Major and minor version of the Python that certified the model."""
    return ".".join(job.versions["python"].split(".")[:2])


def origin() -> str:
    """Where pip took jettison from, if not from a package index: PEP 610 records it; or empty."""
    told = metadata.distribution("jettison").read_text("direct_url.json")
    return str(json.loads(told)["url"]) if told else ""
