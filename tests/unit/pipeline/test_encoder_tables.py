"""An encoder claims the table of jettison.toml that it reads; no name is special."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import Configuration, ImageSection, ModelSection
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.encoders.arrays import ArraysEncoder
from jettison.errors import DataError, ModelError
from jettison.pipeline import load
from jettison.pipeline.split.files import check_bytes, with_numbers
from jettison.pipeline.split.reading import read_object

pytest.importorskip("sklearn")


class Loud(ArraysEncoder):
    """An encoder of another package, with a table of its own."""

    table: ClassVar[str] = "loud"


@pytest.fixture
def estimator() -> object:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    return LogisticRegression().fit(rng.normal(size=(40, 3)), np.arange(40) % 2)


def test_the_table_is_declared() -> None:
    """`image` is claimed by the encoder that declares it, and is a section of the configuration."""
    assert list(load.encoder_tables()) == [("arrays", "arrays"), ("image", "image")]
    given = Configuration(ModelSection("m"), image=ImageSection(mean=(0.5,)))
    assert given.sections["image"] == ImageSection(mean=(0.5,))


def test_another_encoder_claims_another_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, estimator: object
) -> None:
    """What the table says lies over what the loader found out; two tables are one mistake."""
    get = registry.get
    monkeypatch.setattr(
        registry, "get", lambda f, n: Loud() if (f, n) == ("encoders", "arrays") else get(f, n)
    )
    section = ModelSection("live object")
    tables = {"loud": ImageSection(mean=(2.0,)), "model": section}
    model = load.load_model(section, tmp_path / "one", estimator, tables)
    assert model.encoder.kind == "arrays"
    assert model.encoder.settings["mean"] == [2.0]
    with pytest.raises(ModelError, match="leave one table out"):
        load.load_model(section, tmp_path / "two", estimator, {**tables, "image": ImageSection()})


def test_bytes_are_numbers_where_no_encoder_takes_them() -> None:
    """A column of bytes becomes arrays of its own; others stay."""
    table = read_object({"file": [b"\x01\x02", b"\x03"], "y": ["a", "b"]}, "source")
    made = with_numbers({"source": table})["source"].columns
    assert [row.tolist() for row in made["file"]] == [[1, 2], [3]]
    assert made["y"].tolist() == ["a", "b"]


def test_images_without_a_table(tmp_path: Path) -> None:
    """Bytes for a model of images are refused with the table that is missing, before any is cast."""
    spec = TensorSpec("pixels", "float32", ("batch", 3, 8, 8))
    model = Model(
        Artifact("onnx_file", str(tmp_path), (), "", 0),
        frozenset(),
        (spec,),
        (TensorSpec("scores", "float32", ("batch", 2)),),
        "scores",
        "classification",
        Encoder.of("arrays", {}),
    )
    tables = {"source": read_object({"image": [b"one", b"two"]}, "source")}
    with pytest.raises(DataError, match=r"`image` of `source` holds bytes.*`pixels`.*--image"):
        check_bytes(tables, model)
    check_bytes(tables, dataclasses.replace(model, encoder=Encoder.of("image", {})))
    flat = TensorSpec("ids", "int64", ("batch", "time"))
    check_bytes(tables, dataclasses.replace(model, inputs=(flat,)))


def test_what_the_table_does_not_know_stays(tmp_path: Path, estimator: object) -> None:
    """The padding of `[arrays]` lies over the settings that a loader found."""
    from jettison.domain.configuration import ArraysSection

    section = ModelSection("live object")
    tables = {"arrays": ArraysSection(padding=-1.0)}
    model = load.load_model(section, tmp_path / "one", estimator, tables)
    assert model.encoder.kind == "arrays"
    assert model.encoder.settings["padding"] == -1.0
