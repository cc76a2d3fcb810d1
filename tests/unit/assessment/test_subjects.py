"""Models that run in a worker, and rows that stay under their seal."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from jettison.assessment.model_rows import RowWishes, read_rows
from jettison.assessment.subjects import (
    SEALS_UNKNOWN,
    Request,
    assess_model,
    hidden_of,
    hidden_rows,
    roles_of,
)
from jettison.cli import app
from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.errors import DataError, UsageError
from jettison.pipeline.load import load_model
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.row_sets import pack, row_set


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A logistic regression on two columns, and a file of 400 rows with groups."""
    skops = pytest.importorskip("skops.io")
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("assess")
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"x": r.normal(size=400), "z": r.normal(size=400)})
    target = (frame["x"] + 0.3 * r.normal(size=400) > 0).astype(int)
    skops.dump(LogisticRegression().fit(frame, target), folder / "model.skops")
    frame["y"], frame["g"] = target, np.where(r.random(400) < 0.5, "a", "b")
    frame.to_csv(folder / "rows.csv", index=False)
    return folder


def configuration(place, output="out", **named):
    section = {"source": str(place / "rows.csv"), "target": "y", "groups": ("g",)} | named
    return Configuration(
        ModelSection(str(place / "model.skops")),
        DataSection(**section),
        output=str(place / output),
        ledger=str(place / "ledger"),
    )


def test_a_model_that_was_never_compressed(place):
    """Its answers are made in a worker, and give the figures that the file itself gives."""
    record = assess_model(configuration(place, groups=("g", "g & y")), Request())
    assert record.n == 400
    assert set(record.groups["g & y"]) == {f"g & y={g} & {y}" for g in "ab" for y in "01"}
    assert record.leading.name == "original"
    assert 0.0 < record.leading.get("error_rate").value < 0.2
    assert record.leading.get("brier_score", "g=a") is not None


def test_rows_without_consent_are_not_assessed(place, tmp_path):
    """The consent that jettison.toml declares counts here as in a run; rows left out are counted."""
    import pandas as pd

    frame = pd.read_csv(place / "rows.csv")
    frame["may"] = np.arange(len(frame)) % 4 > 0
    frame.to_csv(tmp_path / "rows.csv", index=False)
    asked = configuration(place, source=str(tmp_path / "rows.csv"), consent="may")
    record = assess_model(asked, Request())
    assert record.n == 300
    assert any("100 of 400 rows" in note and "`may` is not true" in note for note in record.notes)


def test_own_rows_of_a_run_need_the_consent_that_it_asked_for(place, tmp_path):
    """`assess RUN --data own.csv` leaves rows without consent out, or refuses a file without the column."""
    import pandas as pd

    run = DataSection(str(place / "rows.csv"), target="y", groups=("g",), consent="may")
    frame = pd.read_csv(place / "rows.csv")
    frame["may"] = np.arange(len(frame)) % 4 > 0
    frame.to_csv(tmp_path / "own.csv", index=False)
    model = load_model(ModelSection(str(place / "model.skops")), tmp_path / "model")
    own = roles_of(run, DataSection(str(tmp_path / "own.csv")))
    found = read_rows(RowWishes(own), model, tmp_path / "data")
    assert found.people.n == 300
    assert any("100 of 400 rows" in note and "`may` is not true" in note for note in found.notes)
    silent = roles_of(run, DataSection(str(place / "rows.csv")))
    with pytest.raises(DataError, match=r"no column `may`.*Add it"):
        read_rows(RowWishes(silent), model, tmp_path / "silent")


def test_rows_under_an_unopened_seal_are_left_out(place):
    """Rows that a run has sealed are counted and not answered, until a look has spent them."""
    from jettison.pipeline.split.raw_keys import raw_digests
    from jettison.pipeline.split.reading import read_file

    table = read_file(str(place / "rows.csv"), "source")
    digests = raw_digests(table, ["x", "z"], np.arange(100))
    sealed = place / "run" / "work/data/sealed"
    sealed.mkdir(parents=True)
    (sealed / "row_set.npy").write_bytes(pack(row_set(digests)))
    record = assess_model(configuration(place, "run"), Request())
    assert record.n == 300
    assert any("100 rows lie under an unopened seal" in note for note in record.notes)

    ledger = Ledger(place / "ledger")
    rows = row_set(digests)
    ledger.charge(Charge("c", hashlib.sha256(b"d").hexdigest(), "o", 0.05, rows))
    assert hidden_rows((place / "run",), str(place / "ledger")) is None


def test_rows_of_several_looks_stay_hidden_until_they_are_revealed(tmp_path):
    """After one of two declared looks the rows may still certify; a reveal retires them."""
    rows = row_set([hashlib.sha256(bytes([i])).hexdigest() for i in range(50)])
    sealed = tmp_path / "run/work/data/sealed"
    sealed.mkdir(parents=True)
    (sealed / "row_set.npy").write_bytes(pack(rows))
    ledger = Ledger(tmp_path / "ledger")
    look = ledger.charge(
        Charge("c", hashlib.sha256(b"d").hexdigest(), "o", 0.025, rows, plan=(0.5, 0.5))
    )
    assert hidden_rows((tmp_path / "run",), str(tmp_path / "ledger")) is not None
    ledger.reveal(look.entry)
    assert hidden_rows((tmp_path / "run",), str(tmp_path / "ledger")) is None


def test_a_model_that_answers_with_class_numbers(tmp_path):
    """Of a graph that ends in ArgMax nobody knows the number of classes before it has answered."""
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [make.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "highest",
        [make.make_tensor_value_info("x", kinds.FLOAT, ["n", 4])],
        [make.make_tensor_value_info("label", kinds.INT64, ["n"])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    y = np.where(np.arange(200) % 5 == 0, 3, x.argmax(axis=1))
    np.savez(tmp_path / "rows.npz", x=x, y=y, g=np.array(["a", "b"] * 100))
    data = DataSection(str(tmp_path / "rows.npz"), inputs=("x",), target="y", groups=("g",))
    asked = Configuration(ModelSection(str(tmp_path / "model.onnx")), data, ledger=str(tmp_path))
    record = assess_model(asked, Request())
    assert record.task == "multi-class"
    wrong = (y != x.argmax(axis=1)).mean()
    assert record.leading.get("error_rate").value == pytest.approx(wrong)
    assert record.leading.get("true_positive_rate[2]").value == 1.0


def test_no_data_and_no_groups_are_refused(place):
    """An assessment needs rows and groups; the errors name the options."""
    with pytest.raises(UsageError, match="--data"):
        assess_model(configuration(place, source="", target="", groups=()), Request())
    with pytest.raises(DataError, match="--group"):
        assess_model(configuration(place, groups=()), Request())
    with pytest.raises(UsageError, match="no class `maybe`"):
        assess_model(configuration(place), Request(positive="maybe"))


def seal(run, place, several):
    """Puts the seal of some rows of the file under the folder of a run, as `optimize` leaves it."""
    from jettison.pipeline.split.raw_keys import raw_digests
    from jettison.pipeline.split.reading import read_file

    table = read_file(str(place / "rows.csv"), "source")
    sealed = run / "work/data/sealed"
    sealed.mkdir(parents=True)
    (sealed / "row_set.npy").write_bytes(pack(row_set(raw_digests(table, ["x", "z"], several))))


def test_the_command_leaves_out_what_runs_elsewhere_have_sealed(place, tmp_path, monkeypatch):
    """`assess MODEL --data` knows the usual run folder and each `--run`, not only its own output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    seal(tmp_path / "jettison-run", place, np.arange(100))
    seal(tmp_path / "other", place, np.arange(50, 120))
    words = ["assess", str(place / "model.skops"), "--data", str(place / "rows.csv")]
    words += ["--target", "y", "--group", "g", "--input", "x", "--input", "z"]
    done = CliRunner().invoke(app, [*words, "--run", "other"])
    assert done.exit_code == 0, done.output
    assert "120 rows lie under an unopened seal" in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*words, "--run", "nowhere"])
    assert "--run nowhere" in str(done.exception)


def test_a_bundle_copied_away_finds_the_seal_of_its_run_or_says_that_it_can_not(place, tmp_path):
    """The seal is looked for beside the bundle and where the run was made; else a note says so."""
    ledger, made = str(tmp_path / "ledger"), tmp_path / "made"
    record = SimpleNamespace(
        configuration=SimpleNamespace(output=str(made), ledger=ledger),
        certificate=SimpleNamespace(ledger=None),
        data=SimpleNamespace(rows={"certification": 100}),
    )
    hidden, notes = hidden_of(tmp_path / "copied/release", record)
    assert hidden is None
    assert notes == (SEALS_UNKNOWN,)
    seal(made, place, np.arange(100))
    hidden, notes = hidden_of(tmp_path / "copied/release", record)
    assert hidden.size == 100
    assert notes == ()
