"""`Profile`: where time and bytes go before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jettison.domain.device import Device, ServingProfile
from jettison.domain.rates import Rates


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage of answering (`encode`, `model`, `decode`).

    Attributes:
        name: the stage.
        milliseconds: median per example.
        share: of the whole, from 0 to 1.
    """

    name: str
    milliseconds: float
    share: float


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One operator of the model.

    Attributes:
        name: node name; operator: its type.
        parameters: number of constant values that it alone reads.
        macs: multiply-accumulates for one example; `None` where the shape is unknown.
        bytes: of its constant inputs, as stored.
        time_share: of the model's time, from 0 to 1; `None` where the runtime can't tell.
        activation_bytes: read and written besides constants, for one example; `None` where a
            shape is unknown.
        integer: whether it multiplies integers.
        sensitivity: way of changing this layer alone -> what it loses by it, in the unit that
            `Profile.sensitivity_note` says; `None` when not measured.
    """

    name: str
    operator: str
    parameters: int
    macs: int | None
    bytes: int
    time_share: float | None
    sensitivity: Mapping[str, float] | None = None
    activation_bytes: int | None = None
    integer: bool = False


@dataclass(frozen=True, slots=True)
class LayerLosses:
    """What layers lose when they alone are changed.

    Attributes:
        losses: layer -> way of changing it -> loss; losses that are not finite are left out.
        note: one sentence with unit and number of rows.
        seconds: that it took.
    """

    losses: Mapping[str, Mapping[str, float]]
    note: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found out about the baseline on this device.

    Attributes:
        device, serving: where and how it was timed.
        stages: encode, model, decode.
        layers: in the order of the graph; empty where the runtime shows none.
        bound: the largest speed-up of the whole that any change to the model can bring,
            1 / (1 - share of the model stage); infinite bounds are stored as 1e9.
        noise_floor: half width of the A/A interval of log ratios, as a fraction (0.02 = 2 %).
        size_bytes: of the saved baseline.
        notes: what a person should know about how it was found.
        rates: what this machine reaches at most with the served threads; `None` if never measured.
        layer_ms, layer_batch: milliseconds per example of the model in the call whose time the
            shares of the layers divide, and the rows of that call; 0 where the layers are those of
            another format, or unknown.
        sensitivity_note: unit, rows and seconds of the layers' sensitivity; empty without any.
    """

    device: Device
    serving: ServingProfile
    stages: tuple[StageCost, ...]
    layers: tuple[LayerCost, ...]
    bound: float
    noise_floor: float
    size_bytes: int
    notes: tuple[str, ...] = ()
    sensitivity_note: str = ""
    rates: Rates | None = None
    layer_ms: float = 0.0
    layer_batch: int = 0

    def time_share_of(self, *operators: str) -> float:
        """The share of the model's time that these operator types take, from 0 to 1."""
        return sum(c.time_share or 0.0 for c in self.layers if c.operator in operators)

    def bytes_share_of(self, *operators: str) -> float:
        """The share of the constant bytes that these operator types hold, from 0 to 1."""
        total = sum(c.bytes for c in self.layers)
        return (
            sum(c.bytes for c in self.layers if c.operator in operators) / total if total else 0.0
        )
