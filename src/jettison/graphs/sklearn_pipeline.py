"""What a fitted scikit-learn estimator takes and gives, and how to ask it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array, Batch
from jettison.errors import ModelError

LARGEST_VOCABULARY = 1000
"""Categories of a column that are kept as a setting of the encoder."""

Answer = Literal["probabilities", "scores", "label", "prediction"]


@dataclass(frozen=True, slots=True)
class EstimatorFacts:
    """What a fitted estimator takes and gives.

    Attributes:
        inputs: one matrix `X` of shape (batch, k), or one (batch, 1) per column.
        columns: names of the columns in the order of the inputs; empty when fitted on an array.
        framed: whether it was fitted on a table, so that `as_columns` finds columns by name.
        as_columns: one input per column (text, or columns that are treated apart).
        categories: text column -> categories that it was fitted on.
        strict: text columns whose unknown categories are an error.
        names: of all columns of the fitted table (`x0`, ... for an array), unused ones too.
        places: number of each of `columns` in that table.
        answer: what is asked: `probabilities` (n, classes), `scores` (n, classes), `label` (n,)
            as class number, or `prediction` (n, k) of a regressor.
        labels: class names in score order; empty for a regressor.
        task: `classification` or `regression`.
        output: of the answer.
        trees: whether a decision tree is in it.
    """

    inputs: tuple[TensorSpec, ...]
    columns: tuple[str, ...]
    framed: bool
    as_columns: bool
    answer: Answer
    labels: tuple[str, ...]
    task: str
    output: TensorSpec
    trees: bool
    names: tuple[str, ...]
    places: tuple[int, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    strict: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its place in the fitted table, name, dtype, and categories of text."""

    place: int
    name: str
    dtype: str
    categories: tuple[str, ...] = ()
    strict: bool = False


def facts_of(estimator: Any) -> EstimatorFacts:
    """Reads a fitted estimator.

    Raises:
        ModelError: if it is not fitted, or is of a kind that is not supported; says what is.
    """
    name = type(estimator).__name__
    _check_kind(estimator, name)
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise ModelError(
            f"the scikit-learn estimator `{name}` does not say how many columns it takes (a text "
            "vectorizer comes first?); put the vectorizer into a ColumnTransformer over a named "
            "column, so that a table feeds it"
        )
    names = tuple(str(n) for n in getattr(estimator, "feature_names_in_", ()))
    columns = _columns(estimator, names, int(width))
    as_columns = any(c.dtype != "float64" for c in columns) or len(columns) != width
    as_columns = as_columns or bool(names and _column_transformer(estimator))
    if as_columns:
        safe = _safe_names([c.name for c in columns])
        inputs = tuple(TensorSpec(safe[i], c.dtype, ("batch", 1)) for i, c in enumerate(columns))
    else:
        inputs = (TensorSpec("X", "float64", ("batch", int(width))),)
    answer, labels, output = _answer(estimator, name)
    return EstimatorFacts(
        inputs=inputs,
        columns=tuple(c.name for c in columns) if names or as_columns else (),
        framed=bool(names),
        as_columns=as_columns,
        answer=answer,
        labels=labels,
        task="regression" if answer == "prediction" else "classification",
        output=output,
        trees=has_trees(estimator),
        names=names or tuple(f"x{place}" for place in range(int(width))),
        places=tuple(c.place for c in columns),
        categories={c.name: c.categories for c in columns if c.categories},
        strict=tuple(c.name for c in columns if c.strict),
    )


def _check_kind(estimator: Any, name: str) -> None:
    from sklearn.base import BaseEstimator, is_classifier, is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(estimator, BaseEstimator) or not hasattr(estimator, "predict"):
        raise ModelError(
            f"a `{name}` is no scikit-learn estimator that predicts: give a fitted classifier, "
            "regressor, or a Pipeline that ends in one"
        )
    if not is_classifier(estimator) and not is_regressor(estimator):
        raise ModelError(
            f"the scikit-learn estimator `{name}` is neither a classifier nor a regressor; "
            "clustering and outlier detection have no quality that could be certified"
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise ModelError(
            f"the scikit-learn estimator `{name}` is not fitted: call `fit` before saving it"
        ) from error


def has_trees(estimator: Any) -> bool:
    """Whether decision trees make the answer."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.tree._tree import Tree

    from jettison.graphs.sklearn_store import parts_of

    kinds = (Tree, HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return bool(parts_of(estimator, kinds))


def _answer(estimator: Any, name: str) -> tuple[Answer, tuple[str, ...], TensorSpec]:
    from sklearn.base import is_regressor

    if is_regressor(estimator):
        return "prediction", (), TensorSpec("prediction", "float64", ("batch", 1))
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
        raise ModelError(
            f"the classifier `{name}` answers several questions at once (multi-output); give one "
            "classifier per question"
        )
    labels = tuple(str(c) for c in classes)
    shape: tuple[int | str, ...] = ("batch", len(labels))
    if hasattr(estimator, "predict_proba"):
        return "probabilities", labels, TensorSpec("probabilities", "float64", shape)
    if hasattr(estimator, "decision_function"):
        return "scores", labels, TensorSpec("scores", "float64", shape)
    return "label", labels, TensorSpec("label", "int64", ("batch",))


def flat_steps(estimator: Any) -> list[Any]:
    """The parts that one after the other see the data, pipelines opened."""
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline):
        return [] if isinstance(estimator, str) else [estimator]
    return [part for _, step in estimator.steps for part in flat_steps(step) if part is not None]


def _column_transformer(estimator: Any) -> Any:
    from sklearn.compose import ColumnTransformer

    first = next(iter(flat_steps(estimator)), None)
    return first if isinstance(first, ColumnTransformer) else None


def _columns(estimator: Any, names: Sequence[str], width: int) -> list[Column]:
    named = list(names) or [f"x{i}" for i in range(width)]
    transformer = _column_transformer(estimator)
    if transformer is None:
        return _typed(flat_steps(estimator), range(width), named)
    # A table may lack the columns that are not used; an array must have its full width.
    found = {} if names else {p: Column(p, n, "float64") for p, n in enumerate(named)}
    for _, part, chosen in transformer.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        for column in _typed(flat_steps(part), column_places(chosen, named), named):
            known = found.get(column.place)
            if known is None or known.dtype == "float64":
                found[column.place] = column
    return [found[place] for place in sorted(found)]


def column_places(chosen: Any, names: Sequence[str]) -> list[int]:
    """Turns the columns that a ColumnTransformer was told into their numbers."""
    if isinstance(chosen, str):
        return [names.index(chosen)]
    if isinstance(chosen, slice):
        ends = [names.index(e) if isinstance(e, str) else e for e in (chosen.start, chosen.stop)]
        if isinstance(chosen.stop, str):
            ends[1] += 1
        return list(range(len(names)))[slice(ends[0], ends[1], chosen.step)]
    if isinstance(chosen, (int, np.integer)):
        return [int(chosen) % len(names)]
    items = list(chosen)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [place for place, item in enumerate(items) if item]
    return [names.index(i) if isinstance(i, str) else int(i) % len(names) for i in items]


def _typed(parts: Sequence[Any], places: Sequence[int], names: Sequence[str]) -> list[Column]:
    """Reads from the fitted parts which columns are text: their categories say so."""
    plain = [Column(place, names[place], "float64") for place in places]
    for part in parts:
        if hasattr(part, "vocabulary_"):
            return [Column(place, names[place], "str") for place in places]
        categories = getattr(part, "categories_", None)
        if categories is not None and len(categories) == len(plain):
            strict = getattr(part, "handle_unknown", "error") == "error"
            return [
                _with_categories(column, np.asarray(values), strict)
                for column, values in zip(plain, categories, strict=True)
            ]
        # An imputer keeps the columns; anything else may rearrange them.
        statistics = getattr(part, "statistics_", None)
        if statistics is None or len(statistics) != len(plain):
            break
    return plain


def _with_categories(column: Column, values: Array, strict: bool) -> Column:
    if values.dtype.kind in "iub":
        return Column(column.place, column.name, "int64")
    texts = [v for v in values if isinstance(v, str)]
    if not texts:
        return column
    if len(texts) > LARGEST_VOCABULARY:
        return Column(column.place, column.name, "str")
    return Column(column.place, column.name, "str", tuple(str(t) for t in texts), strict)


def _safe_names(names: Sequence[str]) -> list[str]:
    """Input names double as file names: other characters than letters, digits, `-`, `.` go."""
    safe: list[str] = []
    for place, name in enumerate(names):
        plain = re.sub(r"[^\w\-. ]", "_", name).lstrip(". ") or f"x{place}"
        safe.append(plain if plain not in safe else f"{plain}_{place}")
    return safe


def table_of(facts: EstimatorFacts, batch: Batch) -> Any:
    """Gives the rows as the estimator was fitted on them: a DataFrame or an array."""
    if not facts.as_columns:
        # Also where it was fitted on a table of numbers: the columns are in the fitted order, and
        # building a DataFrame would make the baseline slower than it needs to be.
        return np.asarray(batch["X"])
    columns = [np.asarray(batch[spec.name]).reshape(-1) for spec in facts.inputs]
    columns = [c.astype(object) if c.dtype.kind == "U" else c for c in columns]
    if facts.framed:
        import pandas as pd

        return pd.DataFrame(dict(zip(facts.columns, columns, strict=True)), copy=False)
    table = np.empty((len(columns[0]), len(columns)), dtype=object)
    for place, column in enumerate(columns):
        table[:, place] = column
    return table


def answer_of(estimator: Any, facts: EstimatorFacts, table: Any) -> Array:
    """Asks the estimator.

    Returns:
        Probabilities or scores (n, classes), class numbers (n,), or predictions (n, k).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        return _ask(estimator, facts, table)


def _ask(estimator: Any, facts: EstimatorFacts, table: Any) -> Array:
    if facts.answer == "probabilities":
        return np.asarray(estimator.predict_proba(table))
    if facts.answer == "prediction":
        values = np.asarray(estimator.predict(table), dtype=np.float64)
        return values.reshape(len(values), -1)
    if facts.answer == "scores":
        scores = np.asarray(estimator.decision_function(table))
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    order = {value: number for number, value in enumerate(estimator.classes_)}
    return np.array([order[value] for value in estimator.predict(table)], dtype=np.int64)


def takes_missing(estimator: Any, facts: EstimatorFacts, batch: Batch) -> tuple[str, ...]:
    """Finds by running which inputs may be NaN.

    Args:
        estimator: fitted.
        facts: of it.
        batch: at least one row that it answers.

    Returns:
        Names of the inputs; of the matrix input only if every column may be NaN.
    """
    allowed = []
    for spec in facts.inputs:
        if spec.dtype != "float64":
            continue
        holed = dict(batch) | {spec.name: np.full_like(batch[spec.name], np.nan)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                answer_of(estimator, facts, table_of(facts, holed))
            except ValueError:
                continue
        allowed.append(spec.name)
    return tuple(allowed)
