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


@pytest.mark.parametrize("more", [("--data", "other.csv"), ("--threads", "2"), ("--run", "run")])
def test_options_that_predictions_have_no_use_for_are_refused(rows, more):
    """An option that would be dropped without a word is named instead."""
    done = ask(rows, *more)
    assert isinstance(done.exception, UsageError)
    assert f"`{more[0]}` can't be given with --predictions" in str(done.exception)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--group", "sex"), "`--group` can't be given for the selection rows"),
        (("--target", "right", "--unit", "u"), "`--target`, `--unit` can't be given"),
        (("--data", "rows.csv", "--task", "regression"), "`--task` can't be given for a run"),
        (("--data", "rows.csv", "--prediction", "note"), "`--prediction` can't be given for a run"),
        (("--score", "s"), "`--score` can't be given without --predictions"),
    ],
)
def test_options_that_a_run_has_no_use_for_are_refused(tmp_path, more, message):
    """Roles need own rows; the task is that of the run."""
    (tmp_path / "release").mkdir()
    done = CliRunner().invoke(app, ["assess", str(tmp_path), *more])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_options_of_the_rows_go_before_a_configuration_file(tmp_path, monkeypatch):
    """`assess jettison.toml --data other.csv --group race` assesses these rows by this group."""
    from jettison.assessment import subjects

    (tmp_path / "jettison.toml").write_text(
        '[model]\nsource = "m.onnx"\n[data]\nsource = "rows.csv"\ntarget = "y"\ngroups = ["sex"]\n'
    )
    seen = []

    def stop(configuration, request):
        seen.append(configuration.data)
        raise UsageError("enough")

    monkeypatch.setattr(subjects, "assess_model", stop)
    words = ["assess", str(tmp_path / "jettison.toml"), "--data", "other.csv", "--group", "race"]
    CliRunner().invoke(app, words)
    assert (seen[0].source, seen[0].groups, seen[0].target) == ("other.csv", ("race",), "y")
    done = CliRunner().invoke(app, [*words, "--trust-pickle"])
    assert "`--trust-pickle` can't be given with" in str(done.exception)


def test_the_table_assess_is_used_and_typed_options_go_before_it(tmp_path, monkeypatch):
    """Each setting of the file counts until it is typed; a typed default counts too."""
    from jettison.assessment import subjects

    (tmp_path / "jettison.toml").write_text(
        '[model]\nsource = "m.onnx"\n[data]\nsource = "rows.csv"\ngroups = ["sex", "race"]\n'
        '[assess]\ncross = ["sex*race"]\nadverse = true\nthreshold = 0.7\nsmallest = 50\n'
        'max_gap = { error_rate_difference = 0.05 }\npopulation = { "sex=f" = 0.51 }\n'
    )
    seen = []

    def stop(configuration, request):
        seen.append(request)
        raise UsageError("enough")

    monkeypatch.setattr(subjects, "assess_model", stop)
    words = ["assess", str(tmp_path / "jettison.toml")]
    CliRunner().invoke(app, words)
    CliRunner().invoke(app, [*words, "--threshold", "0.8", "--max-gap", "x=0.1"])
    plain, typed = seen
    assert plain.crossings == (("sex", "race"),)
    assert (plain.wishes.adverse, plain.wishes.threshold, plain.wishes.smallest) == (True, 0.7, 50)
    assert plain.wishes.limits == {"error_rate_difference": 0.05}
    assert plain.population == {"sex=f": 0.51}
    assert (typed.wishes.threshold, typed.wishes.smallest) == (0.8, 50)
    assert typed.wishes.limits == {"x": 0.1}


def test_a_wrong_table_assess_is_refused(tmp_path):
    """A gap of 2 and a crossing that is no text are named with their lines."""
    (tmp_path / "jettison.toml").write_text(
        '[model]\nsource = "m.onnx"\n[assess]\nmax_gap = { x = 2.0 }\ncross = [1]\n'
    )
    told = str(CliRunner().invoke(app, ["assess", str(tmp_path / "jettison.toml")]).exception)
    assert "`max_gap` in `assess` must be a table of numbers from 0 to 1" in told
    assert "line 4" in told
    assert "`cross` in `assess`" in told
