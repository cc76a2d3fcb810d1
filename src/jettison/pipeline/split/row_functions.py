"""Rows that a Python function of the user gives: `rows.py:make` or `package.module:make`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from jettison.domain.function_source import ENDING, split_function
from jettison.errors import DataError

WANTED = "it must return rows: a DataFrame, a dictionary of arrays, or dictionaries one a row"


@contextlib.contextmanager
def called(location: str, where: str) -> Iterator[Any]:
    """Imports the file or module that a location names, and calls its function.

    The function is the user's own program and runs in this process, without arguments. Rows that
    it yields are made while they are read, so files beside it can be imported until they are.

    Raises:
        DataError: if it can't be imported, is not there, or fails, also later, while its rows are
            read; quotes the reason.
    """
    found = split_function(location)
    if found is None:
        raise DataError(f"{where} names no function; write file.py:function")
    file, name = found
    folder = Path(file).resolve().parent if file.endswith(ENDING) else Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        yield _checked(_function(file, name, folder, where), where)
    finally:
        sys.path.remove(str(folder))


def _function(file: str, name: str, folder: Path, where: str) -> Any:
    try:
        module = _imported(file)
    except Exception as error:  # an import runs whatever the file holds
        raise DataError(
            f"{where} can't be imported: {type(error).__name__}: {error}; a module is looked for "
            f"in {folder} and in the Python environment of jettison"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        near = difflib.get_close_matches(name, [n for n in dir(module) if n[0] != "_"], n=3)
        hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        raise DataError(f"{where}: `{file}` has no function `{name}`{hint}")
    return function


def _checked(function: Any, where: str) -> Any:
    try:
        made = function()
    except Exception as error:  # the user's code may raise anything
        raise _failed(error, where) from error
    if made is None or isinstance(made, str | bytes | Path):
        raise DataError(f"{where} returned a `{type(made).__name__}`; {WANTED}")
    return _each(made, where) if isinstance(made, Iterator) else made


def _each(rows: Iterator[Any], where: str) -> Iterator[Any]:
    try:
        yield from rows
    except Exception as error:  # the user's code may raise anything
        raise _failed(error, where) from error


def _failed(error: Exception, where: str) -> DataError:
    return DataError(
        f"{where} failed: {type(error).__name__}: {error}; it is called without arguments, and "
        f"{WANTED}"
    )


def _imported(file: str) -> ModuleType:
    if not file.endswith(ENDING):
        return importlib.import_module(file)
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(f"jettison_rows_{Path(file).stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
