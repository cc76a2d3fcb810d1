"""Refits the last part of a fitted pipeline on the fitting rows; what prepares columns stays.

Importing this file imports scikit-learn; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline

from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.sklearn_pipeline import facts_of, table_of

__all__ = ["FEWEST_ROWS", "Lesson", "lesson_of", "with_last"]

FEWEST_ROWS = 50
"""Rows below which a refitted model is worth nothing."""


class Lesson:
    """What a refit learns from.

    Attributes:
        last: the last part of the estimator, as it was fitted.
        features: what it reads, as the parts before it prepare the fitting rows.
        targets: right answers as the estimator's own classes, shape (n,).
        seed: of what the last part draws, where it has no seed of its own.
    """

    def __init__(self, last: Any, features: Any, targets: Array, seed: int) -> None:
        self.last = last
        self.features = features
        self.targets = targets
        self.seed = seed

    def fresh(self) -> Any:
        """The last part with its settings and without what it learned; it draws by the seed."""
        part = clone(self.last)
        unset = {
            name: self.seed % 2**32
            for name, value in part.get_params().items()
            if name.split("__")[-1] == "random_state" and value is None
        }
        return part.set_params(**unset)


def lesson_of(estimator: Any, fitting: FittingData, name: str) -> Lesson:
    """Prepares the fitting rows for the last part of an estimator.

    Args:
        estimator: a fitted classifier, or a pipeline that ends in one.
        fitting: rows with classes as targets.
        name: of the technique, for messages.

    Raises:
        CandidateFailed: for a regressor, rows without targets, fewer than `FEWEST_ROWS`, or
            classes that do not all occur.
    """
    labels = fitting.labels
    if not is_classifier(estimator):
        raise CandidateFailed(f"`{name}` is for classifiers")
    if labels is None or labels.targets is None:
        raise CandidateFailed(
            f"`{name}` learns from labels, and the fitting rows have none; give fitting rows with "
            "a target"
        )
    if fitting.rows.n < FEWEST_ROWS:
        raise CandidateFailed(
            f"`{name}` fits the model anew, and {fitting.rows.n} fitting rows are too few (at "
            f"least {FEWEST_ROWS}; as many as the model was trained on are better): raise "
            "`data.fitting_rows`, or give training rows as `data.fitting`"
        )
    classes = np.asarray(estimator.classes_)
    lacking = sorted(set(range(len(classes))) - set(labels.targets.tolist()))
    if lacking:
        raise CandidateFailed(
            f"no fitting row is of class `{classes[lacking[0]]}`; `{name}` needs rows of each class"
        )
    table = table_of(facts_of(estimator), fitting.rows.batch(slice(None)))
    if isinstance(estimator, Pipeline):
        before, last = estimator[:-1], estimator[-1]
        features = before.transform(table) if len(estimator.steps) > 1 else table
    else:
        last, features = estimator, table
    return Lesson(last, features, classes[labels.targets], fitting.seed)


def with_last(estimator: Any, last: Any) -> Any:
    """A copy of an estimator whose last part is another one; the given one is not changed."""
    if not isinstance(estimator, Pipeline):
        return last
    copied = copy.deepcopy(estimator)
    copied.steps[-1] = (copied.steps[-1][0], last)
    return copied
