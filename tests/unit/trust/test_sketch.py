"""The sketch of a bundle: bounded, without rows, and read back as it was written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import LENGTHS, Rows
from jettison.errors import CheckFailed
from jettison.pipeline.verify import open_bundle
from jettison.trust import bundle_layout as layout
from jettison.trust.bundle_layout import read_manifest
from jettison.trust.probes import Served
from jettison.trust.sketch import (
    ELEMENTWISE,
    FEATURES,
    MINIMUM_ROWS,
    SHARED,
    Feature,
    FeatureSketch,
    Sketch,
    input_features,
    make_sketch,
    read_sketch,
    read_values,
    write_sketch,
)
from tests.serving_bundle import LABELS, Made, make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 16 numbers with 200 fitting rows."""
    return make_bundle(tmp_path_factory.mktemp("sketched") / "release", Made(probes=200))


@pytest.fixture(scope="module")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model with 100 fitting rows."""
    return make_bundle(tmp_path_factory.mktemp("text") / "release", Made("text", probes=100))


def served(bundle: Path) -> Served:
    """The model of a bundle, ready to run."""
    stored = from_json(Served, (bundle / layout.MODEL).read_bytes())
    return dataclasses.replace(stored, model=layout.absolute(stored.model, bundle))


def rows_of(folder: Path, **arrays: np.ndarray) -> Rows:
    """Writes rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return Rows(str(folder), tuple(arrays), len(next(iter(arrays.values()))))


def test_every_new_bundle_has_one_in_its_manifest(bundle: Path) -> None:
    """It lies beside the probes, is covered by the manifest, and counts each row once."""
    assert "sketch.json" in read_manifest(bundle).files
    sketch = read_sketch(bundle / layout.SKETCH)
    assert (sketch.rows, sketch.left_out, sketch.reason) == (200, 0, "")
    assert [one.feature.name for one in sketch.inputs] == [f"x[{i}]" for i in range(16)]
    assert [one.feature.name for one in sketch.outputs] == ["scores:class", "scores:top"]
    assert {sum(one.counts) for one in (*sketch.inputs, *sketch.outputs)} == {200}


def test_no_row_can_be_read_from_it(bundle: Path) -> None:
    """No value of any row stands in it, and each bin holds several rows."""
    values = np.load(bundle.with_name("release-parts") / "rows" / "x.npy")
    sketch = read_sketch(bundle / layout.SKETCH)
    edges = {np.float32(edge) for one in sketch.inputs for edge in one.edges}
    # One edge in thousands may hit a value after rounding; a stored row would give hundreds.
    assert len(edges & set(values.ravel().tolist())) <= 2
    assert min(n for one in sketch.inputs for n in one.counts[:-1]) >= 3
    assert (bundle / layout.SKETCH).stat().st_size < 40_000


def test_text_is_its_length(text_bundle: Path) -> None:
    """A ragged input is one number a row: where its padding begins."""
    sketch = read_sketch(text_bundle / layout.SKETCH)
    assert [one.feature for one in sketch.inputs] == [
        Feature("input_ids:length", "input_ids", "length", pad=0.0)
    ]
    lengths = np.load(text_bundle.with_name("release-parts") / "rows" / f"{LENGTHS}.npy")
    assert sketch.inputs[0].count(lengths).tolist() == list(sketch.inputs[0].counts)


def test_a_length_ignores_how_far_a_batch_was_padded() -> None:
    """The same text has the same length in any batch; padding inside it counts."""
    feature = Feature("t:length", "t", "length", pad=0.0)
    wide = np.array([[5, 0, 7, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    assert read_values(feature, wide).tolist() == [3, 0, 6]
    assert read_values(feature, wide[:1, :3]).tolist() == [3]


def test_it_is_bounded_however_many_columns_there_are(bundle: Path, tmp_path: Path) -> None:
    """200 columns: the first 64 are kept, and the others are counted as left out."""
    model = served(bundle).model
    rows = rows_of(tmp_path, x=np.random.default_rng(0).normal(size=(50, 200)).astype("f4"))
    assert len([*input_features(model, rows)]) == 200
    huge = rows_of(tmp_path / "huge", x=np.zeros((50, ELEMENTWISE + 1), "f4"))
    assert [one.reads for one in input_features(model, huge)] == [
        "mean",
        "spread",
        "smallest",
        "largest",
    ]
    image = rows_of(tmp_path / "image", x=np.zeros((50, 3, 4, 4), "f4"))
    assert len([*input_features(model, image)]) == 4


def test_columns_have_the_names_of_the_data(bundle: Path, tmp_path: Path) -> None:
    """Where the encoder knows the columns, features are called like them."""
    model = served(bundle).model
    encoder = Encoder.of("tabular", {"columns": ["age", "income"]}, labels=LABELS)
    model = dataclasses.replace(model, encoder=encoder)
    one = rows_of(tmp_path / "matrix", x=np.zeros((50, 2), "f4"))
    two = rows_of(tmp_path / "columns", a=np.zeros((50, 1), "f4"), b=np.zeros((50, 1), "f4"))
    for rows in (one, two):
        assert [f.name for f in input_features(model, rows)] == ["age", "income"]


def test_few_rows_make_no_sketch(bundle: Path, tmp_path: Path) -> None:
    """Below the minimum there are no counts, but the reason."""
    rows = rows_of(tmp_path, x=np.zeros((MINIMUM_ROWS - 1, 16), "f4"))
    sketch = make_sketch(served(bundle), rows)
    assert sketch.inputs == ()
    assert f"needs {MINIMUM_ROWS}" in sketch.reason


def sketched(values: np.ndarray) -> FeatureSketch:
    """The sketch of one column, by the product's code."""
    from jettison.trust import sketch

    return sketch._sketched(Feature("a", "a"), {"a": values})


def test_texts_are_hashes_and_rare_ones_are_left_out() -> None:
    """A category that few rows share can't be found in the sketch; no text stands in it."""
    values = np.array([["red"]] * 60 + [["blue"]] * 30 + [["mr smith"]] * (SHARED - 1), object)
    found = sketched(values)
    assert len(found.categories) == 2
    assert found.counts[-1] == SHARED - 1
    assert "red" not in to_json(found)
    live = np.array(["red", "red", "mr smith", "new"], object)
    counted = found.count(live).tolist()
    assert sorted(counted[:-1]) == [0, 2]
    assert counted[-1] == 2


def test_numbers_with_few_values_are_categories() -> None:
    """A flag or a small whole number: a value that was never seen fits in none."""
    found = sketched(np.array([[0.0], [1.0]] * 50, np.float32))
    assert found.categories == ("0.0", "1.0")
    assert found.count(np.array([1.0, 2.0, np.nan], np.float32)).tolist() == [0, 1, 2]


def test_missing_numbers_have_a_place() -> None:
    """NaN that the fitting rows had is counted, so that more or less of it is drift."""
    values = np.random.default_rng(0).normal(size=(200, 1))
    values[::4] = np.nan
    assert sketched(values).counts[-1] == 50


def test_a_feature_without_any_common_value_is_still_counted() -> None:
    """Names that no two rows share fall in no category, and live ones do too."""
    found = sketched(np.array([[f"user {i}"] for i in range(80)], object))
    assert found.counts == (0, 80)
    assert found.count(np.array(["user 3"], object)).tolist() == [0, 1]


def test_a_row_without_the_element_is_missing() -> None:
    """A free dimension may be shorter in a live call."""
    assert np.isnan(read_values(Feature("a[3]", "a", place=3), np.zeros((2, 3)))).all()


def test_it_reads_back_as_it_was_written(bundle: Path, tmp_path: Path) -> None:
    """Writing and reading changes nothing."""
    sketch = read_sketch(bundle / layout.SKETCH)
    write_sketch(sketch, tmp_path / "sketch.json")
    assert read_sketch(tmp_path / "sketch.json") == sketch


def test_an_older_bundle_has_none_and_still_opens(bundle: Path, tmp_path: Path) -> None:
    """Without the file the reason says what to do; the bundle opens all the same."""
    import shutil

    old = tmp_path / "release"
    shutil.copytree(bundle, old)
    (old / layout.SKETCH).unlink()
    manifest = read_manifest(old)
    files = {name: d for name, d in manifest.files.items() if name != layout.SKETCH}
    (old / layout.MANIFEST).write_text(to_json(dataclasses.replace(manifest, files=files)))
    assert open_bundle(old)[2].status == "certified"
    sketch = read_sketch(old / layout.SKETCH)
    assert sketch.inputs == ()
    assert "before bundles had a sketch" in sketch.reason


@pytest.mark.parametrize("damage", ["text", "counts", "missing"])
def test_a_damaged_sketch_is_refused(bundle: Path, tmp_path: Path, damage: str) -> None:
    """What is no sketch, or counts other rows than it says, is an error and not a drift."""
    path = tmp_path / "sketch.json"
    stored: dict[str, Any] = json.loads((bundle / layout.SKETCH).read_text())
    if damage == "counts":
        stored["inputs"][0]["counts"][0] += 1
    if damage == "missing":
        del stored["rows"]
    path.write_text("{" if damage == "text" else json.dumps(stored))
    with pytest.raises(CheckFailed, match=r"sketch\.json"):
        read_sketch(path)


def test_no_feature_beyond_the_bound_is_written(bundle: Path, tmp_path: Path) -> None:
    """The number of features never exceeds the bound."""
    from unittest.mock import patch

    from jettison.trust import sketch as module

    rows = rows_of(tmp_path, x=np.random.default_rng(0).normal(size=(60, 16)).astype("f4"))
    with patch.object(module, "FEATURES", 5):
        found: Sketch = make_sketch(served(bundle), rows)
    assert len(found.inputs) == 5
    assert found.left_out == 11
    assert FEATURES == 64
