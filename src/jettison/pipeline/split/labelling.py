"""What is known about rows beside the inputs: targets, groups, units and weights, checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Sequence

import numpy as np

from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import DataError
from jettison.numerics.ragged_columns import holds_arrays


def label_rows(table: Example, section: DataSection, model: Model, where: str) -> Labels:
    """Reads targets, groups, units and weights of every row.

    Args:
        table: raw examples.
        section: which column is what; empty names are absent.
        model: whose classes the targets must belong to.
        where: name of the table, for messages.

    Raises:
        DataError: for missing columns (all at once) or values that can't be used.
    """
    grouped = group_columns(section.groups, table.columns)
    check_columns(table, (section.target, *grouped, section.unit, section.weight), where)
    return Labels(
        targets=_targets(table, section.target, model, where) if section.target else None,
        groups={name: _group(table, name, where) for name in section.groups},
        units=_names(table, section.unit, "unit", where) if section.unit else None,
        weights=_weights(table, section.weight, where) if section.weight else None,
    )


def group_columns(names: Iterable[str], columns: Container[str]) -> tuple[str, ...]:
    """The columns that groups are made of.

    `sex & race` is the intersection of two, unless a column has that very name. The target may be
    one of them: accuracy among the rows of one class is the true positive rate of that class.

    >>> group_columns(["sex", "sex & income"], ["sex", "income"])
    ('sex', 'income')
    """
    parts = [part for name in names for part in group_parts(name, columns)]
    return tuple(dict.fromkeys(parts))


def group_parts(name: str, columns: Container[str]) -> tuple[str, ...]:
    """The columns of one group, in the order in which it names them."""
    if name in columns or "&" not in name:
        return (name,)
    return tuple(part.strip() for part in name.split("&"))


def _group(table: Example, name: str, where: str) -> Array:
    parts = group_parts(name, table.columns)
    return joined_group([_names(table, part, "group", where) for part in parts])


def joined_group(parts: Sequence[Array]) -> Array:
    """The texts of an intersection from those of its columns, each of shape (n,)."""
    if len(parts) == 1:
        return parts[0]
    return np.array([" & ".join(values) for values in zip(*(p.tolist() for p in parts))])


def check_several_classes(labels: Labels, where: str) -> None:
    """Refuses rows that can't judge a classifier.

    Raises:
        DataError: if all rows are of one class.
    """
    targets = labels.targets
    if targets is not None and targets.dtype.kind == "i" and len(np.unique(targets)) == 1:
        raise DataError(
            f"every row of {where} has the same target (class {targets[0]}); quality can't be "
            "judged on one class only: add rows of other classes"
        )


def take_labels(labels: Labels, index: Array) -> Labels:
    """Takes some rows."""
    return Labels(
        None if labels.targets is None else labels.targets[index],
        {name: values[index] for name, values in labels.groups.items()},
        None if labels.units is None else labels.units[index],
        None if labels.weights is None else labels.weights[index],
    )


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Puts the labels of several tables one after the other."""

    def joined(arrays: Sequence[Array | None]) -> Array | None:
        there = [array for array in arrays if array is not None]
        return np.concatenate(there) if there else None

    names = parts[0].groups
    return Labels(
        joined([p.targets for p in parts]),
        {name: np.concatenate([p.groups[name] for p in parts]) for name in names},
        joined([p.units for p in parts]),
        joined([p.weights for p in parts]),
    )


def check_columns(table: Example, wanted: Sequence[str], where: str) -> None:
    """Checks that columns exist.

    Raises:
        DataError: naming every column that is missing, with the nearest that exist.
    """
    problems = []
    for name in dict.fromkeys(wanted):
        if name and name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, n=2, cutoff=0.6)
            hint = f" (did you mean {' or '.join(f'`{n}`' for n in near)}?)" if near else ""
            problems.append(f"`{name}`{hint}")
    if problems:
        listed = ", ".join(f"`{name}`" for name in table.columns)
        raise DataError(f"{where} has no column {', '.join(problems)}; it has {listed}")


def missing_rows(values: Array) -> Array:
    """Rows without a value: `None`, NaN or an empty text."""
    if values.dtype.kind == "f":
        return np.flatnonzero(np.isnan(values))
    if values.dtype.kind != "O":
        return np.empty(0, dtype=np.int64)
    return np.array(
        [row for row, v in enumerate(values.tolist()) if _is_missing(v)], dtype=np.int64
    )


def _is_missing(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return False  # A row of its own, which is no single value.
    return value is None or value == "" or value != value


def _column(table: Example, name: str, role: str, where: str) -> Array:
    """One value a row, none missing."""
    values = table.columns[name]
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"the {role} column `{name}` of {where} has shape {values.shape}; give one value a row"
        )
    if holds_arrays(values):
        raise DataError(
            f"the {role} column `{name}` of {where} holds arrays or bytes; give one value a row"
        )
    missing = missing_rows(values)
    if len(missing):
        raise DataError(
            f"the {role} column `{name}` of {where} has no value in {len(missing)} of "
            f"{len(values)} rows (first: row {missing[0]}); drop these rows, or fill them in"
        )
    return values


def text_of(values: Array) -> Array:
    """Values as names: 1.0 and 1 are both «1»."""
    if values.dtype.kind == "f":
        return np.array([str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()])
    return np.array([str(v) for v in values.tolist()])


def _names(table: Example, name: str, role: str, where: str) -> Array:
    values = _column(table, name, role, where)
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        raise DataError(f"the {role} column `{name}` of {where} holds an infinite value")
    return text_of(values)


def _weights(table: Example, name: str, where: str) -> Array:
    values = _column(table, name, "weight", where)
    if values.dtype.kind not in "iuf":
        raise DataError(f"the weight column `{name}` of {where} must hold numbers from 0 up")
    return usable_weights(values.astype(np.float64), name, where)


def usable_weights(weights: Array, name: str, where: str) -> Array:
    """Gives weights of rows back, shape (n,) of float64; some may be 0, but not all.

    Raises:
        DataError: for weights that are not finite numbers from 0 up, or all 0.
    """
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(bad):
        raise DataError(
            f"the weight column `{name}` of {where} must hold finite numbers from 0 up; row "
            f"{bad[0]} holds {weights[bad[0]]:g} ({len(bad)} such rows)"
        )
    if not weights.sum() > 0:
        raise DataError(f"the weights in column `{name}` of {where} are all 0; no row would count")
    return weights


def _targets(table: Example, name: str, model: Model, where: str) -> Array:
    if model.task == "embedding":
        raise DataError(
            f"an embedding model has no right answers to compare with; leave `target` (`{name}`) "
            "empty, and cosine to the original's embeddings is certified; if its output is one "
            'score for each class, set `model.task` (--task) to "classification"'
        )
    if model.task == "token-classification":
        raise DataError(
            f"a token classifier is judged against the original, token by token; labels of words "
            f"are not read (its tokens are pieces of words): leave `target` (`{name}`) empty, and "
            "`token_agreement` is certified"
        )
    values = _column(table, name, "target", where)
    if model.task == "regression":
        return _numbers(values, name, where)
    if model.task == "transcription":
        return text_of(values)
    return _classes(values, name, model, where)


def _numbers(values: Array, name: str, where: str) -> Array:
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"the target column `{name}` of {where} must hold numbers for a regression; got "
            f"{values[0]!r}"
        )
    targets = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise DataError(
            f"the target column `{name}` of {where} holds {targets[bad[0]]} in row {bad[0]}; "
            "targets must be finite numbers"
        )
    return targets


def class_count(model: Model) -> int:
    """How many classes the model tells apart; 0 when that is not known."""
    for spec in model.outputs:
        if spec.name == model.prediction and spec.dtype.startswith("float"):
            last = spec.shape[-1] if len(spec.shape) == 2 else 1
            return 0 if isinstance(last, str) else max(2, last)
    return len(model.encoder.labels)


def _classes(values: Array, name: str, model: Model, where: str) -> Array:
    """Class indices in the order of the model's scores."""
    labels = model.encoder.labels
    by_name = bool(labels) and all(re.fullmatch(r"-?\d+", label) for label in labels)
    if values.dtype.kind in "OU":
        return _by_name(values, labels, name, where)
    if values.dtype.kind == "f" and not np.all(np.mod(values, 1.0) == 0):
        raise DataError(
            f"the target column `{name}` of {where} holds {values[np.mod(values, 1.0) != 0][0]:g}; "
            "a classification needs class names or whole numbers"
        )
    if values.dtype.kind == "b" and set(labels) & {"True", "true", "False", "false"}:
        lower = any(label in ("true", "false") for label in labels)
        texts = text_of(values)
        return _by_name(np.char.lower(texts) if lower else texts, labels, name, where)
    whole = values.astype(np.int64)
    if by_name:
        return _by_name(text_of(whole), labels, name, where)
    count = class_count(model)
    if whole.min() < 0 or (count and whole.max() >= count):
        shift = "; they seem to start at 1: subtract 1" if whole.min() == 1 else ""
        raise DataError(
            f"the target column `{name}` of {where} holds whole numbers from {whole.min()} to "
            f"{whole.max()}, but the model has {count} classes, 0 to {count - 1}{shift}"
        )
    return whole


def _by_name(values: Array, labels: Sequence[str], name: str, where: str) -> Array:
    if not labels:
        raise DataError(
            f"the target column `{name}` of {where} holds names such as {values[0]!r}, but the "
            "model says no names for its classes: give whole numbers from 0 in the order of the "
            "model's scores, or put the names beside the model, as a JSON list in that order "
            "(NAME.labels.json for NAME.onnx; id2label in a Hugging Face config.json)"
        )
    place = {label: index for index, label in enumerate(labels)}
    unseen = sorted({str(v) for v in values.tolist()} - set(place))
    if unseen:
        near = difflib.get_close_matches(unseen[0], labels, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise DataError(
            f"the target column `{name}` of {where} holds labels that the model does not know: "
            f"{_some(unseen)}{hint} (its labels: {_some(labels)}); drop or rename these rows"
        )
    return np.array([place[str(v)] for v in values.tolist()], dtype=np.int64)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
