"""What a monitor watches, and how much of it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.domain.certificate import Certificate
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import CheckFailed
from jettison.trust import bundle_layout as layout
from jettison.trust.sketch import Sketch, read_sketch

ANCHORS = 8
"""Stored answers that are put before the rows whenever rows are scored: few, because they cost."""


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How much a monitor watches and remembers.

    Attributes:
        alpha: chance that any alarm about a margin is false, in the life of the deployment.
        sampled_per_second: requests a second whose inputs are compared with the sketch, at most.
        remembered: answers that wait for an outcome, of shadowed requests and of others each.
        remembered_bytes: memory for each of the two.
        remembered_seconds: an outcome that comes later than this is too late.
        largest_rows: rows of the largest request that is remembered.
    """

    alpha: float = 0.05
    sampled_per_second: float = 20.0
    remembered: int = 20_000
    remembered_bytes: int = 32 << 20
    remembered_seconds: float = 7 * 24 * 3600.0
    largest_rows: int = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """The version that is watched.

    Attributes:
        name, version: under which it is served.
        model: that answers.
        certificate: whose claims are watched.
        sketch: of the bundle.
        anchors: stored answers of the model, shape (k, ...).
        digest: of the bundle.
    """

    name: str
    version: str
    model: Model
    certificate: Certificate
    sketch: Sketch
    anchors: Array
    digest: str

    @classmethod
    def from_bundle(
        cls,
        folder: Path,
        model: Model,
        certificate: Certificate,
        *,
        name: str,
        version: str,
        digest: str,
    ) -> Watched:
        """Reads what a monitor needs of an opened bundle.

        Raises:
            CheckFailed: if the sketch or the probes can't be read.
        """
        sketch = read_sketch(folder / layout.SKETCH)
        anchors = _anchors(folder / layout.PROBES, model.prediction)
        return cls(name, version, model, certificate, sketch, anchors, digest)


def _anchors(path: Path, output: str) -> Array:
    """A few stored answers to the probes, without rows that are not finite.

    Raises:
        CheckFailed: if the file can't be read.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            values: Array = stored[f"output.{output}"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckFailed(f"the probes {path} can't be read: {error}") from error
    if values.dtype.kind != "f":
        return values[:ANCHORS]
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    kept: Array = values[finite]
    return kept[:ANCHORS]
