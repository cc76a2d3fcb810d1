"""The runtime `torch_compile`: PyTorch's own compiler (inductor) makes C++ kernels for this CPU."""

from __future__ import annotations

from typing import Any, ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, Ranges
from jettison.domain.record import Settings
from jettison.errors import CandidateFailed
from jettison.graphs.torch_compiling import CompiledRunner, absent_compiler


class TorchCompile:
    """Compiles an `nn.Module` while it is loaded; a C++ compiler must be installed.

    Setting: `freezing` (weights become constants of the compiled graph, so that norms merge with
    convolutions and 8-bit kernels can be used).
    """

    name: ClassVar[str] = "torch_compile"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    home: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing is searched: each value would be compiled for minutes."""
        return {"freezing": Choices((True,), default=True, others=True)}

    def refusal(self) -> str:
        """Why nothing can be compiled on this machine; empty where it can."""
        return absent_compiler()

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> CompiledRunner:
        """Compiles for one row, and for more where the profile serves more; this is load time.

        Raises:
            CandidateFailed: for unknown settings, or if the module can't be compiled.
        """
        unknown = sorted(set(settings) - {"freezing"})
        if unknown:
            raise CandidateFailed(
                f"`torch_compile` has no setting {', '.join(f'`{name}`' for name in unknown)} (it "
                "has `freezing`; threads belong to `serving`)"
            )
        return CompiledRunner(model, native, serving, freezing=bool(settings.get("freezing", True)))
