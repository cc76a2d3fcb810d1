"""Contexts all the way: MNIST digits as they are, as JPEG and in noise, certified and reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jettison as jt
from jettison.domain.run import RunRecord
from jettison.reporting.context_table import AS_THEY_CAME, contexts
from jettison.trust.outcomes import load_outcomes

pytest.importorskip("PIL")
pytestmark = pytest.mark.slow

ROWS = 1600


@pytest.fixture(scope="module")
def record(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """One trial of dynamic int8 on a small convolutional network, with two contexts."""
    folder = tmp_path_factory.mktemp("contexts")
    with np.load(shared_data / "vision" / "mnist.npz") as held:
        np.savez(folder / "digits.npz", image=held["x_test"][:ROWS], digit=held["y_test"][:ROWS])
    found = jt.optimize(
        shared_data / "models" / "mnist-cnn-cntk.onnx",
        folder / "digits.npz",
        target="digit",
        max_drop=0.03,
        max_drop_group=0.05,
        model_options={"task": "classification"},
        image={"channels": "grey", "scale": 1.0},
        contexts=[
            {"name": "jpeg10", "transform": "jpeg", "settings": {"quality": 10}},
            {
                "name": "noise",
                "transform": "gaussian_noise",
                "settings": {"deviation": 40.0},
                "share": 0.5,
            },
        ],
        search={
            "techniques": ["int8_static"],
            "runtimes": ["onnx_runtime"],
            "minimise": ["size_bytes"],
            "trials": 1,
        },
        output=str(folder / "run"),
        ledger=str(folder / "ledger"),
    )
    return found.record


def test_each_context_is_a_claim_over_its_own_copies(record: RunRecord) -> None:
    """The whole counts rows as they came; a context counts its copies; both have grade A."""
    assert record.data is not None
    claims = {claim.group: claim for claim in record.certificate.claims}
    whole = record.data.rows["certification"]
    assert claims["overall"].n == whole
    assert claims["context=jpeg10"].n == whole
    assert 0.4 * whole < claims["context=noise"].n < 0.6 * whole
    assert {claim.grade for claim in claims.values()} == {"A"}
    assert any("Context `noise`" in note for note in record.notes)


def test_the_report_has_the_table_and_verdicts_are_recomputed(record: RunRecord) -> None:
    """The outcomes hold every copy, and the page names each context."""
    folder = Path(record.configuration.output)
    names = [row[0].text for row in contexts(record).rows]
    assert sorted(names) == sorted(["jpeg10", "noise", AS_THEY_CAME])
    assert "<h3>Contexts</h3>" in (folder / "report.html").read_text(encoding="utf-8")
    found = list(folder.rglob("outcomes.npz"))
    outcomes = load_outcomes(found[0])
    assert outcomes.copies is not None
    assert int(outcomes.whole().sum()) + int(outcomes.copies.sum()) == outcomes.n
