"""`recipe.toml`: what a person needs to make the same model again, in a form that they can read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jettison.domain.recipe import Candidate, Step
from jettison.domain.run import RunRecord


def recipe_text(record: RunRecord, candidate: Candidate) -> str:
    """Writes steps, settings, runtime, serving, seeds, versions and digests as TOML."""
    lines = [
        "# How this model was made. To make it again, run jettison on the same original with only",
        "# these techniques and settings; the digests below show whether it came out the same.",
        "format_version = 1",
        *_pairs({"recipe": candidate.recipe.digest, "title": str(candidate.recipe)}),
        *_table("original", _original(record)),
        *_table("data", _data(record)),
    ]
    for step, change in zip(candidate.recipe.steps, _changes(candidate), strict=True):
        lines += ["", "[[steps]]", *_pairs({"name": step.name, **change})]
        lines += _settings("steps.settings", step)
    lines += _table("runtime", {"name": candidate.recipe.runtime.name})
    lines += _settings("runtime.settings", candidate.recipe.runtime)
    serving = record.configuration.serving
    lines += _table(
        "serving",
        {
            "batch_sizes": list(serving.batch_sizes),
            "weights": list(serving.weights),
            "threads": serving.threads,
            "spinning": serving.spinning,
        },
    )
    artifact = candidate.model.artifact
    lines += _table(
        "result",
        {
            "format": artifact.format,
            "files": list(artifact.files),
            "digest": artifact.digest,
            "size_bytes": artifact.size_bytes,
            "traits": sorted(candidate.model.traits),
        },
    )
    device = record.profile.device
    lines += _table("machine", {"cpu": device.cpu, "cpu_class": device.cpu_class})
    lines += _table("versions", dict(sorted(device.versions.items())))
    return "\n".join(lines) + "\n"


def _original(record: RunRecord) -> dict[str, Any]:
    model = record.model
    return {
        "source": record.configuration.model.source,
        "task": model.task,
        "format": model.artifact.format,
        "digest": model.artifact.digest,
        "size_bytes": model.artifact.size_bytes,
        "encoder": model.encoder.kind,
        "encoder_digest": model.encoder.digest,
    }


def _data(record: RunRecord) -> dict[str, Any]:
    section = record.configuration.data
    told: dict[str, Any] = {
        "split_seed": section.seed,
        "technique_seed": record.configuration.search.seed,
    }
    if record.data is not None:
        told.update({"source": record.data.source, "digest": record.data.digest})
    return told


def _changes(candidate: Candidate) -> list[dict[str, Any]]:
    """What each step did; the log may hold several changes of one step, so it is told whole."""
    steps = len(candidate.recipe.steps)
    if len(candidate.log) == steps:
        return [{"did": change.what} for change in candidate.log]
    told = "; ".join(change.what for change in candidate.log)
    return [{"did": told} if place == steps - 1 and told else {} for place in range(steps)]


def _settings(title: str, step: Step) -> list[str]:
    return [f"[{title}]", *_pairs(dict(sorted(step.settings.items())))] if step.settings else []


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    return ["", f"[{title}]", *_pairs(values)]


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in values.items()]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: bool | int | float | str | Sequence[Any]) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return f"[{', '.join(_value(item) for item in value)}]"


def _text(value: str) -> str:
    """A TOML basic string: JSON's form, with the one control character that JSON lets through."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
