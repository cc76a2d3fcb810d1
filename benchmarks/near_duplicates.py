"""How many changed copies are told as near-duplicates across the seal, and how many others are.

    python -m benchmarks.near_duplicates

Texts are AG News and the pairs of STS-B, as MiniLM's tokenizer reads them; pictures are CIFAR-10 test images.
Every sealed row is a changed copy of one open row ("changed"), or a row of its own ("others"). Intervals
are exact (Clopper and Pearson) at 95 %.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.minilm import DATA, minilm
from benchmarks.results_file import Row, write
from jettison.numerics.similarity import ALIKE_SETS, jaccard, shingles
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.encoding import Pool
from jettison.pipeline.split.near_duplicates import find_near

COPIES = 2000
"""Rows that are changed, for each kind of change."""

SAME, OTHER = 4.8, 2.0
"""Scores of STS-B (0 to 5) from which two sentences mean the same, and up to which they don't."""


def main() -> None:
    rows = [*of_texts(), *of_pairs(), *of_pictures()]
    write("near_duplicates", rows, ["Rows of the other kind are those that nothing was done to."])


def share(kind: str, what: str, found: int, n: int, note: str = "") -> Row:
    interval = stats.binomtest(found, n).proportion_ci(method="exact")
    print(f"{kind}: {what}: {found} of {n} {note}", flush=True)
    return Row(
        kind,
        what,
        "told",
        found / n,
        float(interval.low),
        float(interval.high),
        "fraction",
        n,
        note,
    )


def told(rows: np.ndarray[Any, Any], opened: int, lengths: Any = None) -> tuple[set[int], float]:
    """Numbers of sealed rows that are told, and how many seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "0.x.npy", rows)
        pad = {} if lengths is None else {"x": 0.0}
        pool = Pool(Path(name), ("x",), (0,), pad, ("",) * len(rows), lengths)
        division = Division(
            np.arange(opened), np.arange(0), np.arange(opened, len(rows), dtype=np.int64)
        )
        begun = time.monotonic()
        near = find_near(pool, division)
        return {row - opened for row, _ in near.pairs}, time.monotonic() - begun


def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    found.no_padding()
    found.no_truncation()
    return found


def _filled(tokenizer: Any, texts: Sequence[str]) -> tuple[Any, Any]:
    ids = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    lengths = np.array([len(row) for row in ids])
    rows = np.zeros((len(ids), lengths.max()), dtype=np.int64)
    for place, row in enumerate(ids):
        rows[place, : len(row)] = row
    return rows, lengths


def _another_word(words: list[str], rng: Any, known: Sequence[str]) -> list[str]:
    return [*words[: (at := rng.integers(len(words)))], str(rng.choice(known)), *words[at + 1 :]]


def _without_a_word(words: list[str], rng: Any, _: Sequence[str]) -> list[str]:
    at = rng.integers(len(words))
    return words[:at] + words[at + 1 :]


def _three_other_words(words: list[str], rng: Any, known: Sequence[str]) -> list[str]:
    for _ in range(3):
        words = _another_word(words, rng, known)
    return words


def _in_capitals(words: list[str], _: Any, __: Sequence[str]) -> list[str]:
    return [word.upper() for word in words]


def _with_a_sentence_before(words: list[str], _: Any, __: Sequence[str]) -> list[str]:
    return ["Update:", "this", "story", "was", "corrected.", *words]


CHANGES_OF_TEXT: dict[str, Callable[[list[str], Any, Sequence[str]], list[str]]] = {
    "in capitals": _in_capitals,
    "one word left out": _without_a_word,
    "one word replaced": _another_word,
    "three words replaced": _three_other_words,
    "a sentence put before": _with_a_sentence_before,
}


def of_texts() -> Iterator[Row]:
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    column = "description" if "description" in table[0] else list(table[0])[-1]
    texts = [row[column] for row in table]
    tokenizer, rng = _tokenizer(), np.random.default_rng(0)
    known = sorted({word for text in texts[:1000] for word in text.split()})
    half = len(texts) // 2
    rows, lengths = _filled(tokenizer, texts)
    found, seconds = told(rows, half, lengths)
    note = f"{half} open rows; {seconds:.1f} s"
    yield share("AG News", "the other half of the file", len(found), len(texts) - half, note)
    for title, change in CHANGES_OF_TEXT.items():
        copies = [" ".join(change(text.split(), rng, known)) for text in texts[:COPIES]]
        rows, lengths = _filled(tokenizer, texts[:COPIES] + copies)
        found, seconds = told(rows, COPIES, lengths)
        yield share("AG News", f"changed: {title}", len(found), COPIES, f"{seconds:.1f} s")


def of_pairs() -> Iterator[Row]:
    """People's judgement of likeness: a sentence in other words is no copy.

    Pairs are compared one by one: the same sentence stands in several.
    """
    scored = []
    for part in ("train", "dev", "test"):
        with gzip.open(DATA / f"text/stsb-en-{part}.csv.gz", "rt", encoding="utf-8") as file:
            scored += [tuple(row.values()) for row in csv.DictReader(file)]
    pairs = [(one, other, float(score)) for one, other, score in scored if one != other]
    tokenizer = _tokenizer()
    for title, chosen in (
        (f"scored {SAME:g} or more", [pair for pair in pairs if pair[2] >= SAME]),
        (f"scored {OTHER:g} or less", [pair for pair in pairs if pair[2] <= OTHER]),
    ):
        found = 0
        for one, other, _ in chosen:
            first, second = (shingles(np.array(tokenizer.encode(t).ids)) for t in (one, other))
            found += jaccard(first, second) >= ALIKE_SETS
        yield share("STS-B", f"two sentences, {title}", found, len(chosen))


def of_pictures() -> Iterator[Row]:
    pixels = _pictures()
    half = len(pixels) // 2
    found, seconds = told(pixels, half)
    note = f"{half} open rows; {seconds:.1f} s"
    yield share("CIFAR-10", "the other half of the file", len(found), len(pixels) - half, note)
    some, rng = pixels[:COPIES], np.random.default_rng(0)
    changed = {
        "four fifths of the light": 0.8 * some,
        "half of the contrast": 0.5 * some + 64,
        "as JPEG once more, quality 75": np.stack([_again(one, 75) for one in some]),
        "noise of 8 of 255": some + rng.normal(0, 8, some.shape),
        "noise of 16 of 255": some + rng.normal(0, 16, some.shape),
        "moved by one pixel": np.roll(some, 1, axis=2),
        "mirrored": some[:, :, ::-1],
    }
    for title, copies in changed.items():
        both = np.concatenate([some, np.clip(copies, 0, 255)]).astype(np.float32)
        found, seconds = told(both, COPIES)
        yield share("CIFAR-10", f"changed: {title}", len(found), COPIES, f"{seconds:.1f} s")


def _pictures() -> Any:
    from PIL import Image

    with np.load(DATA / "vision/cifar10-jpeg-test.npz") as stored:
        data, ends = stored["jpeg"].tobytes(), stored["offsets"]
    return np.stack(
        [
            np.asarray(Image.open(io.BytesIO(data[a:b])).convert("RGB"), dtype=np.float32)
            for a, b in itertools.pairwise(ends)
        ]
    )


def _again(pixels: Any, quality: int) -> Any:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32)


if __name__ == "__main__":
    main()
