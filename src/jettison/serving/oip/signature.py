"""What a model takes and gives, in the words of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jettison.domain.model import Model, TensorSpec
from jettison.serving.oip.datatypes import datatype_of
from jettison.serving.versions import ServedVersion

ANY = -1
"""A dimension of any size."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output; the first size is `ANY`, because a request brings any number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def plain(self) -> dict[str, Any]:
        """As the metadata of a model shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model by name, in the order of the model."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: Model) -> Signature:
        """Reads the signature of a model.

        Raises:
            ModelError: for a dtype that the protocol has no word for.
        """
        return cls(
            {spec.name: _tensor(spec) for spec in model.inputs},
            {spec.name: _tensor(spec) for spec in model.outputs},
        )


def _tensor(spec: TensorSpec) -> Tensor:
    # A graph that was saved with a fixed batch size is run as often as it takes.
    sizes = (size if isinstance(size, int) else ANY for size in spec.shape[1:])
    return Tensor(spec.name, datatype_of(spec.dtype), (ANY, *sizes))


class Signatures:
    """The signatures of the versions that are served, each read once."""

    def __init__(self) -> None:
        # A version that was unloaded must not be held, and its model with it.
        self._known: WeakKeyDictionary[ServedVersion, Signature] = WeakKeyDictionary()

    def of(self, served: ServedVersion) -> Signature:
        """The signature of a version."""
        known = self._known.get(served)
        if known is None:
            known = self._known[served] = Signature.of(served.model)
        return known
