"""The `Workbench` that techniques get: opens, saves and runs models through the registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison import registry
from jettison.domain.device import Device, ServingProfile
from jettison.domain.extension_points import Runner
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Batch
from jettison.domain.running_time import running
from jettison.errors import CandidateFailed, ModelError


def open_model(model: Model) -> Any:
    """Opens a model with its format: the native object."""
    return registry.get("formats", model.artifact.format).open(model.artifact)


def prepare(model: Model, runtime: Step, serving: ServingProfile) -> Runner:
    """Opens a model and prepares it on a runtime as it will be served."""
    plugin = registry.get("runtimes", runtime.name)
    registry.require_packages(plugin)
    return plugin.prepare(model, open_model(model), runtime.settings, serving)


@dataclass(frozen=True, slots=True)
class Counted:
    """A runner whose calls count as running the model."""

    runner: Runner

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch."""
        with running():
            return self.runner.run(batch)

    def providers(self) -> Mapping[str, int]:
        """Which execution provider each node ran on."""
        return self.runner.providers()

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Costs of each operator."""
        return self.runner.layer_costs(batch)


@dataclass(frozen=True, slots=True)
class Bench:
    """What one step may use. See `jettison.domain.extension_points.Workbench`."""

    folder: Path
    cache: Path
    device: Device
    serving: ServingProfile
    original: Model | None = None

    def open(self, model: Model) -> Any:
        """Opens a model with its format."""
        return open_model(model)

    def save(self, native: Any, format_name: str, like: Model) -> Model:
        """Saves a native object into the step's folder; everything else is taken from `like`.

        Raises:
            CandidateFailed: if the format can't hold what the technique made.
        """
        try:
            artifact = registry.get("formats", format_name).save(native, self.folder)
        except ModelError as error:
            raise CandidateFailed(str(error)) from error
        return dataclasses.replace(like, artifact=artifact)

    def runner(self, model: Model) -> Runner:
        """Prepares a model on the runtime that is the home of one of its traits."""
        runtime = registry.home_runtime(model.traits)
        with running():
            return Counted(prepare(model, Step(runtime.name), self.serving))
