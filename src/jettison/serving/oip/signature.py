"""What a model takes and gives, in the words of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Wanted:
    """One output that is to come back, and how."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs, outputs: by name, in the order of the model.
        all_json, all_binary: every output, for a call that names none.
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    all_json: tuple[Wanted, ...] = field(init=False)
    all_binary: tuple[Wanted, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name, binary in (("all_json", False), ("all_binary", True)):
            every = tuple(Wanted(output, binary) for output in self.outputs)
            object.__setattr__(self, name, every)

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
