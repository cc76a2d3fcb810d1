"""Space: memory of the process that serves, and size of the saved files."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostReading, Session
from jettison.domain.measurement import Better
from jettison.domain.model import Model


class PeakMemoryBytes:
    """Peak resident memory of the worker and its children, interpreter and imports included."""

    name: ClassVar[str] = "peak_memory_bytes"
    unit: ClassVar[str] = "bytes"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = False

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Serves every batch size once, smallest first, then reads the peak.

        The peak only grows, so the value at a batch size is that of it and the smaller ones.
        """
        curve = {}
        for size in sorted(serving.batch_sizes):
            session.burst(size, 1)
            curve[size] = float(session.resources().peak_memory_bytes)
        return CostReading(max(curve.values()), curve, 1)


class SizeBytes:
    """Size of the model's files on disk, as saved, not compressed."""

    name: ClassVar[str] = "size_bytes"
    unit: ClassVar[str] = "bytes"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = False
    of_files: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Reads what the artifact says; `Format.open` has checked it against the files."""
        size = float(model.artifact.size_bytes)
        return CostReading(size, dict.fromkeys(serving.batch_sizes, size), 1)
