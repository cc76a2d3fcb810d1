"""The encoder of a bundle, as a server uses it."""

from __future__ import annotations

from jettison import registry
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model
from jettison.errors import DataError, MissingDependency

SEED = 0


def encode(model: Model, examples: Example) -> Encoded:
    """Encodes rows into the inputs of the model.

    Raises:
        DataError: says which row and column can't be encoded.
        MissingDependency: if the encoder needs a package that is not installed.
    """
    return registry.get("encoders", model.encoder.kind).encode(model.encoder, model, examples)


def open_encoder(model: Model) -> None:
    """Has the encoder read its files now, while they are known to be those of the bundle.

    Later another bundle may lie in the same folder. An encoder that is not usable here stops nobody
    from sending tensors; whoever sends rows is told.
    """
    if not model.encoder.files:
        return
    try:
        registry.get("encoders", model.encoder.kind).made_up(model.encoder, model, 1, SEED)
    except (DataError, MissingDependency):
        return
