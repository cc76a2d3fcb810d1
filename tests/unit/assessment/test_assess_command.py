"""`jettison assess --predictions`: what it writes, and its exit codes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from jettison.cli import app
from jettison.domain.assessment import Assessment
from jettison.domain.record import from_json
from jettison.errors import UsageError


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """2,000 rows in two groups, of which one has three times the errors."""
    r = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("predictions") / "rows.csv"
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["sex", "right", "said"])
        for _ in range(2000):
            sex, right = r.choice(["f", "m"]), r.integers(0, 2)
            wrong = r.random() < (0.3 if sex == "f" else 0.1)
            out.writerow([sex, right, 1 - right if wrong else right])
    return path


def ask(rows, *more):
    words = ["assess", "--predictions", str(rows), "--decision", "said", "--target", "right"]
    words += ["--group", "sex", "--output", str(rows.parent / "out"), *more]
    return CliRunner().invoke(app, words)


def test_it_writes_a_record_and_a_page(rows):
    """Without limits the exit code is 0, whatever was found; the record reads back."""
    done = ask(rows)
    assert done.exit_code == 0, done.output
    record = from_json(Assessment, (rows.parent / "out/assessment.json").read_bytes())
    assert record.leading.findings[0].group == "sex=f"
    assert (rows.parent / "out/assessment.html").stat().st_size > 100_000
    assert "sex=f" in done.output


@pytest.mark.parametrize(("limit", "code"), [("0.5", 0), ("0.05", 5), ("0.2", 4)])
def test_a_limit_decides_the_exit_code(rows, limit, code):
    """Held 0, broken 5, undecided 4."""
    done = ask(rows, "--max-gap", f"error_rate_difference={limit}")
    found = json.loads((rows.parent / "out/assessment.json").read_text())["models"][0]["gaps"]
    verdict = next(g["verdict"] for g in found if g["metric"] == "error_rate_difference")
    assert done.exit_code == {"held": 0, "broken": 5, "undecided": 4}[verdict]
    assert done.exit_code == code


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--max-gap", "fairness"), "needs a name=number"),
        (("--population", "sex=f:2"), "number from 0 to 1"),
        (("--threshold", "1.5"), "threshold"),
        (("--smallest", "0"), "at least 1"),
        (("--task", "ranking"), "classification or regression"),
    ],
)
def test_wrong_options_are_named(rows, more, message):
    """Each message names the option and what it allows."""
    done = ask(rows, *more)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_a_model_or_predictions(rows):
    """Both, or neither, is refused."""
    done = CliRunner().invoke(app, ["assess"])
    assert isinstance(done.exception, UsageError)
    assert "--predictions" in str(done.exception)
