"""Rows that a Python function of the user gives: `rows.py:make` or `package.module:make`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jettison.domain.function_source import split_function, users_function
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
    with users_function(*found, where, DataError) as function:
        yield _checked(function, where)


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
