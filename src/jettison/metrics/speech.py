"""Quality of transcriptions against the spoken words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.predictions import predicted_classes

MOST = 2.0
"""An utterance counts at most twice its words as errors; without a bound no test of the mean holds
its error rate when a model makes up pages of text once in a while."""
BLANKS = ("", "<blank>", "<pad>", "[PAD]", "<ctc>")
"""Names of the label that stands for «no letter» in a model with CTC."""
_GAPS = str.maketrans("|\u2581", "  ")
"""What stands for the gap between words: `|` (wav2vec 2.0), and `\u2581` of SentencePiece."""


class WordErrorRate:
    """Word errors (substitutions, deletions, insertions) over words spoken; a row is an utterance.

    Words are what stands between blanks, compared letter by letter: bring both sides into one
    spelling before. An utterance without words counts as one word, so that a model which
    hears words in silence shows.
    """

    name: ClassVar[str] = "wer"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "lower"
    kind: ClassVar[MetricKind] = "ratio_of_sums"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = MOST
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "transcription"})

    def score(self, evidence: Evidence) -> Scores:
        """Counts errors and words of each utterance with jiwer.

        The output may hold texts; scores of isolated words, shape (n, words), or of letters over
        time, shape (n, t, letters), both named by the encoder's labels. Letters are read greedily:
        the likeliest of each moment, repeats and the blank left out (CTC).

        Raises:
            DataError: without targets or rows, or if the output can't be read as text.
        """
        if evidence.targets is None or not len(evidence.targets):
            raise DataError("`wer` needs rows with the spoken words as `target`")
        labels = evidence.labels
        spoken = _texts(np.asarray(evidence.targets), labels)
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        if output.ndim == 3:
            heard = _letters(output, labels)
        elif output.dtype.kind == "f":
            heard = _texts(predicted_classes(output, reference, labels), labels)
        else:
            heard = _texts(output, labels)
        words = np.array([max(len(text.split()), 1) for text in spoken], dtype=np.float64)
        errors = np.minimum(_word_errors(spoken, heard), MOST * words)
        return Scores(float(errors.sum() / words.sum()), np.stack([errors, words], axis=1))


def _word_errors(spoken: Sequence[str], heard: Sequence[str]) -> Array:
    """Word errors of each utterance, shape (n,)."""
    try:
        import jiwer
    except ImportError as error:
        raise DataError(
            "`wer` counts errors with jiwer, which is not installed: pip install 'jettison[speech]'"
        ) from error
    errors = np.array([len(text.split()) for text in heard], dtype=np.float64)
    known = [place for place, text in enumerate(spoken) if text.split()]
    if known:
        found: Any = jiwer.process_words([spoken[i] for i in known], [heard[i] for i in known])
        errors[known] = [
            sum(
                max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
                for c in chunks
                if c.type != "equal"
            )
            for chunks in found.alignments
        ]
    return errors


def _texts(values: Array, labels: Sequence[str]) -> list[str]:
    """Texts as they stand, or the names of class indices; an unknown class is no word."""
    flat = values.reshape(len(values), -1)
    if flat.shape[1] != 1:
        raise DataError(f"`wer` needs one text a row; got the shape {values.shape}")
    if values.dtype.kind in "USO":
        return [str(value) for value in flat[:, 0].tolist()]
    if values.dtype.kind not in "iu" or not labels or int(flat.max()) >= len(labels):
        raise DataError(
            f"`wer` needs texts, or class indices with a name for each; got {values.dtype} and "
            f"{len(labels)} names"
        )
    return [labels[value] if value >= 0 else "" for value in flat[:, 0].tolist()]


def _letters(scores: Array, labels: Sequence[str]) -> list[str]:
    """Reads letters over time, shape (n, t, letters), greedily."""
    blanks = [place for place, label in enumerate(labels) if label in BLANKS]
    if len(labels) != scores.shape[2] or len(blanks) != 1:
        raise DataError(
            f"`wer` reads scores of letters over time with one name for each of the "
            f"{scores.shape[2]} letters and one blank among them ({', '.join(map(repr, BLANKS))}); "
            f"the model names {len(labels)}"
        )
    best = np.where(np.isfinite(scores).all(axis=2), scores.argmax(axis=2), blanks[0])
    new = np.ones(best.shape, dtype=bool)
    new[:, 1:] = best[:, 1:] != best[:, :-1]
    kept = new & (best != blanks[0])
    return [
        "".join(labels[i] for i in row[mask].tolist()).translate(_GAPS)
        for row, mask in zip(best, kept, strict=True)
    ]
