"""Classes of rows that share what an outsider may know: their sizes, and what they give away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import DataError
from jettison.trust.privacy.anonymity import anonymity

ROWS = {
    "age": np.array([30, 30, 30, 41, 41, 55]),
    "zip": np.array(["A", "A", "A", "B", "B", None], dtype=object),
    "illness": np.array(["flu", "flu", "cold", "flu", "flu", "cold"]),
}


def test_the_smallest_class_is_found() -> None:
    """Its size, who is alone, and the class in which all have the same illness."""
    found = anonymity(ROWS, ["age", "zip"], "illness", k=3)
    assert (found.rows, found.classes, found.k, found.unique) == (6, 3, 1, 1)
    assert found.l_diversity == 1
    assert found.below == 3
    assert found.smallest[0].values == {"age": "55", "zip": "(missing)"}
    assert [c.n for c in found.smallest] == [1, 2, 3]
    assert [c.distinct for c in found.smallest] == [1, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=60))
def test_it_agrees_with_counting_by_hand(rows: list[tuple[int, int]]) -> None:
    """k, classes and unique rows are those of a counter."""
    columns = {name: np.array(values) for name, values in zip("ab", zip(*rows), strict=True)}
    counts = Counter(rows)
    found = anonymity(columns, ["a", "b"])
    assert found.k == min(counts.values())
    assert found.classes == len(counts)
    assert found.unique == sum(n == 1 for n in counts.values())
    assert found.below == sum(n for n in counts.values() if n < 5)
    assert anonymity(columns, ["a"]).k >= found.k


@pytest.mark.parametrize(
    ("quasi", "sensitive", "word"),
    [
        ([], "", "--quasi"),
        (["town"], "", "no column `town`"),
        (["age"], "age", "known and sensitive"),
        (["pixels"], "", "shape"),
    ],
)
def test_columns_that_can_t_be_grouped_are_refused(
    quasi: list[str], sensitive: str, word: str
) -> None:
    """None, one that is not there, one in two roles, one of arrays."""
    columns = ROWS | {"pixels": np.zeros((6, 2))}
    with pytest.raises(DataError, match=word):
        anonymity(columns, quasi, sensitive)


def test_adult_is_not_anonymous(shared_data: Path) -> None:
    """In the census rows, age with country of birth and work singles people out."""
    pytest.importorskip("pyarrow")
    from jettison.pipeline.split.reading import read_file

    table = read_file(str(next((shared_data / "tabular").glob("adult*"))), "source")
    names = [c for c in table.columns if c.lower() in ("age", "race", "sex")]
    assert len(names) == 3
    found = anonymity(table.columns, names)
    assert found.k == 1
    assert 0 < found.unique < found.below < found.rows
