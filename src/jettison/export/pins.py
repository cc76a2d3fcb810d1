"""Which packages a bundle needs to run, and the versions that it was certified with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from jettison import registry
from jettison.domain.exports import ExportJob

DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}
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
    """Everything that `jettison[serve]` brings with it, as installed here: name -> version."""
    found: dict[str, str] = {}
    pending, seen = [("jettison", "serve")], set[tuple[str, str]]()
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # It is for another system, or only needed to run an export, not to write it.
        pending += _required(name, extra)
    del found["jettison"]
    return dict(sorted(found.items()))


def _required(name: str, extra: str) -> list[tuple[str, str]]:
    """The packages that one requires, each once for every extra of it; an extra may be empty."""
    required: list[tuple[str, str]] = []
    for requirement in metadata.requires(name) or ():
        named = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[([^]]*)\])?", requirement)
        condition = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        if named is None or (condition is not None and condition[1] != extra):
            continue
        extras = [part.strip() for part in (named[2] or "").split(",")]
        required += [(pip_name(named[1]), one) for one in ["", *extras]]
    return required


def pip_name(name: str) -> str:
    """A package's name in the one spelling that pip compares.

    >>> pip_name("PyYAML_ext")
    'pyyaml-ext'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def python_version(job: ExportJob) -> str:
    """Major and minor version of the Python that certified the model."""
    return ".".join(job.versions["python"].split(".")[:2])


def origin() -> str:
    """Where pip took jettison from, if not from a package index: PEP 610 records it; or empty."""
    told = metadata.distribution("jettison").read_text("direct_url.json")
    return str(json.loads(told)["url"]) if told else ""
