"""scikit-learn estimators on disk: skops files read without trusting them, written the same twice.

A skops file is a zip of plain arrays and one JSON tree of types. Reading it makes objects of the
named types without calling them, so what matters is which types may be named: classes of
scikit-learn and what skops itself trusts; never functions, never other packages.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.files import write_atomically
from jettison.errors import ModelError

MODEL_FILE = "model.skops"

LARGEST_UNPACKED = 8 * 2**30
LARGEST_RATIO = 200
"""A skops file that unpacks to more than this many times its size is refused unopened."""

NOT_FOR_MODELS = ("sklearn.datasets", "sklearn.externals", "sklearn.utils.tests")

PLAIN_TYPES = frozenset({"numpy.dtype"}) | {
    f"sklearn.feature_selection._univariate_selection.{name}"
    for name in ("f_classif", "f_oneway", "f_regression", "chi2", "r_regression")
}
"""Other names that fitted estimators hold: an encoder remembers its dtype, a selection of features
the statistic that it was fitted with.
"""

_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OSError,
    EOFError,
    RecursionError,
    ImportError,
    NotImplementedError,
)


def open_skops(path: Path) -> Any:
    """Reads an estimator from a skops file. Runs no code from it.

    Raises:
        ModelError: if it is damaged, unpacks to far more than its size, or names a type that is
            not scikit-learn's; names the types.
    """
    import skops.io

    check_archive(path)
    try:
        untrusted = skops.io.get_untrusted_types(file=path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    refused = sorted(name for name in untrusted if not _is_sklearn_class(name))
    if refused:
        raise ModelError(
            f"`{path}` holds types that are not scikit-learn's own: "
            f"{', '.join(f'`{name}`' for name in refused)}. Making them could run code, so the "
            "file is not opened; build the model from scikit-learn and NumPy parts alone"
        )
    try:
        estimator = skops.io.load(path, trusted=untrusted)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    _check_trees(estimator, path)
    return estimator


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"`{path}` can't be read as a skops file: {type(error).__name__}: {str(error)[:300]}. It "
        "is damaged, cut off or not made by skops.io.dump; save the model again"
    )


def check_archive(path: Path) -> None:
    """Refuses what is not a skops archive, and archives that unpack to far more than their size.

    Reads the table of contents only.

    Raises:
        ModelError: says what was found.
    """
    if path.stat().st_size == 0:
        raise ModelError(f"`{path}` is empty (0 bytes): save the model again with skops.io.dump")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from error
    if "schema.json" not in {entry.filename for entry in entries}:
        raise ModelError(
            f"`{path}` is a zip archive without `schema.json`, so not a skops file; save the "
            "model with skops.io.dump"
        )
    unpacked = sum(entry.file_size for entry in entries)
    ratio = unpacked / path.stat().st_size
    if unpacked > LARGEST_UNPACKED or (ratio > LARGEST_RATIO and unpacked > 2**24):
        raise ModelError(
            f"`{path}` has {path.stat().st_size} bytes and says that it unpacks to {unpacked}: "
            f"more than {LARGEST_RATIO} times its size or {LARGEST_UNPACKED} bytes, so it was not "
            "unpacked; save the model again with skops.io.dump"
        )


def type_names(path: Path) -> frozenset[str]:
    """The class names in a skops file, from its JSON alone: nothing is made.

    Raises:
        ModelError: if it is no skops file.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            pending = [json.loads(archive.read("schema.json"))]
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    names = set()
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("__class__"), str):
                names.add(item["__class__"])
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return frozenset(names)


def _is_sklearn_class(name: str) -> bool:
    if name in PLAIN_TYPES:
        return True
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn.") or module.startswith(NOT_FOR_MODELS):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type)


def _check_trees(estimator: Any, path: Path) -> None:
    """Compiled tree code follows child numbers without checking them: so they are checked here."""
    from sklearn.tree._tree import Tree

    for tree in parts_of(estimator, Tree):
        count = tree.node_count
        for name in ("children_left", "children_right"):
            children = np.asarray(getattr(tree, name))
            if len(children) and (children.max() >= count or children.min() < -1):
                raise ModelError(
                    f"`{path}` holds a decision tree whose `{name}` points outside its {count} "
                    "nodes: the file is damaged; save the model again"
                )
        features = np.asarray(tree.feature)[np.asarray(tree.children_left) != -1]
        if len(features) and (features.max() >= tree.n_features or features.min() < 0):
            raise ModelError(
                f"`{path}` holds a decision tree that reads a feature outside its "
                f"{tree.n_features}: the file is damaged; save the model again"
            )


def parts_of(estimator: Any, kind: Any) -> list[Any]:
    """Every object of a type inside an estimator: steps, members, fitted attributes."""
    found: list[Any] = []
    seen: set[int] = set()
    pending = [estimator]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, kind):
            found.append(item)
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            pending.extend(item)
        elif isinstance(item, np.ndarray):
            pending.extend(item.flat if item.dtype == object else ())
        elif type(item).__module__.startswith("sklearn."):
            pending.extend(getattr(item, "__dict__", {}).values())
    return found


def save_skops(estimator: Any, folder: Path) -> str:
    """Writes an estimator as `model.skops`: the same estimator gives the same bytes.

    Returns:
        The name of the file.

    Raises:
        ModelError: if it holds something that skops can't write, or that could not be read back.
    """
    import skops.io

    try:
        data = skops.io.dumps(estimator)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"a `{type(estimator).__name__}` can't be saved by skops: {error}. Replace functions "
            "and classes of your own in it by parts of scikit-learn"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MODEL_FILE, _canonical(data))
    return MODEL_FILE


def _canonical(data: bytes) -> bytes:
    """Renumbers objects and removes times: skops names parts by memory address."""
    source = zipfile.ZipFile(io.BytesIO(data))
    schema = json.loads(source.read("schema.json"))
    numbers: dict[int, int] = {}
    _renumber(schema, numbers)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        entries = [("schema.json", json.dumps(schema).encode())]
        for old in source.namelist():
            if old != "schema.json":
                entries.append((_new_name(old, numbers), source.read(old)))
        for name, content in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return target.getvalue()


def _new_name(old: str, numbers: dict[int, int]) -> str:
    stem, dot, suffix = old.partition(".")
    return f"{numbers[int(stem)]}{dot}{suffix}" if stem.isdigit() and int(stem) in numbers else old


def _renumber(item: Any, numbers: dict[int, int]) -> None:
    if isinstance(item, dict):
        if isinstance(item.get("__id__"), int):
            item["__id__"] = numbers.setdefault(item["__id__"], len(numbers) + 1)
        for value in item.values():
            _renumber(value, numbers)
        if isinstance(item.get("file"), str):
            item["file"] = _new_name(item["file"], numbers)
    elif isinstance(item, list):
        for value in item:
            _renumber(value, numbers)
