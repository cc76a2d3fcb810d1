"""An encoder claims the table of jettison.toml that it reads; no name is special."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import Configuration, ImageSection, ModelSection
from jettison.encoders.arrays import ArraysEncoder
from jettison.errors import ModelError
from jettison.pipeline import load
from jettison.pipeline.split.files import with_numbers
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


def test_what_the_table_does_not_know_stays(tmp_path: Path, estimator: object) -> None:
    """The padding of `[arrays]` lies over the settings that a loader found."""
    from jettison.domain.configuration import ArraysSection

    section = ModelSection("live object")
    tables = {"arrays": ArraysSection(padding=-1.0)}
    model = load.load_model(section, tmp_path / "one", estimator, tables)
    assert model.encoder.kind == "arrays"
    assert model.encoder.settings["padding"] == -1.0
