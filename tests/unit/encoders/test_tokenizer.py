"""The tokenizer encoder gives what transformers gives, and says which value is not text."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison import registry
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Rows
from jettison.errors import DataError, ModelError

pytest.importorskip("tokenizers")
KIND = registry.get("encoders", "tokenizer")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def a_model(folder: Path, max_length: int = 64, columns: tuple[str, ...] = ("text",)) -> Model:
    """A model that is described only: the encoder never opens its artifact."""
    encoder = Encoder.of(
        "tokenizer",
        {"max_length": max_length, "pad_id": 0, "columns": list(columns)},
        folder=folder,
        files=("tokenizer.json",),
    )
    return Model(
        artifact=Artifact("huggingface_folder", str(folder), ("config.json",), "", 0),
        traits=frozenset({"torch"}),
        inputs=tuple(TensorSpec(n, "int64", ("batch", "sequence")) for n in INPUTS),
        outputs=(TensorSpec("logits", "float32", ("batch", 3)),),
        prediction="logits",
        task="classification",
        encoder=encoder,
    )


def encode(model: Model, *columns: list[object]) -> Encoded:
    names = model.encoder.settings["columns"]
    held = {n: np.array(c, dtype=object) for n, c in zip(names, columns, strict=True)}
    return KIND.encode(model.encoder, model, Example(held, len(columns[0])))


def theirs(folder: Path, max_length: int, *columns: list[str]) -> dict[str, np.ndarray]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    made = tokenizer(
        *columns, truncation=True, max_length=max_length, padding="longest", return_tensors="np"
    )
    return {name: made[name] for name in INPUTS}


AWKWARD = [
    "",
    " ",
    "Naïve café: isn't it?",
    "漢字とかな 한국어 🙂 \U0001f469\u200d\U0001f52c",
    "control\x00\x07 characters\ufffd and\u00a0spaces\u2028here",
    "[SEP] is [MASK] typed by a user [PAD]",
    "word " * 500,
    "x" * 3000,
    "e\u0301 combining, İstanbul, ﬁ ligature, ß",
]


@pytest.mark.parametrize("max_length", [8, 64, 256])
def test_same_as_transformers(minilm: Path, shared_data: Path, max_length: int) -> None:
    """Real and awkward sentences give exactly the arrays of transformers' own tokenizer."""
    pytest.importorskip("transformers")
    with gzip.open(shared_data / "text" / "sst2-dev.tsv.gz", "rt", encoding="utf-8") as file:
        texts = [line.rsplit("\t", 1)[0] for line in file]
    texts = AWKWARD + texts
    ours = encode(a_model(minilm, max_length), list(texts))
    for name, expected in theirs(minilm, max_length, texts).items():
        np.testing.assert_array_equal(ours.arrays[name], expected)
    np.testing.assert_array_equal(ours.lengths, ours.arrays["attention_mask"].sum(axis=1))


def test_pairs_as_transformers(minilm: Path) -> None:
    """Two columns are encoded as a pair, truncated at the longer one, with segment ids."""
    pytest.importorskip("transformers")
    first, second = AWKWARD, list(reversed(AWKWARD))
    ours = encode(a_model(minilm, 32, ("a", "b")), list(first), list(second))
    for name, expected in theirs(minilm, 32, first, second).items():
        np.testing.assert_array_equal(ours.arrays[name], expected)
    assert ours.arrays["token_type_ids"].max() == 1


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_row_does_not_depend_on_neighbours(tiny_classifier: Path, texts: list[str]) -> None:
    """A text alone and a text among others give the same ids up to its length."""
    model = a_model(tiny_classifier)
    together = encode(model, list(texts))
    assert together.lengths is not None
    for row, text in enumerate(texts):
        alone = encode(model, [text])
        length = int(together.lengths[row])
        assert 2 <= length <= 64
        np.testing.assert_array_equal(
            alone.arrays["input_ids"][0], together.arrays["input_ids"][row, :length]
        )
        assert not together.arrays["attention_mask"][row, length:].any()


def test_batches_are_cut_to_the_longest(
    tiny_classifier: Path, tmp_path: Path, write_rows: Callable[[Encoded, Path], Rows]
) -> None:
    """Rows pad a batch only as far as its own longest text."""
    encoded = encode(a_model(tiny_classifier), ["good", "the film. a bad, bad film.", "bad"])
    rows = write_rows(encoded, tmp_path / "rows")
    assert rows.batch(slice(0, 1))["input_ids"].shape == (1, 3)
    assert rows.batch(slice(0, 2))["attention_mask"].sum(axis=1).tolist() == [3, 11]


def test_only_the_inputs_of_the_model(tiny_classifier: Path) -> None:
    """A model without segment ids does not get them."""
    model = a_model(tiny_classifier)
    model = dataclasses.replace(model, inputs=model.inputs[:2])
    assert set(encode(model, ["good"]).arrays) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("value", [None, 3, float("nan"), b"bytes", np.float64(1.0)])
def test_value_that_is_not_text(tiny_classifier: Path, value: object) -> None:
    """A value that is not text is named with its row and column."""
    with pytest.raises(DataError, match="row 1 of column `text` must be text"):
        encode(a_model(tiny_classifier), ["good", value])


def test_fixed_width_strings(tiny_classifier: Path) -> None:
    """NumPy's own string arrays are text too."""
    model = a_model(tiny_classifier)
    held = {"text": np.array(["good", ""])}
    encoded = KIND.encode(model.encoder, model, Example(held, 2))
    assert encoded.lengths is not None
    assert encoded.lengths.tolist() == [3, 2]


def test_bind_takes_the_only_column(tiny_classifier: Path) -> None:
    """One column is the text, two are a pair, and the digest tells them apart."""
    model = a_model(tiny_classifier, columns=())
    one = KIND.bind(model.encoder, model, ("review",))
    two = KIND.bind(model.encoder, model, ("premise", "hypothesis"))
    assert one.settings["columns"] == ["review"]
    assert two.settings["columns"] == ["premise", "hypothesis"]
    assert len({one.digest, two.digest, model.encoder.digest}) == 3


def test_bind_lists_the_choices(tiny_classifier: Path) -> None:
    """More than two columns are not guessed among, and none is an error too."""
    model = a_model(tiny_classifier, columns=())
    with pytest.raises(DataError, match="`id`, `title`, `body`"):
        KIND.bind(model.encoder, model, ("id", "title", "body"))
    with pytest.raises(DataError, match="no column"):
        KIND.bind(model.encoder, model, ())


def test_bind_keeps_the_named_column(tiny_classifier: Path) -> None:
    """A column that is settled stays, and must be there."""
    model = a_model(tiny_classifier, columns=("body",))
    bound = KIND.bind(model.encoder, model, ("id", "title", "body"))
    assert bound.settings["columns"] == ["body"]
    with pytest.raises(DataError, match="`body` is not in the data"):
        KIND.bind(model.encoder, model, ("id", "title"))


def test_absent_column(tiny_classifier: Path) -> None:
    """Encoding a table without the bound column says which columns there are."""
    model = a_model(tiny_classifier)
    with pytest.raises(DataError, match="it has `other`"):
        KIND.encode(model.encoder, model, Example({"other": np.array(["x"])}, 1))


def test_input_that_no_tokenizer_makes(tiny_classifier: Path) -> None:
    """A model input beyond ids, mask and segments is refused by name."""
    model = a_model(tiny_classifier)
    odd = TensorSpec("pixel_values", "float32", ("batch", 3))
    model = dataclasses.replace(model, inputs=(*model.inputs, odd))
    with pytest.raises(ModelError, match="`pixel_values`"):
        encode(model, ["good"])


def test_made_up(tiny_classifier: Path) -> None:
    """Made-up rows are valid, of several lengths up to the longest, and the same for one seed."""
    model = a_model(tiny_classifier)
    made = KIND.made_up(model.encoder, model, 50, seed=3)
    again = KIND.made_up(model.encoder, model, 50, seed=3)
    assert made.lengths is not None
    assert set(made.lengths.tolist()) == {8, 16, 32, 64}
    assert made.arrays["input_ids"].min() >= 0
    np.testing.assert_array_equal(made.arrays["input_ids"], again.arrays["input_ids"])
    np.testing.assert_array_equal(made.arrays["attention_mask"].sum(axis=1), made.lengths)
