"""The runtime `torch_eager`: PyTorch as it comes, the home of untouched torch models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jettison.domain.attribution import Contest
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.profile import LayerLosses, Profile
from jettison.domain.recipe import Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.errors import MissingDependency
from jettison.graphs.torch_runner import TorchRunner


class TorchEager:
    """Runs an `nn.Module` operator by operator on the CPU."""

    name: ClassVar[str] = "torch_eager"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    excludes: ClassVar[frozenset[str]] = frozenset({"imitated"})
    home: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: threads belong to the serving profile."""
        return {}

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> TorchRunner:
        """Sets the threads of this process and holds the module ready."""
        import torch

        torch.set_num_threads(serving.threads)
        return TorchRunner(model, native)

    def sensitivity(self, model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
        """What each layer loses by each way of changing its weights, from Fisher rows."""
        from jettison.graphs.torch_sensitivity import model_sensitivity

        return model_sensitivity(model, bench.open(model), fitting)

    def attributions(
        self, model: Model, native: Any, rows: Rows, contests: Sequence[Contest]
    ) -> Mapping[str, Array]:
        """Integrated gradients, with the threads that this process has."""
        try:
            from jettison.graphs.torch_attributions import integrated_gradients
        except ImportError as error:
            raise MissingDependency(
                f"gradients need the package captum ({error}): pip install 'jettison[trust]'"
            ) from error
        return integrated_gradients(model, native, rows, contests)
