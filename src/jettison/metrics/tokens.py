"""Closeness of a token classifier to the original; a row is a sentence."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.errors import DataError


class TokenAgreement:
    """The mean over sentences of the fraction of tokens that get the original's class.

    The sentence is the unit, because the tokens of one sentence are not independent. Tokens of
    padding, where all scores of the original are 0 (see `worker.ragged`), don't count; special
    tokens of the model do. A token whose scores are not finite disagrees.
    """

    name: ClassVar[str] = "token_agreement"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "bounded_mean"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = False
    against_reference: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str]] = frozenset({"token-classification"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares the likeliest class of each token; outputs have the shape (n, tokens, classes).

        Raises:
            DataError: without rows, for outputs of another shape, or where a sentence of the
                original has no token with finite scores.
        """
        output = np.asarray(evidence.outputs[evidence.prediction])
        reference = np.asarray(evidence.reference[evidence.prediction])
        if reference.ndim != 3 or not len(reference) or output.shape != reference.shape:
            raise DataError(
                f"`{self.name}` needs scores of shape (rows, tokens, classes) from both models; "
                f"the candidate's is {output.shape}, the original's {reference.shape}"
            )
        counted = (reference != 0).any(axis=2)
        known = np.isfinite(reference).all(axis=2)
        tokens = counted.sum(axis=1)
        bad = np.flatnonzero((tokens == 0) | (counted & ~known).any(axis=1))
        if len(bad):
            raise DataError(
                f"`{self.name}` is undefined: the original's own answer to row {bad[0]} holds no "
                "token, or NaN or infinite scores; leave such rows out, or correct the model"
            )
        same = output.argmax(axis=2) == reference.argmax(axis=2)
        same &= np.isfinite(output).all(axis=2) & counted
        parts = same.sum(axis=1) / tokens
        return Scores(float(parts.mean()), parts)
