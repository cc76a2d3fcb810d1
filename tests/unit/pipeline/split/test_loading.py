"""Loading data: what comes out, from every kind of file, and what is refused."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from split_tables import SECTION, N, load, model, refused, sealed, table

from jettison.domain.configuration import DataSection
from jettison.domain.raw_examples import read_raw, write_raw
from jettison.errors import DataError
from jettison.pipeline.split import load_data, made_up_data
from jettison.pipeline.split.loading import storage


def test_one_source_is_divided_by_unit(tmp_path: Path) -> None:
    """Every row lands once, with its label; no author stands on two sides."""
    given = table()
    made = load(given, tmp_path)
    assert made.selection is not None
    assert made.certification is not None
    chosen = made.selection.rows.column("x")
    assert made.fitting.rows.n + made.selection.rows.n + made.certification.n == N
    everything = np.concatenate([made.fitting.rows.column("x"), chosen, sealed(tmp_path)])
    original = np.stack([given["a"], given["b"]], axis=1)
    np.testing.assert_array_equal(np.sort(everything, axis=0), np.sort(original, axis=0))
    place = {bytes(row): i for i, row in enumerate(original)}
    names: dict[str, set[int]] = {}
    for row, target, unit, group, weight in zip(
        chosen,
        made.selection.labels.targets,  # type: ignore[arg-type]
        made.selection.labels.units,  # type: ignore[arg-type]
        made.selection.labels.groups["sex"],
        made.selection.labels.weights,  # type: ignore[arg-type]
        strict=True,
    ):
        i = place[bytes(row)]
        assert ("no", "yes")[target] == given["y"][i]
        assert (group, weight) == (given["sex"][i], given["w"][i])
        names.setdefault(unit, set()).add(given["author"][i])
    # Each unit has a number in place of its name, and no two share one.
    assert all(len(authors) == 1 for authors in names.values())
    assert len(names) == len(set.union(*names.values()))
    assert made.certification.units < len(set(given["author"])) - len(names)
    assert made.certification.labelled
    assert made.certification.weighted
    assert made.encoder is not None
    assert made.encoder.settings["columns"] == ["a", "b"]


def test_the_order_of_the_file_changes_nothing(tmp_path: Path) -> None:
    """A shuffled file gives the same splits, row for row, and the same digests."""
    given = table()
    order = np.random.default_rng(1).permutation(N)
    one = load(given, tmp_path / "one")
    two = load({k: v[order] for k, v in given.items()}, tmp_path / "two")
    assert one.digest == two.digest
    assert one.fitting.rows.digest == two.fitting.rows.digest
    assert one.selection is not None
    assert two.selection is not None
    assert one.selection.rows.digest == two.selection.rows.digest
    np.testing.assert_array_equal(sealed(tmp_path / "one"), sealed(tmp_path / "two"))


def test_seed_and_labels_are_part_of_the_digest(tmp_path: Path) -> None:
    """Another seed divides otherwise; a changed label is other data."""
    given = table()
    one = load(given, tmp_path / "one")
    other = load(given, tmp_path / "two", dataclasses.replace(SECTION, seed=4))
    flipped = dict(given, y=np.roll(given["y"], 1))
    assert len({one.digest, other.digest, load(flipped, tmp_path / "three").digest}) == 3


def test_copies_are_counted_and_kept_once_in_certification(tmp_path: Path) -> None:
    """Without units, copies share a side; among sealed rows each is kept once."""
    given = table()
    for name in ("a", "b"):
        given[name][50:150] = given[name][0]
    made = load(given, tmp_path, dataclasses.replace(SECTION, unit=""))
    assert made.duplicates == 100
    rows = sealed(tmp_path)
    assert len(np.unique(rows, axis=0)) == len(rows)
    if made.certification is not None and made.certification.n < 0.7 * N:
        assert any("repeat the encoded inputs" in note for note in made.notes)


def test_files_named_per_use_are_taken_as_they_are(tmp_path: Path) -> None:
    """Rows of selection that the sealed file repeats are left out of it, and counted."""
    parts = {
        "fitting": table(40, seed=1),
        "selection": table(100, seed=2),
        "certification": table(200, seed=3),
    }
    for name in ("a", "b"):
        parts["certification"][name][:7] = parts["selection"][name][:7]
    del parts["fitting"]["y"]
    section = dataclasses.replace(SECTION, unit="")
    made = load_data(section, model(), tmp_path, parts)
    assert made.selection is not None
    assert made.certification is not None
    assert (made.fitting.rows.n, made.selection.rows.n) == (40, 100)
    assert made.certification.n == 193
    assert made.selection.labels.targets is not None
    assert made.selection.labels.targets.dtype == np.int64
    assert any(note.startswith("7 rows were left out") for note in made.notes)


def test_fitting_rows_carry_their_targets_where_they_are_known(tmp_path: Path) -> None:
    """Rows and targets stay together; without targets, techniques are told that there are none."""
    parts = {"fitting": table(40, seed=1), "selection": table(100, seed=2)}
    section = dataclasses.replace(SECTION, unit="")
    made = load_data(section, model(), tmp_path / "known", parts).fitting
    assert made.labels is not None
    assert made.labels.targets is not None
    answers = dict(zip(parts["fitting"]["a"].tolist(), parts["fitting"]["y"].tolist()))
    told = [answers[row[0]] for row in made.rows.column("x").tolist()]
    assert made.labels.targets.tolist() == [("no", "yes").index(name) for name in told]
    assert set(told) == {"no", "yes"}
    del parts["fitting"]["y"]
    bare = load_data(section, model(), tmp_path / "unknown", parts).fitting
    assert bare.labels is not None
    assert bare.labels.targets is None
    assert set(bare.labels.groups["sex"]) == {"f", "m"}
    assert bare.target_digest == ""


def test_more_fitting_rows_are_kept_where_the_user_wants_them(tmp_path: Path) -> None:
    """`fitting_rows` caps what techniques fit on."""
    parts = {"fitting": table(40, seed=1), "selection": table(100, seed=2)}
    section = dataclasses.replace(SECTION, unit="", fitting_rows=16)
    made = load_data(section, model(), tmp_path, parts)
    assert made.fitting.rows.n == 16
    assert any("24 fitting rows beyond the 16 of `fitting_rows`" in note for note in made.notes)


def test_without_a_sealed_file_nothing_can_be_certified(tmp_path: Path) -> None:
    """Two files give no certification set; three words say which are needed."""
    parts = {"fitting": table(40, seed=1), "selection": table(100, seed=2)}
    made = load_data(SECTION, model(), tmp_path, parts)
    assert made.certification is None
    with pytest.raises(DataError, match="at least `fitting` and `selection`"):
        load_data(SECTION, model(), tmp_path, {"selection": table(100)})
    with pytest.raises(DataError, match="exclude each other"):
        load_data(SECTION, model(), tmp_path, {"source": table(), "selection": table()})


def test_a_unit_in_two_files_is_left_out_of_the_later(tmp_path: Path) -> None:
    """An author whom the search has met is no evidence about new authors."""
    parts = {"fitting": table(40, 1), "selection": table(100, 2), "certification": table(200, 3)}
    for use, part in parts.items():
        part["author"] = np.array([f"{use} {i}" for i in range(len(part["a"]))])
    parts["certification"]["author"][:5] = parts["selection"]["author"][0]
    made = load_data(SECTION, model(), tmp_path, parts)
    assert made.certification is not None
    assert made.certification.n == 195


def test_a_file_that_shares_all_rows_leaves_a_use_empty(tmp_path: Path) -> None:
    """The same file for selection and certification is refused."""
    part = table(100)
    with pytest.raises(DataError, match="no row is left for certification"):
        load_data(
            dataclasses.replace(SECTION, unit=""),
            model(),
            tmp_path,
            {"fitting": table(40, 1), "selection": part, "certification": part},
        )


def test_without_labels_there_are_no_targets(tmp_path: Path) -> None:
    """An unlabelled run has rows and no targets, groups, units or weights."""
    made = load(table(), tmp_path, DataSection(inputs=("a", "b")))
    assert made.selection is not None
    assert made.selection.labels.targets is None
    assert made.certification is not None
    assert not made.certification.labelled


def test_a_tiny_group_survives_and_is_named(tmp_path: Path) -> None:
    """A group of 3 rows is not pooled away; the notes say that it is too small."""
    given = table()
    given["sex"] = np.where(np.arange(N) < 3, "x", "m")
    made = load(given, tmp_path, dataclasses.replace(SECTION, unit=""))
    assert made.certification is not None
    sizes = made.certification.group_sizes
    assert sizes.get("sex=x", 0) <= 3
    assert any("too few for any margin" in note and "`sex=x`" in note for note in made.notes)


def test_an_undeclared_unit_is_pointed_out(tmp_path: Path) -> None:
    """A column that is called like an identifier and repeats is worth a sentence, not an error."""
    given = table()
    section = dataclasses.replace(SECTION, unit="")
    made = load(given, tmp_path, section)
    assert any('unit = "author"' in note for note in made.notes)
    given["author"] = np.arange(N)
    assert not any("unit =" in note for note in load(given, tmp_path, section).notes)


def test_labels_that_start_at_one_are_pointed_out(tmp_path: Path) -> None:
    """Targets 1 and 2 of a model with 3 classes may be shifted: a note; of 2 classes: an error."""
    given = table()
    given["y"] = np.where(given["y"] == "no", 1, 2)
    made = load(given, tmp_path, like=model(classes=3, labels=()))
    assert any("count from 1" in note for note in made.notes)
    assert "start at 1: subtract 1" in refused(given, tmp_path, like=model(labels=()))


@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        (("no", "yes"), ["no", "yes"], [0, 1]),
        ((), [0, 1], [0, 1]),
        ((), [0.0, 1.0], [0, 1]),
        ((), [False, True], [0, 1]),
        (("false", "true"), [True, False], [1, 0]),
        (("3", "5"), [3, 5], [0, 1]),
        (("3", "5"), ["5", "3"], [1, 0]),
        (("LABEL_0", "LABEL_1"), [1, 0], [1, 0]),
    ],
)
def test_targets_become_class_indices(
    tmp_path: Path, labels: tuple[str, ...], values: list[Any], expected: list[int]
) -> None:
    """Names, numbered names, indices and truth values all lead to the order of the scores."""
    given = table()
    given["y"] = np.array(values)[np.arange(N) % 2]
    given["a"] = np.arange(N, dtype=np.float32)
    made = load(given, tmp_path, like=model(labels=labels))
    assert made.selection is not None
    first = made.selection.rows.column("x")[:, 0].astype(int)
    assert made.selection.labels.targets is not None
    np.testing.assert_array_equal(made.selection.labels.targets, np.array(expected)[first % 2])


def test_a_regression_keeps_its_values(tmp_path: Path) -> None:
    """Targets of a regression are floats as they stand."""
    given = table()
    given["y"] = given["a"] * 2.5
    made = load(given, tmp_path, like=model(classes=1, labels=(), task="regression"))
    assert made.selection is not None
    assert made.selection.labels.targets is not None
    np.testing.assert_allclose(
        made.selection.labels.targets, made.selection.rows.column("x")[:, 0] * 2.5, rtol=1e-6
    )


def test_twenty_units_always_give_three_uses(tmp_path: Path) -> None:
    """For every seed no use stays empty, however the hashes fall."""
    given = {k: v[:20] for k, v in table().items()}
    for seed in range(12):
        section = dataclasses.replace(SECTION, unit="", seed=seed)
        made = load(given, tmp_path, section)
        assert made.selection is not None
        assert made.certification is not None
        assert min(made.fitting.rows.n, made.selection.rows.n, made.certification.n) >= 1


def write(path: Path, frame: pd.DataFrame) -> None:
    match path.suffixes:
        case [".parquet"]:
            frame.to_parquet(path)
        case [".npz"]:
            arrays = {c: frame[c].to_numpy() for c in frame}
            np.savez(
                path, **{c: v.astype("U") if v.dtype == object else v for c, v in arrays.items()}
            )
        case [".csv", *_]:
            frame.to_csv(path, index=False)
        case _:
            frame.to_csv(path, index=False, sep="\t")


@pytest.mark.parametrize("name", ["d.parquet", "d.csv", "d.csv.gz", "d.tsv", "d.tsv.gz", "d.npz"])
def test_every_kind_of_file_gives_the_same_splits(tmp_path: Path, name: str) -> None:
    """A file and the DataFrame that it was written from are the same data."""
    given = table()
    given = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in given.items()}
    frame = pd.DataFrame(given)
    write(tmp_path / name, frame)
    section = dataclasses.replace(SECTION, source=str(tmp_path / name))
    from_file = load_data(section, model(), tmp_path / "one")
    assert from_file.digest == load(frame, tmp_path / "two").digest
    assert from_file.digest == load(given, tmp_path / "three").digest


def test_a_frame_with_a_mixed_column_is_refused(tmp_path: Path) -> None:
    """An object column of numbers and texts names the column."""
    frame = pd.DataFrame({"a": np.array([1, "two"] * 50, dtype=object), "b": 1.0})
    assert "column a" in refused(frame, tmp_path)


def test_an_object_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A list of lists has no names; a number is no rows."""
    assert "row 0 of" in refused([[1, 2]], tmp_path)
    assert "give a path, a DataFrame" in refused(7, tmp_path)


def test_calibration_rows_of_another_shape(tmp_path: Path) -> None:
    """A file of fitting rows that the model can't take is named, with both shapes."""
    parts = {"fitting": {"x": np.ones((9, 3))}, "selection": {"x": np.ones((30, 2))}}
    with pytest.raises(DataError, match=r"`fitting`.* has shape \(9, 3\), but .* \(n, 2\)"):
        load_data(DataSection(), model(), tmp_path, parts)


def test_one_array_feeds_a_model_of_one_input(tmp_path: Path) -> None:
    """A bare array needs no column names."""
    x = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    made = load(x, tmp_path, DataSection())
    assert made.encoder is not None
    assert made.encoder.settings["columns"] == ["inputs"]


def test_raw_examples_come_back_as_they_were(tmp_path: Path) -> None:
    """The rows of calibration, raw, wait on disk for the encoder to be timed."""
    made = load(table(), tmp_path)
    raw = read_raw(Path(made.raw))
    assert raw.n == min(64, made.fitting.rows.n)
    x = made.fitting.rows.column("x")[: raw.n]
    np.testing.assert_array_equal(np.stack([raw.columns["a"], raw.columns["b"]], axis=1), x)
    text = np.array(["é", None, "NaN"], dtype=object)
    write_raw(dataclasses.replace(raw, columns={"file": text, "n": np.arange(3)}, n=3), tmp_path)
    again = read_raw(tmp_path)
    assert again.columns["file"].tolist() == text.tolist()
    assert again.columns["n"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="no raw examples"):
        read_raw(tmp_path / "nowhere")


def test_a_column_that_the_model_does_not_read_is_not_kept(tmp_path: Path) -> None:
    """The model takes `x`; a diary beside it is in no file of the run."""
    x = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    given = {"x": x, "y": table()["y"], "diary": np.array([f"told {i}" for i in range(N)])}
    made = load(given, tmp_path, DataSection(target="y"))
    assert any("`diary`" in note and "no copy is kept" in note for note in made.notes)
    assert list(read_raw(Path(made.raw)).columns) == ["x"]
    assert "told" not in (Path(made.raw) / "values.json").read_text()


@pytest.mark.parametrize("own_file", [False, True])
def test_the_target_is_no_group_of_fitting_rows(tmp_path: Path, own_file: bool) -> None:
    """As a group it is certified; balanced against itself it would undo reweighing."""
    section = dataclasses.replace(SECTION, groups=("sex", "y", "sex & y"), unit="")
    parts = {"fitting": table(40, seed=1), "selection": table(100, seed=2)}
    made = load_data(section, model(), tmp_path, parts if own_file else {"source": table()})
    assert made.fitting.labels is not None
    assert set(made.fitting.labels.groups) == {"sex", "sex & y"}
    assert made.selection is not None
    assert set(made.selection.labels.groups) == {"sex", "y", "sex & y"}


def test_columns_given_in_python_are_the_source(tmp_path: Path) -> None:
    """A dictionary of columns, or a frame, is the one source; no file is looked for."""
    one = load_data(SECTION, model(), tmp_path / "one", table())
    two = load_data(SECTION, model(), tmp_path / "two", pd.DataFrame(table()))
    assert one.digest == two.digest == load(table(), tmp_path / "three").digest
    with pytest.raises(DataError, match="no columns"):
        load_data(SECTION, model(), tmp_path, {})


def test_without_data_inputs_are_made_up(tmp_path: Path) -> None:
    """Speed needs inputs of the right kind; nothing can be judged on them."""
    made = load_data(DataSection(), model(), tmp_path)
    assert made == made_up_data(model(), tmp_path, 7)
    assert made.fitting.rows.column("x").shape == (128, 2)
    assert made.selection is None
    assert made.certification is None
    assert "No data was given" in made.notes[0]


def test_columns_of_no_file_are_a_mistake(tmp_path: Path) -> None:
    """A target without a source is refused: made-up inputs have no right answers."""
    with pytest.raises(DataError, match="`target` and `groups`, but no file"):
        load_data(DataSection(target="y", groups=("sex",)), model(), tmp_path)


def test_a_second_load_replaces_the_first(tmp_path: Path) -> None:
    """The folder holds the latest splits only, and no scratch."""
    load(table(seed=1), tmp_path)
    load(table(seed=2), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fitting", "raw", "sealed", "selection"]
    load_into = dict(table(seed=3), a=np.full(N, np.nan, dtype=np.float32))
    refused(load_into, tmp_path)
    assert list(tmp_path.iterdir()) == [], "after a failure no rows of other data stay"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is a mistake in what was asked, not a fault of ours."""
    (tmp_path / "run").write_text("a file")
    assert "choose another `output`" in refused(table(), tmp_path / "run")


def test_a_full_disk_says_which(tmp_path: Path) -> None:
    """No space left is said with the folder and the way out; other faults pass as they are."""
    with pytest.raises(DataError, match="no space is left"), storage(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="odd"), storage(tmp_path):
        raise OSError(errno.EIO, "odd")


def test_a_transcription_has_texts_as_targets(tmp_path: Path) -> None:
    """What was spoken is kept as it stands; nothing of it is taken for the name of a class."""
    given = table()
    spoken = np.array([f"say {row % 7}" for row in range(N)])
    made = load({**given, "y": spoken}, tmp_path, like=model(task="transcription"))
    assert made.selection is not None
    targets = made.selection.labels.targets
    assert targets is not None
    assert targets.dtype.kind == "U"
    assert set(targets.tolist()) <= set(spoken.tolist())
