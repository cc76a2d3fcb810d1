"""The encoder `tabular`: columns in the model's order, text, categories and missing values."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.domain.encoder import Encoder, Setting
from jettison.domain.extension_points import Example
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.encoders.tabular import TabularEncoder
from jettison.errors import DataError

KIND = TabularEncoder()


def model(inputs: tuple[TensorSpec, ...], settings: dict[str, Setting]) -> Model:
    return Model(
        artifact=Artifact("sklearn_skops", "/nowhere", ("m",), "", 0),
        traits=frozenset({"sklearn"}),
        inputs=inputs,
        outputs=(TensorSpec("probabilities", "float64", ("batch", 2)),),
        prediction="probabilities",
        task="classification",
        encoder=Encoder.of("tabular", settings),
    )


MIXED = model(
    (TensorSpec("age", "float64", ("batch", 1)), TensorSpec("job", "str", ("batch", 1))),
    {
        "layout": "columns",
        "columns": ["age", "job"],
        "categories.job": ["cook", "smith"],
        "strict": ["job"],
        "missing": ["age"],
    },
)
UNNAMED = model((TensorSpec("X", "float64", ("batch", 2)),), {"layout": "matrix"})
NAMED = model(
    (TensorSpec("X", "float64", ("batch", 2)),), {"layout": "matrix", "columns": ["b", "a"]}
)


def encoded(subject: Model, **columns: np.ndarray) -> dict[str, np.ndarray]:
    bound = KIND.bind(subject.encoder, subject, tuple(columns))
    n = len(next(iter(columns.values())))
    return dict(KIND.encode(bound, subject, Example(columns, n)).arrays)


def test_columns_in_the_order_of_training() -> None:
    """A model that knows its columns takes them by name, whatever their order in the table."""
    found = encoded(NAMED, a=np.array([1, 2]), c=np.array([7, 8]), b=np.array([3, 4]))
    np.testing.assert_array_equal(found["X"], [[3, 1], [4, 2]])


def test_a_model_without_names_takes_the_table_as_it_is() -> None:
    """As many columns as it takes are used in their order; another number is an error."""
    found = encoded(UNNAMED, q=np.array([1.0]), p=np.array([2.0]))
    np.testing.assert_array_equal(found["X"], [[1, 2]])
    with pytest.raises(DataError, match=r"takes 2 columns .* the data has 3: `q`, `p`, `z`"):
        encoded(UNNAMED, q=np.ones(1), p=np.ones(1), z=np.ones(1))


def test_one_array_as_wide_as_the_model() -> None:
    """What an estimator was fitted on, given as it is; another width is an error."""
    array = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(encoded(UNNAMED, X=array)["X"], array)
    for wrong in (np.ones((3, 4)), np.ones(3)):
        with pytest.raises(DataError, match=r"`X` has shape .* takes 2 columns"):
            encoded(UNNAMED, X=wrong)
    with pytest.raises(DataError, match=r"column `X\[1\]` .*row 2"):
        encoded(UNNAMED, X=np.where(array == 6.0, np.nan, array))


def test_text_and_numbers() -> None:
    """Each column is its own input of shape (n, 1)."""
    found = encoded(MIXED, job=np.array(["cook", "smith"], object), age=np.array([30, 40]))
    assert found["age"].shape == found["job"].shape == (2, 1)
    assert found["age"].dtype == np.float64
    assert found["job"].dtype.kind == "U"


def test_a_missing_column_is_named_with_its_neighbour() -> None:
    """A column that is not there is named, with the nearest that is."""
    with pytest.raises(DataError, match=r"lacks: `job` \(did you mean `jobs`\?\)"):
        KIND.bind(MIXED.encoder, MIXED, ("age", "jobs"))


def test_unknown_category() -> None:
    """A category that the model refuses is named with its row and the known ones."""
    with pytest.raises(DataError, match=r"`job` has `pilot` at row 1, .*known: `cook`, `smith`"):
        encoded(MIXED, age=np.ones(2), job=np.array(["cook", "pilot"], object))


def test_missing_values() -> None:
    """NaN goes where the model takes it; missing text and NaN elsewhere are refused."""
    found = encoded(MIXED, age=np.array([np.nan]), job=np.array(["cook"], object))
    assert np.isnan(found["age"][0, 0])
    with pytest.raises(DataError, match=r"`job` has None at row 0.* fill it with a category"):
        encoded(MIXED, age=np.ones(1), job=np.array([None], object))
    with pytest.raises(DataError, match=r"column `a` has nan at row 1: fill missing values"):
        encoded(NAMED, a=np.array([1, np.nan]), b=np.ones(2))
    with pytest.raises(DataError, match=r"column `age` has inf at row 0"):
        encoded(MIXED, age=np.array([np.inf]), job=np.array(["cook"], object))


def test_text_where_a_number_is_wanted() -> None:
    """A `?` in a column of numbers is found."""
    with pytest.raises(DataError, match=r"column `a` holds text .*\(`\?` at row 0\)"):
        encoded(NAMED, a=np.array(["?"], object), b=np.ones(1))


def test_a_column_of_vectors() -> None:
    """A column that holds more than one value a row is refused."""
    with pytest.raises(DataError, match=r"column `a` has shape \(2, 3\)"):
        encoded(NAMED, a=np.ones((2, 3)), b=np.ones(2))


def test_made_up_rows_use_known_categories() -> None:
    """Made-up text is drawn from what the model knows."""
    arrays = KIND.made_up(MIXED.encoder, MIXED, 40, 0).arrays
    assert set(np.unique(arrays["job"])) == {"cook", "smith"}
    assert arrays["age"].shape == (40, 1)
