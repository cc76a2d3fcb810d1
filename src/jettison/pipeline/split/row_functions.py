"""Rows that a Python function of the user gives: `rows.py:make` or `package.module:make`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from jettison.domain.function_source import ENDING, split_function
from jettison.errors import DataError


def called(location: str, where: str) -> Any:
    """Imports the file or module that a location names, and calls its function.

    The function is the user's own program and runs in this process, without arguments.

    Raises:
        DataError: if it can't be imported, is not there, or fails; quotes the reason.
    """
    found = split_function(location)
    if found is None:
        raise DataError(f"{where} names no function; write file.py:function")
    file, name = found
    try:
        module = _imported(file)
    except Exception as error:  # an import runs whatever the file holds
        raise DataError(
            f"{where} can't be imported: {type(error).__name__}: {error}; a module is looked for "
            f"in {Path.cwd()} and in the Python environment of jettison"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise DataError(f"{where}: `{file}` has no function `{name}`")
    try:
        return function()
    except Exception as error:  # the user's code may raise anything
        raise DataError(
            f"{where} failed: {type(error).__name__}: {error}; it is called without arguments and "
            "must return rows: a DataFrame, a dictionary of arrays, or dictionaries one a row"
        ) from error


def _imported(file: str) -> ModuleType:
    folder = str(Path(file).resolve().parent if file.endswith(ENDING) else Path.cwd())
    sys.path.insert(0, folder)
    try:
        if not file.endswith(ENDING):
            return importlib.import_module(file)
        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file}")
        spec = importlib.util.spec_from_file_location(f"jettison_rows_{Path(file).stem}", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(folder)
