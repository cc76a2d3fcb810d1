"""The same rows come back in another dress, and are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from split_tables import N, load, model, text_model

from jettison.domain.configuration import DataSection
from jettison.domain.model import TensorSpec
from jettison.domain.splits import CertificationSet, Splits
from jettison.errors import SealRefused
from jettison.pipeline.split import load_data
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.row_sets import row_set
from jettison.trust.seal import sealed_row_set

SECTION = DataSection(inputs=("a", "b", "c", "d"), target="y", seed=3)


def rows(seed: int = 0, n: int = N) -> dict[str, Any]:
    """Four number columns, a target and a site."""
    rng = np.random.default_rng(seed)
    made = {name: rng.normal(size=n).astype(np.float32) for name in "abcd"}
    return {**made, "y": rng.choice(["no", "yes"], n), "site": rng.choice(["n", "s"], n)}


def certified(splits: Splits) -> CertificationSet:
    assert splits.certification is not None
    return splits.certification


def spend(splits: Splits, ledger: Path) -> None:
    certification = certified(splits)
    sealed = sealed_row_set(certification)
    Ledger.at(ledger).charge(Charge("c", certification.digest, "o", 0.05, sealed))


def met_again(splits: Splits, ledger: Path) -> float:
    """Share of the sealed rows that the ledger knows; a charge of them is refused."""
    certification = certified(splits)
    sealed = sealed_row_set(certification)
    spent = Ledger.at(ledger).spent(sealed)
    if spent is None:
        return 0.0
    assert spent.asked == certification.n
    with pytest.raises(SealRefused, match="were spent by an earlier look"):
        Ledger.at(ledger).charge(Charge("c", certification.digest, "o", 0.05, sealed))
    return spent.overlap / spent.asked


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger in which the rows of `rows()` are spent."""
    spend(load(rows(), tmp_path / "first", SECTION, model(width=4)), tmp_path / "ledger")
    return tmp_path / "ledger"


def again(given: Any, folder: Path, section: DataSection = SECTION, width: int = 4) -> Splits:
    return load(given, folder, section, model(width=width))


def test_fresh_rows_pass(ledger: Path, tmp_path: Path) -> None:
    """Rows of the same kind that nobody has seen share nothing."""
    assert met_again(again(rows(seed=1), tmp_path / "second"), ledger) == 0.0


def test_renamed_columns(ledger: Path, tmp_path: Path) -> None:
    """Other names for every column and another name for the input."""
    given = {f"column {name}": values for name, values in rows().items()}
    section = DataSection(
        inputs=("column a", "column b", "column c", "column d"), target="column y", seed=3
    )
    renamed = dataclasses.replace(
        model(width=4), inputs=(TensorSpec("features", "float32", ("n", 4)),)
    )
    made = load(given, tmp_path / "second", section, renamed)
    assert met_again(made, ledger) > 0.7


def test_reordered_columns(ledger: Path, tmp_path: Path) -> None:
    """The columns in another order, for a model that was trained on them so."""
    section = dataclasses.replace(SECTION, inputs=("d", "b", "a", "c"))
    assert met_again(again(rows(), tmp_path / "second", section), ledger) > 0.7


def test_a_matrix_in_place_of_columns(ledger: Path, tmp_path: Path) -> None:
    """The same numbers as one array."""
    given = rows()
    matrix = np.stack([given[name] for name in "cabd"], axis=1)
    made = again({"x": matrix, "y": given["y"]}, tmp_path / "second", DataSection(target="y"))
    assert met_again(made, ledger) > 0.7


@pytest.mark.parametrize("kind", ["csv", "parquet", "tsv"])
def test_a_copied_file(ledger: Path, tmp_path: Path, kind: str) -> None:
    """A file of another kind, shuffled, with another seed."""
    frame = pd.DataFrame(rows()).sample(frac=1.0, random_state=0)
    path = tmp_path / f"copy.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    section = dataclasses.replace(SECTION, source=str(path), seed=11)
    made = load_data(section, model(width=4), tmp_path / "second")
    assert met_again(made, ledger) > 0.7


def test_another_model_that_reads_other_columns(ledger: Path, tmp_path: Path) -> None:
    """A model of two of the columns meets the same rows of the same file."""
    section = dataclasses.replace(SECTION, inputs=("a", "c"))
    assert met_again(again(rows(), tmp_path / "second", section, width=2), ledger) > 0.7


def test_topped_up_rows(ledger: Path, tmp_path: Path) -> None:
    """Spent rows among new ones are counted, row by row."""
    old, new = rows(), rows(seed=1, n=3 * N)
    both = {name: np.concatenate([old[name], new[name]]) for name in old}
    assert 0.1 < met_again(again(both, tmp_path / "second"), ledger) < 0.3


def test_rows_charged_before_raw_values_counted(tmp_path: Path) -> None:
    """An entry of an earlier version, encoded inputs alone, still spends its rows."""
    first = again(rows(), tmp_path / "first")
    keys = sealed_row_set(certified(first))[:, 0].tolist()
    encoded = row_set([2 * key.hex().ljust(32, "0") for key in keys])
    Ledger.at(tmp_path / "ledger").charge(Charge("c", "d", "o", 0.05, encoded))
    assert met_again(again(rows(), tmp_path / "second"), tmp_path / "ledger") == 1.0


def test_no_key_depends_on_the_target(tmp_path: Path) -> None:
    """Other labels for the same rows give the same keys, so that keys tell no label."""
    given = rows()
    other = {**given, "y": np.where(given["y"] == "no", "yes", "no")}
    one = sealed_row_set(certified(again(given, tmp_path / "one")))
    two = sealed_row_set(certified(again(other, tmp_path / "two")))
    assert set(one.ravel().tolist()) == set(two.ravel().tolist())


def test_another_length_of_the_tokenizer(
    tmp_path: Path, write_wordpiece: Callable[[Path], list[str]]
) -> None:
    """Texts cut elsewhere are the same texts, also in a column of another name."""
    write_wordpiece(tmp_path / "tokenizer")
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [" ".join("".join(rng.choice(letters, 6)) for _ in range(8)) for _ in range(N)]
    given = {"text": np.array(texts), "y": rng.choice(["no", "yes"], N)}
    section = DataSection(inputs=("text",), target="y")
    first = load_data(
        section, text_model(tmp_path / "tokenizer", 48), tmp_path / "first", {"source": given}
    )
    spend(first, tmp_path / "ledger")
    section = DataSection(inputs=("review",), target="y")
    second = load_data(
        section,
        text_model(tmp_path / "tokenizer", 12),
        tmp_path / "second",
        {"source": {"review": given["text"], "y": given["y"]}},
    )
    assert met_again(second, tmp_path / "ledger") > 0.7
