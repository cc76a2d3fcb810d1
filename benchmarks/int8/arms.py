"""The ways to int8 that are compared, for each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jettison.domain.record import Settings


@dataclass(frozen=True, slots=True)
class Arm:
    """One way: a title, and steps with their settings."""

    title: str
    steps: tuple[tuple[str, Settings], ...]


def static(title: str, **settings: str | float | bool) -> Arm:
    """One step of static int8."""
    return Arm(title, (("int8_static", settings),))


CALIBRATORS = tuple(
    static(f"static, {name}", calibrator=name)
    for name in ("percentile_99.9", "percentile_99.99", "percentile_99.999", "mse", "entropy")
)
COMMON = (
    static("static, default"),
    *CALIBRATORS,
    static("static, held_out", calibrator="held_out"),
    static("static, bias correction", bias_correction=True),
    static("static, mse and bias correction", calibrator="mse", bias_correction=True),
    static("static, u8u8", signs="u8u8"),
    static("static, s8s8", signs="s8s8"),
    static("static, 7-bit weights", reduce_range=True),
    static("static, one scale per tensor", per_channel=False),
    static("static, per tensor, bias correction", per_channel=False, bias_correction=True),
)
SPARED = (
    static("static, 2 worst in float", exclude_layers=2),
    static("static, knapsack 5 %", fallback=0.05),
    static("static, knapsack 15 %", fallback=0.15),
)
EQUALISED = (
    Arm(
        "equalised, static",
        (("cross_layer_equalization", {}), ("int8_static", {})),
    ),
    Arm(
        "equalised, static, per tensor",
        (("cross_layer_equalization", {}), ("int8_static", {"per_channel": False})),
    ),
)
PER_TENSOR_CHOICE = (static("static, held_out_per_tensor", calibrator="held_out_per_tensor"),)
SMOOTHED = (
    static("static, smoothing", smoothing=True),
    static(
        "static, smoothing, mse and bias correction",
        smoothing=True,
        calibrator="mse",
        bias_correction=True,
    ),
)


def given(alpha: float) -> Arm:
    """Smoothing with one alpha everywhere, then static int8."""
    smooth: Settings = {"strength": "given", "alpha": alpha}
    steps = (("activation_smoothing", smooth), ("int8_static", {}))
    return Arm(f"static, smoothing, alpha {alpha:g}", steps)


ARMS: Mapping[str, tuple[Arm, ...]] = {
    "minilm": (
        static("static, default"),
        static("static, mse", calibrator="mse"),
        static("static, entropy", calibrator="entropy"),
        static("static, bias correction", bias_correction=True),
        *SMOOTHED,
        given(0.5),
        given(0.85),
        Arm("dynamic, default", (("int8_dynamic", {}),)),
        Arm("dynamic, smoothing", (("int8_dynamic", {"smoothing": True}),)),
        static("static, knapsack 5 %", fallback=0.05),
        static("static, u8u8", signs="u8u8"),
        static("static, held_out", calibrator="held_out"),
    ),
    "resnet20": (*COMMON, *PER_TENSOR_CHOICE, *SPARED, *EQUALISED),
    "magika": (*COMMON, *SMOOTHED, *EQUALISED),
    "mnist-cnn": (*COMMON, *PER_TENSOR_CHOICE, *EQUALISED),
}
