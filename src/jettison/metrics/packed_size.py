"""Sizes that a model could have, in a sparse storage or compressed: not what its files take."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostReading, Session
from jettison.domain.measurement import Better
from jettison.domain.model import Artifact, Model

KEPT = 256
"""Artifacts whose sizes are remembered: a search asks for the same ones again and again."""


class SparseSizeBytes:
    """Size of the files if each tensor were a bitmap and its values other than the common one.

    The common value is 0 (for 8- and 4-bit integers the most frequent value). Tensors that this
    would not make smaller count as they are, and so does all else in the files. No file is
    written so: it is what a sparse storage would take.
    """

    name: ClassVar[str] = "sparse_size_bytes"
    unit: ClassVar[str] = "bytes"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = False
    of_files: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Reads the weights in the files.

        Raises:
            ModelError: if a file is damaged.
        """
        return _reading(_sparse(_Key(model.artifact)), serving)


class CompressedSizeBytes:
    """Size of the files after DEFLATE (zlib, level 6), each file alone, as gzip would send them."""

    name: ClassVar[str] = "compressed_size_bytes"
    unit: ClassVar[str] = "bytes"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = False
    of_files: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Compresses the files in memory."""
        return _reading(_compressed(_Key(model.artifact)), serving)


class _Key:
    """An artifact that is known by its contents alone."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __hash__(self) -> int:
        return hash(self.artifact.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.artifact.digest == self.artifact.digest


@lru_cache(maxsize=KEPT)
def _sparse(key: _Key) -> int:
    from jettison.graphs.stored_weights import stored_tensors
    from jettison.numerics.sparse_sizes import sparse_size

    size = key.artifact.size_bytes
    for tensor in stored_tensors(key.artifact):
        dense = tensor.size_bytes
        size += sparse_size(tensor.values, tensor.bits, floating=tensor.floating) - dense
    return size


@lru_cache(maxsize=KEPT)
def _compressed(key: _Key) -> int:
    from jettison.numerics.sparse_sizes import compressed_size

    folder = Path(key.artifact.folder)
    return compressed_size(tuple(folder / name for name in key.artifact.files))


def _reading(size: int, serving: ServingProfile) -> CostReading:
    return CostReading(float(size), dict.fromkeys(serving.batch_sizes, float(size)), 1)
