"""Attributes answers to inputs by gradients, where the runtime of a model can tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jettison import registry
from jettison.domain.attribution import TellsGradients
from jettison.domain.jobs import AttributeAnswer, AttributeJob, output_file
from jettison.errors import CandidateFailed
from jettison.worker.workbench import open_model


def attribute(job: AttributeJob) -> AttributeAnswer:
    """Asks the runtime, and leaves what it says in files.

    Raises:
        CandidateFailed: if it can't tell, or told something that is no number.
        MissingDependency: if a package is missing.
    """
    runtime = registry.get("runtimes", job.runtime.name)
    registry.require_packages(runtime)
    if not isinstance(runtime, TellsGradients):
        raise CandidateFailed(f"the runtime `{job.runtime.name}` gives no gradients")
    found = runtime.attributions(job.model, open_model(job.model), job.rows, job.contests)
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise CandidateFailed(f"a gradient with regard to `{name}` is not a finite number")
        np.save(output_file(Path(job.folder), name), values, allow_pickle=False)
    return AttributeAnswer(job.folder, tuple(found))
