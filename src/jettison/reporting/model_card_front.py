"""The front matter of a card: what Hugging Face reads of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from jettison.domain.measurement import OVERALL
from jettison.domain.model import Model
from jettison.domain.run import RunRecord

_LIBRARY_OF_TRAIT = {
    "onnx": "onnx",
    "torch": "transformers",
    "sklearn": "sklearn",
    "openvino": "openvino",
}
_TAG_TRAITS = ("onnx", "openvino", "int8", "float16", "trees")
_LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def front_fields(record: RunRecord, model: Model | None) -> Mapping[str, object]:
    """The fields; what nobody stated (licence, base model) is left out, not guessed."""
    traits = model.traits if model is not None else record.model.traits
    fields: dict[str, object] = dict(_stated(record))
    library = next((lib for trait, lib in _LIBRARY_OF_TRAIT.items() if trait in traits), None)
    if library is not None:
        fields["library_name"] = library
    if "-" in record.configuration.model.task:
        fields["pipeline_tag"] = record.configuration.model.task
    certified = record.certificate.status == "certified"
    status = "certified" if certified else "uncertified"
    kinds = [trait for trait in _TAG_TRAITS if trait in traits]
    fields["tags"] = ["jettison", status, "model-compression", *kinds]
    metrics = sorted({requirement.metric for requirement in record.configuration.requirements})
    if metrics:
        fields["metrics"] = metrics
    index = _index(record)
    if index:
        fields["model-index"] = index
    return fields


def name_of(record: RunRecord) -> str:
    """The name of the file or folder; of the folder where the file is just called `model`."""
    path = PurePath(record.configuration.model.source)
    name = path.stem if path.suffix[1:].isalpha() else path.name
    return (path.parent.name if name == "model" else name) or "model"


def _stated(record: RunRecord) -> Mapping[str, object]:
    """What the owner wrote; a licence that the hub has no name for stands as `other`."""
    card = record.configuration.card
    fields: dict[str, object] = {}
    if _LICENCE_ID.fullmatch(card.licence):
        fields["license"] = card.licence
    elif card.licence:
        fields |= {"license": "other", "license_name": " ".join(card.licence.split())}
    if _HUB_NAME.fullmatch(card.base_model):
        fields["base_model"] = card.base_model
    return fields


def _index(record: RunRecord) -> list[object]:
    """Results on labelled sealed rows, and nothing else: only those are evidence."""
    data = record.data
    found = [c for c in record.certificate.claims if c.group == OVERALL and c.candidate is not None]
    if not found or data is None or not record.configuration.data.target:
        return []
    metrics = [
        {"type": claim.metric, "value": claim.candidate, "name": f"{claim.metric} on sealed rows"}
        for claim in found
    ]
    dataset = {"type": "private", "name": PurePath(data.source).name or "sealed"}
    task = {"type": record.configuration.model.task or record.model.task}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    return [{"name": name_of(record), "results": results}]
