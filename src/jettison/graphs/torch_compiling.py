"""Compiling a PyTorch module with inductor: where its files go, which shapes, what it took.

Importing this file imports no torch; its methods do.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jettison.domain.device import ServingProfile
from jettison.domain.files import write_atomically
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost
from jettison.domain.record import digest
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.graphs.torch_runner import TorchRunner

__all__ = ["CACHE", "CompiledRunner", "absent_compiler"]

CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor keeps what it compiled; a worker is given a folder of its run."""

DECOMPOSED = "quantized_decomposed."
"""Operators whose kernels inductor finds by patterns that torchao registers."""

SHAPES_MOST = 16
"""Compiled graphs at most; one more is an error, where inductor would silently stop compiling."""


def absent_compiler() -> str:
    """Says that there is no C++ compiler, and what to do; empty where there is one."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(wanted):
        return ""
    return (
        f"torch.compile makes C++ code, and there is no C++ compiler `{wanted}` on the PATH; "
        "install one (Debian: apt-get install g++), or name yours in the environment variable CXX"
    )


class CompiledRunner(TorchRunner):
    """A compiled module: named NumPy arrays in, named NumPy arrays out.

    One row has a graph of its own (inductor treats a size of 1 apart), all other sizes share one.

    Attributes:
        saved_seconds: how much longer loading takes where nothing was compiled before.
    """

    def __init__(
        self, model: Model, native: Any, serving: ServingProfile, *, freezing: bool
    ) -> None:
        import torch

        begun = time.perf_counter()
        torch.set_num_threads(serving.threads)
        place = _cache_folder(self)
        _configure(native, freezing=freezing)
        super().__init__(model, native)
        self._plain = self._module
        self._module = torch.compile(self._plain, dynamic=True)
        self._compile(model, serving)
        facts = (model.artifact.digest, freezing, serving.threads, max(serving.batch_sizes))
        memory = place / f"seconds-{digest(facts)[:32]}.json"
        self.saved_seconds = _saved(memory, time.perf_counter() - begun)

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch, rows first; a size that was not met before may be compiled first.

        Raises:
            CandidateFailed: if it can't be compiled.
        """
        try:
            return super().run(batch)
        except Exception as error:
            raise CandidateFailed(_why(error)) from error

    def providers(self) -> Mapping[str, int]:
        """Counts compiled graphs, and where Python goes on between two of them."""
        from torch._dynamo.utils import counters

        breaks = sum(counters["graph_break"].values())
        found = {"torch-inductor-cpu": int(counters["stats"]["unique_graphs"])}
        return found | ({"torch-cpu, between graphs": breaks} if breaks else {})

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Nothing: kernels are made of parts of several layers."""
        return ()

    def _compile(self, model: Model, serving: ServingProfile) -> None:
        from jettison.graphs.torch_capture import made_up

        fixed = model.inputs[0].shape[0]
        wanted = {1, max(serving.batch_sizes)}
        if isinstance(fixed, int):
            wanted = {fixed}
        with warnings.catch_warnings():
            # Of libraries that it imports.
            warnings.simplefilter("ignore")
            for rows in sorted(wanted):
                named = made_up(model.inputs, rows)
                self.run({name: tensor.numpy() for name, tensor in named.items()})


def _configure(module: Any, *, freezing: bool) -> None:
    """Sets what inductor reads from switches of the whole process; a worker has one model."""
    import torch._dynamo.config
    import torch._inductor.config
    import torch.fx.experimental._config

    # As an option of one call it is not read when weights are told from inputs.
    torch._inductor.config.freezing = freezing
    # Helpers that compile in parallel would stay beside the model while it is timed.
    torch._inductor.config.compile_threads = 1
    torch._dynamo.config.recompile_limit = SHAPES_MOST
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    # Two free sizes that happen to be equal once are two sizes.
    torch.fx.experimental._config.use_duck_shape = False
    graph = getattr(module, "graph", None)
    targets = [str(node.target) for node in graph.nodes] if graph is not None else []
    if any(target.startswith(DECOMPOSED) for target in targets):
        from jettison.graphs.torchao_import import import_torchao

        import_torchao("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")


def _cache_folder(owner: object) -> Path:
    """The folder that this process was given, or one that goes when the runner goes."""
    given = os.environ.get(CACHE)
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
        return Path(given)
    made = tempfile.mkdtemp(prefix="jettison-compiled-")
    os.environ[CACHE] = made
    weakref.finalize(owner, _clear, made)
    return Path(made)


def _clear(folder: str) -> None:
    os.environ.pop(CACHE, None)
    shutil.rmtree(folder, ignore_errors=True)


def _saved(memory: Path, seconds: float) -> float:
    """What loading took the first time beyond what it took now."""
    if not memory.exists():
        write_atomically(memory, json.dumps(seconds))
    return max(0.0, float(json.loads(memory.read_text())) - seconds)


def _why(error: Exception) -> str:
    from jettison.graphs.torch_capture import first_line

    return (
        f"torch.compile could not compile this model ({type(error).__name__}): "
        f"{first_line(error)[:300]}"
    )
