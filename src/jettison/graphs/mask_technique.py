"""What techniques that set weights to zero share: declarations, settings, bounds, and `apply`.

A new one is a name, a docstring and `prune`. Importing this file imports no torch.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, FloatRange, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData

if TYPE_CHECKING:
    from jettison.graphs.torch_masking import Masking

__all__ = ["UNSTRUCTURED", "MaskTechnique", "mask_ranges"]

UNSTRUCTURED = {"pattern": "unstructured"}
"""Where settings are read that a pattern n:m leaves no choice of."""

SPARSE_KERNELS = "amx_int8"
"""The CPU feature that a kernel for weights without their zeros asks for."""


def mask_ranges() -> dict[str, Range]:
    """The settings of a mask: `sparsity`, `pattern`, `keep_outer` and `layers`."""
    return {
        # A pattern n:m says itself how many are zero.
        "sparsity": FloatRange(0.1, 0.95, 0.5, when=UNSTRUCTURED),
        "pattern": Choices(("unstructured", "2:4", "4:8"), "unstructured", others=True),
        # The first and the last layer lose most.
        "keep_outer": Choices((False, True), default=False),
        "layers": Choices(("",), "", others=True),
    }


class MaskTechnique(abc.ABC):
    """Sets weights of linear layers and convolutions to zero; they are stored like the others.

    A subclass adds `name` and `prune`; `own_ranges` for settings beside those of a mask.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset({"sparse"})
    removes: ClassVar[frozenset[str]] = frozenset({"dense"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    recalibrates: ClassVar[bool] = True
    """Whether BatchNorm statistics are recomputed at the end."""

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The settings of a mask, and those of this technique alone."""
        return {**mask_ranges(), **self.own_ranges()}

    def own_ranges(self) -> Mapping[str, Range]:
        """Settings beside those of a mask."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or in the size of files: zeros are weights like others to both."""
        has = "has it" if SPARSE_KERNELS in profile.device.features else "lacks it"
        gpu = profile.device.versions.get("cuda gpu", "none answers here")
        return Potential(
            1.0,
            1.0,
            "a mask makes no product faster and no file smaller: zeros are multiplied and stored "
            "like other weights. Kernels that skip them need AMX (OpenVINO's `sparse_rate`; this "
            f"CPU {has}), or, for 2:4 in PyTorch, an NVIDIA GPU (`semi_structured` of `torch_cuda`; "
            f"{gpu}). It "
            "pays where `sparse_size_bytes` or `compressed_size_bytes` is minimised",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Opens a copy, prunes it, recomputes BatchNorm, counts, and saves it in its own format.

        Raises:
            NothingChanged: if there is nothing to prune, or no weight became zero.
            CandidateFailed: for settings out of range, and for what `prune` can't work with.
        """
        from jettison.graphs.torch_masking import open_masking

        piece = open_masking(model, settings, fitting, bench)
        how = self.prune(piece, settings, fitting)
        norms = piece.recalibrate(fitting) if self.recalibrates else 0
        return piece.put_away(how, bench, self, norms)

    @abc.abstractmethod
    def prune(self, piece: Masking, settings: Settings, fitting: FittingData) -> str:
        """Sets weights to zero, in place, and says by what they were chosen («by magnitude»).

        Raises:
            CandidateFailed: for settings of its own that are out of range, or rows that don't
                tell what it must know.
        """
