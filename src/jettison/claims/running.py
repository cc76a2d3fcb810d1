"""Runs the experiments of claims, one after the other; what can't be run says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jettison.claims import arithmetic, costs, digits
from jettison.claims.catalogue import Answer, Case, Claim, Found, Reading, answer, judge_case
from jettison.claims.costs import Bench
from jettison.errors import CandidateFailed, MissingDependency, ModelError, UsageError

Experiment = Callable[[Bench, Mapping[str, Any]], Reading]


def tensorrt(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """Would time TensorRT; jettison has no runtime for it yet, so it always says so.

    Raises:
        MissingDependency: always.
    """
    raise MissingDependency("it needs an NVIDIA GPU and a TensorRT runtime, which jettison lacks")


EXPERIMENTS: Mapping[str, Experiment] = {
    "compare": costs.compare,
    "library_default": costs.library_default,
    "batching": costs.batching,
    "batch_mates": costs.batch_mates,
    "accuracy_drop": digits.accuracy_drop,
    "below_four_fifths": arithmetic.below_four_fifths,
    "distilled_weights": arithmetic.distilled_weights,
    "lost_gradients": arithmetic.lost_gradients,
    "tensorrt": tensorrt,
}


def run_claim(claim: Claim, bench: Bench, tell: Callable[[str], None] = lambda _: None) -> Answer:
    """Measures every case of a claim on this machine.

    Args:
        claim: what is said.
        bench: where and how thoroughly.
        tell: told the condition of each case before it starts.

    Raises:
        UsageError: if the data file names no experiment that exists.
    """
    found: list[Found] = []
    for case in claim.cases:
        tell(f"{claim.id}: {case.condition}")
        found.append(_run(claim, case, bench))
    return answer(claim, tuple(found))


def _measured(case: Case, bench: Bench) -> Reading:
    """The reading of a case; two claims about the same thing are measured once."""
    key = f"{case.experiment} {json.dumps(case.settings, sort_keys=True)}"
    if key not in bench.readings:
        bench.readings[key] = EXPERIMENTS[case.experiment](bench, case.settings)
    return bench.readings[key]


def _run(claim: Claim, case: Case, bench: Bench) -> Found:
    if case.experiment not in EXPERIMENTS:
        raise UsageError(
            f"claim `{claim.id}` names no experiment `{case.experiment}`; there are: "
            f"{', '.join(sorted(EXPERIMENTS))}"
        )
    try:
        reading = _measured(case, bench)
    except (MissingDependency, CandidateFailed, ModelError) as error:
        return Found(case.condition, "cannot be run", None, str(error))
    return Found(case.condition, judge_case(claim, reading), reading, reading.note)
