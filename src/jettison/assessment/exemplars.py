"""Compression-identified exemplars: rows whose answer compression changes.

S. Hooker, N. Moorosi, G. Clark, S. Bengio, E. Denton, "Characterising Bias in Compressed Models"
(2020), compare the modal answers of many compressed and many whole networks; here it is one of
each, the two that are at stake.
"""

from __future__ import annotations

import numpy as np

from jettison.assessment.search_rows import SearchRows
from jettison.domain.found import Exemplar
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.predictions import class_probabilities


def exemplars_of(rows: SearchRows) -> tuple[Exemplar, ...]:
    """Lists the rows whose answer changed; those that the original was surest of come first."""
    changed = np.flatnonzero(rows.before != rows.after)
    sure = sureness(rows)
    if sure is not None:
        changed = changed[np.argsort(-sure[changed], kind="stable")]
    targets = rows.raw.labels.targets
    return tuple(
        Exemplar(
            row=int(rows.raw.numbers[i]),
            before=class_name(rows, int(rows.before[i])),
            after=class_name(rows, int(rows.after[i])),
            truth="" if targets is None else class_name(rows, int(targets[i])),
            sure=None if sure is None or not np.isfinite(sure[i]) else float(sure[i]),
        )
        for i in changed.tolist()
    )


def sureness(rows: SearchRows) -> Array | None:
    """Probability that the original gives its own answer, shape (n,); `None` for bare labels."""
    name = rows.record.model.prediction
    output = np.asarray(rows.evidence.reference[name])
    try:
        chances = class_probabilities(output, output)
    except DataError:
        return None
    largest: Array = chances.max(axis=1)
    return largest


def harm_of(rows: SearchRows) -> tuple[Array, str]:
    """Which rows count as harmed, shape (n,) of bool, and what that means."""
    targets = rows.raw.labels.targets
    if targets is None:
        return rows.before != rows.after, "rows whose answer changed"
    lost = (rows.before == targets) & (rows.after != targets)
    return lost, "rows that the original gets right and the candidate wrong"


def class_name(rows: SearchRows, number: int) -> str:
    """The name of a class, or its number."""
    labels = rows.evidence.labels
    if number < 0:
        return "no answer"
    return labels[number] if number < len(labels) else str(number)
