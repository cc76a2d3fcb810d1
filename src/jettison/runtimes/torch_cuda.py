"""The runtime `torch_cuda`: PyTorch on an NVIDIA GPU, in 32 or 16 bits, 2:4 weights without zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.recipe import Choices, Range, Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.graphs.two_of_four import two_of_four

PRECISIONS = ("float32", "float16", "bfloat16")
SETTINGS = ("precision", "semi_structured")


class TorchCuda:
    """Runs an `nn.Module` operator by operator on the first GPU that CUDA shows.

    Settings: `precision` (of weights and arithmetic; `float32` is that, never TF32) and
    `semi_structured` (linear layers whose weights are 2:4 are computed without the zeros; in 16
    bits only).
    """

    name: ClassVar[str] = "torch_cuda"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    excludes: ClassVar[frozenset[str]] = frozenset({"packed"})
    home: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    accelerator: ClassVar[str] = "cuda"

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The precision; whether zeros are left out: in 16 bits, where a matrix is or becomes 2:4.

        It may be given by hand everywhere: a recipe without a 2:4 layer fails before it is timed.
        """
        space: dict[str, Range] = {"precision": Choices(PRECISIONS, PRECISIONS[0])}
        if "matmul" in model.traits:
            found = two_of_four(model.artifact)
            space["semi_structured"] = Choices(
                (False,) if found is None else (False, True),
                default=False,
                others=True,
                when={"precision": "float16"},
                after={} if found else {"pattern": "2:4"},
            )
        return space

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> TorchDeviceRunner:
        """Moves the module to the GPU; threads are those of the host's part of the work.

        Raises:
            CandidateFailed: for settings that can't be, a build of PyTorch without CUDA, or a
                model that does not fit the GPU or has no 2:4 layer where that is asked for.
        """
        precision, sparse = chosen(settings)
        import torch

        if not torch.cuda.is_available():
            raise CandidateFailed(
                f"PyTorch {torch.__version__} sees no GPU here, though the driver shows one: "
                "install a build of PyTorch with CUDA for this driver"
            )
        torch.set_num_threads(serving.threads)
        # On by default for convolutions: 10 bits of mantissa under the name of float32.
        torch.backends.cudnn.allow_tf32 = False
        return TorchDeviceRunner(model, native, "cuda", precision, sparse=sparse)


class TorchDeviceRunner:
    """A module on a device: named NumPy arrays in, named NumPy arrays out.

    Answers are copied back to the host, so that a call ends only when the device is done with it.
    """

    def __init__(
        self, model: Model, native: Any, device: str, precision: str, *, sparse: bool = False
    ) -> None:
        import torch

        from jettison.graphs.torch_placement import place
        from jettison.graphs.torch_semi_structured import replace_layers

        self._inputs = tuple(spec.name for spec in model.inputs)
        self._outputs = tuple(spec.name for spec in model.outputs)
        self._device, self._dtype = device, getattr(torch, precision)
        try:
            self._module = place(native.eval(), device, self._dtype)
            self._sparse = len(replace_layers(self._module).names) if sparse else 0
        except RuntimeError as error:
            raise _failed("could not take the model to", device, error) from error

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch, rows first; answers in 16 bits come back as float32.

        Raises:
            CandidateFailed: if PyTorch fails on this batch; quotes its reason.
        """
        import torch

        try:
            with torch.inference_mode():
                answer = self._module(**{name: self._taken(batch[name]) for name in self._inputs})
                tensors = answer if isinstance(answer, tuple) else (answer,)
                return {
                    name: _array(tensor)
                    for name, tensor in zip(self._outputs, tensors, strict=True)
                }
        except RuntimeError as error:
            raise _failed("could not run a batch on", self._device, error) from error

    def providers(self) -> Mapping[str, int]:
        """Counts the leaf modules on the device; `2:4` are those computed without their zeros."""
        leaves = sum(1 for m in self._module.modules() if not any(True for _ in m.children()))
        counts = {f"torch-{self._device}": leaves - self._sparse}
        return counts | ({f"torch-{self._device}-2:4": self._sparse} if self._sparse else {})

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """None: the profile of the baseline tells where the time goes."""
        return ()

    def _taken(self, array: Array) -> Any:
        import torch

        # torch refuses to wrap memory-mapped (read-only) arrays without a warning.
        plain = array.flags.writeable and array.flags.c_contiguous
        tensor = torch.from_numpy(array if plain else array.copy()).to(self._device)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


def chosen(settings: Settings) -> tuple[str, bool]:
    """Gives precision and whether 2:4 weights are computed without their zeros.

    Raises:
        CandidateFailed: for unknown settings or values, and for 2:4 in 32 bits.
    """
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise CandidateFailed(
            f"`torch_cuda` has no setting {', '.join(f'`{name}`' for name in unknown)} (its "
            f"settings are {', '.join(SETTINGS)}; threads belong to `serving`)"
        )
    precision = str(settings.get("precision", PRECISIONS[0]))
    if precision not in PRECISIONS:
        raise CandidateFailed(
            f"`precision` of `torch_cuda` must be one of {', '.join(PRECISIONS)}; got {precision!r}"
        )
    sparse = bool(settings.get("semi_structured", False))
    if sparse and precision == PRECISIONS[0]:
        raise CandidateFailed(
            "`semi_structured` of `torch_cuda` computes in 16 bits only: set `precision` to "
            "float16 or bfloat16 too"
        )
    return precision, sparse


def _array(tensor: Any) -> Array:
    wide = tensor.float() if tensor.is_floating_point() and tensor.itemsize == 2 else tensor
    return np.asarray(wide.cpu().numpy())


def _failed(what: str, device: str, error: BaseException) -> CandidateFailed:
    reason = str(error).strip().partition("\n")[0]
    return CandidateFailed(f"PyTorch {what} `{device}`: {reason}")
