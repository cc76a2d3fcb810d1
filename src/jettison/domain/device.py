"""`Device` and `ServingProfile`: the machine, and how the model will be served on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """The machine that a number was measured on.

    Attributes:
        cpu: model name as the system tells it.
        architecture: `x86_64`, `aarch64`, ...
        features: instruction sets that matter here (`avx2`, `avx512f`, `avx512_vnni`, `amx_int8`).
        cores: logical cores that this process may use.
        memory_bytes: physical memory.
        system: operating system and kernel.
        versions: package name -> version, of everything that touches the numbers.
    """

    cpu: str
    architecture: str
    features: tuple[str, ...]
    cores: int
    memory_bytes: int
    system: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def cpu_class(self) -> str:
        """Architecture and instruction sets: integer answers may differ between two classes."""
        return "-".join((self.architecture, *self.features))

    @property
    def has_int8_dot_products(self) -> bool:
        """Whether 8-bit products are added without saturating at 16 bits (VNNI, AMX, dotprod)."""
        return any("vnni" in f or "amx" in f or f in {"asimddp", "i8mm"} for f in self.features)


@dataclass(frozen=True, slots=True)
class ServingProfile:
    """How the model will be served: the same for the baseline and every candidate, never searched.

    Attributes:
        batch_sizes: rows per call; costs are a curve over these.
        weights: share of the served rows at each batch size, sums to 1.
        threads: computing threads of one call.
        spinning: whether idle threads of the runtime spin.
        lengths: of ragged rows, at which the cost is shown besides; empty takes those that a
            tenth, half and nine tenths of the rows don't exceed. What decides is the cost of the
            rows as they come.
    """

    batch_sizes: tuple[int, ...] = (1,)
    weights: tuple[float, ...] = (1.0,)
    threads: int = 1
    spinning: bool = False
    lengths: tuple[int, ...] = ()
