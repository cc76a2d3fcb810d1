"""What is timed, and the order of testing that follows from what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jettison import whole_run
from jettison.domain.certificate import Requirement
from jettison.domain.device import Device, ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.model import Model
from jettison.domain.progress import Silent
from jettison.domain.recipe import Candidate, Recipe, SearchSpace, Step
from jettison.domain.rows import Rows
from jettison.domain.run import GAIN, Trial
from jettison.domain.splits import Labels
from jettison.errors import CandidateFailed
from jettison.pipeline import measure
from jettison.pipeline.certify import CertificationRequest, Contender
from jettison.pipeline.measure import FasterVerdict
from jettison.search import finalists, shortlist
from jettison.search.conclusion import Finalist
from jettison.trust.seal import seal_rows

DEVICE = Device("cpu", "x86_64", ("avx2",), 2, 1, "linux")
COST = "latency_ms"
RANKED = {"a": 2.70, "b": 2.66, "c": 1.20}
ROWS = 1500


def recipe(name: str) -> Recipe:
    return Recipe((Step(name),), Step("onnx_runtime"))


def finalist(name: str, gain: float, verdict: FasterVerdict = "faster") -> Finalist:
    """A trial with its measured gain."""
    one = Estimate(COST + GAIN, OVERALL, gain, gain - 0.02, gain + 0.02, 5, "ratio", "higher")
    made = recipe(name)
    claim = Measurement(made.digest, "claim", (one,), DEVICE)
    return Finalist(Trial(0, made, "complete", "", None, None, 1.0), claim, verdict)


@pytest.fixture
def request_for(network: Model, tmp_path: Path) -> CertificationRequest:
    """Three candidates that no selection row tells apart, and their gains in ranking."""
    place = tmp_path / "rows"
    place.mkdir()
    x = np.arange(ROWS * 2, dtype=np.float32).reshape(ROWS, 2)
    np.save(place / "x.npy", x)
    digests = [hashlib.sha256(row.tobytes()).hexdigest() for row in x]
    targets = np.zeros(ROWS, dtype=np.int64)
    sealed = seal_rows(
        Rows(str(place), ("x",), ROWS, {}, "rows"), Labels(targets), digests, tmp_path / "sealed"
    )
    contenders = tuple(
        Contender(
            Variant(recipe(name).digest, network, Step("onnx_runtime")),
            recipe(name).digest,
            name,
            gain,
        )
        for name, gain in RANKED.items()
    )
    return CertificationRequest(
        baseline=Variant("baseline", network, Step("onnx_runtime")),
        baseline_contributions={},
        contenders=contenders,
        selection=None,
        certification=sealed,
        requirements=(Requirement("accuracy", 0.01, 0.03),),
        configuration_digest="c",
        serving=ServingProfile(),
        ledger=str(tmp_path / "ledger"),
        folder=str(tmp_path / "certify"),
    )


def test_what_was_measured_decides_the_order(request_for: CertificationRequest) -> None:
    """Ranking put `a` before `b`; `b` is the faster one, so it is tested, and `a` is not."""
    assert shortlist.order_of(request_for) == [recipe("a").digest]
    timed = [finalist("a", 2.40), finalist("b", 2.68), finalist("c", 1.1, "no difference shown")]
    gains = shortlist.faster(timed, COST)
    assert list(gains) == [recipe("b").digest, recipe("a").digest]
    assert shortlist.testing(request_for, gains) == [recipe("b").digest]
    asked = shortlist.measured(request_for, gains)
    assert {c.title: c.gain for c in asked.contenders} == {"a": 2.40, "b": 2.68}


def test_what_ranking_can_not_tell_apart_is_timed(request_for: CertificationRequest) -> None:
    """The second of the ranking is timed beside the first; the slow one is not near."""
    order = shortlist.order_of(request_for)
    assert shortlist.near(request_for, order) == [recipe("b").digest]
    everything = [recipe(name).digest for name in RANKED]
    assert shortlist.near(request_for, everything) == []


def test_the_trail_is_told_the_order_that_is_tested(request_for: CertificationRequest) -> None:
    """What is not faster stands behind, with its verdict."""
    timed = [finalist("c", 1.0, "no difference shown"), finalist("a", 2.40), finalist("b", 2.68)]
    told = shortlist.told(request_for, timed, COST)
    assert [(str(t.recipe), verdict) for t, verdict in told] == [
        ("b > onnx_runtime", "faster"),
        ("c > onnx_runtime", "no difference shown"),
    ]


def test_without_rows_the_fastest_measured_ships(tmp_path: Path) -> None:
    """Not the one that a single launch of ranking put first."""
    timed: Any = SimpleNamespace(finalists=(finalist("a", 2.40), finalist("b", 2.68)))
    found: Any = SimpleNamespace(interrupted=False)
    bench: Any = SimpleNamespace(folder=tmp_path, costs=(COST,))
    made = whole_run._certified(None, timed, found, Silent(), bench, certify=True)
    assert made.shipped == recipe("b").digest
    assert made.certificate.status == "uncertified"


def test_with_rows_the_measured_order_is_asked_for(
    request_for: CertificationRequest, tmp_path: Path
) -> None:
    """The seal stays closed here; what would be tested first is the fastest by measurement."""
    timed: Any = SimpleNamespace(finalists=(finalist("a", 2.40), finalist("b", 2.68)))
    found: Any = SimpleNamespace(interrupted=False)
    bench: Any = SimpleNamespace(folder=tmp_path, costs=(COST,))
    made = whole_run._certified(request_for, timed, found, Silent(), bench, certify=False)
    assert made.shipped == recipe("b").digest


def test_what_can_not_run_beside_the_others_is_left_out(
    monkeypatch: pytest.MonkeyPatch, make_network: Callable[..., Model], tmp_path: Path
) -> None:
    """Ten models at once may be too many for the memory: fewer are timed, and the run goes on."""
    sizes: list[int] = []

    def claim(variants: Any, *_: Any) -> measure.ClaimResult:
        sizes.append(len(variants) - 1)
        if len(variants) > 3:
            raise CandidateFailed("the worker ended without an answer (out of memory?)")
        return measure.ClaimResult(
            {v.name: Measurement(v.name, "claim", (), DEVICE) for v in variants}, 0.01, False
        )

    monkeypatch.setattr(measure, "claim_costs", claim)
    trials = [_built(make_network(seed=n), str(n)) for n in range(6)]
    bench: Any = SimpleNamespace(
        baseline=Variant("baseline", make_network(), Step("onnx_runtime")),
        costs=(COST,),
        fitting=SimpleNamespace(rows=None),
        serving=ServingProfile(),
        folder=tmp_path,
    )
    timed = finalists.time_finalists(bench, trials[:4], trials[4:], 1.0, Silent())
    assert sizes == [6, 4, 2]
    assert [f.trial for f in timed.finalists] == trials[:2]


def _built(model: Model, name: str) -> Trial:
    return Trial(0, recipe(name), "complete", "", Candidate(recipe(name), model, ()), None, 1.0)


def test_another_margin_is_another_search() -> None:
    """What was stopped for losing more than 1 % may hold at 5 %: such trials don't carry over."""

    def identity(**margin: float) -> dict[str, str]:
        asked = Requirement("accuracy", margin.pop("max_drop", 0.0), 0.1, **margin)  # type: ignore[arg-type]
        prepared: Any = SimpleNamespace(
            configuration=SimpleNamespace(
                serving=ServingProfile(),
                search=SimpleNamespace(minimise=(COST,)),
                requirements=(asked,),
            ),
            model=SimpleNamespace(
                artifact=SimpleNamespace(digest="m"), prediction="scores", task="classification"
            ),
            splits=SimpleNamespace(digest="d"),
            space=SearchSpace((), {}, {}, (), ()),
            profile=SimpleNamespace(device=DEVICE),
        )
        return whole_run._identity(prepared)

    assert identity(max_drop=0.01) == identity(max_drop=0.01)
    assert identity(max_drop=0.01)["margin"] != identity(max_drop=0.05)["margin"]
    assert identity(max_drop_relative=0.02) != identity(max_drop_relative=0.03)
