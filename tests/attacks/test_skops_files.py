"""Hostile and damaged scikit-learn files: refused with one clear error, nothing is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.errors import ModelError
from jettison.loaders.scikit_learn import ScikitLearnLoader

pytest.importorskip("sklearn")
skops_io = pytest.importorskip("skops.io")


def load(path: Path, tmp_path: Path, **options: bool) -> Model:
    return ScikitLearnLoader().load(Source(str(path), options=options), tmp_path / "copy")


def estimator() -> object:
    from sklearn.tree import DecisionTreeClassifier

    x = np.arange(20.0).reshape(10, 2)
    return DecisionTreeClassifier(random_state=0).fit(x, [0, 1] * 5)


class Trap:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pickle"])
def test_pickle_is_refused_unless_trusted(tmp_path: Path, name: str) -> None:
    """A pickle is not opened; the error says what it risks and both ways out."""
    mark = tmp_path / "mark"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError) as caught:
        load(path, tmp_path)
    assert "can run any code" in str(caught.value)
    assert "model.trust_pickle = true" in str(caught.value)
    assert "skops.io.dump" in str(caught.value)
    with pytest.raises(ModelError, match="can run any code"):
        load(path, tmp_path, trust_pickle=False)
    assert not mark.exists()


def test_trusted_pickle(tmp_path: Path) -> None:
    """A trusted pickle is opened once and kept as skops."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(estimator()))
    model = load(path, tmp_path, trust_pickle=True)
    assert model.artifact.files == ("model.skops",)
    assert model.traits == {"sklearn", "trees"}


def test_damaged_trusted_pickle(tmp_path: Path) -> None:
    """A trusted pickle that is cut off is a model that can't be read."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(estimator())[:100])
    with pytest.raises(ModelError, match="can't be unpickled here"):
        load(path, tmp_path, trust_pickle=True)


def test_types_of_other_packages_are_named(tmp_path: Path) -> None:
    """A function that NumPy would run on the input is refused by its name."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    pipeline = make_pipeline(FunctionTransformer(np.load), estimator())
    path = tmp_path / "model.skops"
    skops_io.dump(pipeline, path)
    with pytest.raises(ModelError, match=r"not scikit-learn's own: `numpy\.load`"):
        load(path, tmp_path)


def test_zip_bomb(tmp_path: Path) -> None:
    """An archive that unpacks to hundreds of times its size is not unpacked."""
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"{}")
        archive.writestr("1.npy", b"\0" * 60_000_000)
    with pytest.raises(ModelError, match="so it was not unpacked"):
        load(path, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and nothing more", "damaged, cut off or not made by skops"),
        (b"plain text", "damaged, cut off or not made by skops"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty, cut and foreign files are refused."""
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(path, tmp_path)


@pytest.mark.parametrize("schema", ["[]", "{}", "{", '{"__class__": "x", "__module__": "y"}'])
def test_damaged_schema(tmp_path: Path, schema: str) -> None:
    """An archive with a schema that makes no sense is refused."""
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ModelError, match=r"model\.skops"):
        load(path, tmp_path)


def test_another_zip(tmp_path: Path) -> None:
    """A zip archive that is no skops file is refused as such."""
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match=r"without `schema\.json`, so not a skops file"):
        load(path, tmp_path)


def test_tree_that_points_outside_itself(tmp_path: Path) -> None:
    """Child numbers beyond the tree would make compiled code read foreign memory."""
    tree = estimator()
    state = tree.tree_.__getstate__()  # type: ignore[attr-defined]
    nodes = state["nodes"].copy()
    nodes["left_child"][0] = 10_000_000
    tree.tree_.__setstate__({**state, "nodes": nodes})  # type: ignore[attr-defined]
    path = tmp_path / "model.skops"
    skops_io.dump(tree, path)
    with pytest.raises(ModelError, match=r"`children_left` points outside its \d+ nodes"):
        load(path, tmp_path)
