"""Sources that name a Python function: `package.module:function` or `path/to/file.py:function`.

A function that a user names is the user's own program, and is imported and run.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from jettison.errors import JettisonError

__all__ = ["ENDING", "split_function", "users_function"]

ENDING = ".py"

_FORM = re.compile(r"(.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")

_BESIDE: dict[str, Path] = {}
"""Modules and packages from beside a function -> the folder that they lie in."""


def split_function(location: str) -> tuple[str, str] | None:
    """Takes a source apart into file or module, and function; `None` if it names no function.

    >>> split_function("nets/resnet.py:make")
    ('nets/resnet.py', 'make')
    >>> split_function("model.onnx") is None
    True
    """
    found = _FORM.fullmatch(location)
    return (found.group(1), found.group(2)) if found else None


@contextlib.contextmanager
def users_function(
    where: str, name: str, shown: str, error: type[JettisonError]
) -> Iterator[Callable[[], Any]]:
    """Imports a file or module of the user, and gives a function of it.

    Files beside it can be imported as long as the context lasts, so call the function within. Those that
    lie beside another function are forgotten, since Python knows a module by its name alone.

    Args:
        where: path of a .py file, or the dotted name of a module.
        name: of the function.
        shown: what messages call the source.
        error: raised if it can't be imported, or has no such function; lists near names.
    """
    folder = Path(where).resolve().parent if where.endswith(ENDING) else Path.cwd()
    _forget_others(folder)
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        try:
            module = _imported(where)
        except Exception as failure:  # an import runs whatever the file holds
            told = (str(failure).strip() or type(failure).__name__).splitlines()[0]
            raise error(
                f"{shown} can't be imported: {type(failure).__name__}: {told}; a module is looked "
                f"for in {folder} and in the Python environment of jettison"
            ) from failure
        function = getattr(module, name, None)
        if not callable(function):
            near = difflib.get_close_matches(name, [n for n in dir(module) if n[0] != "_"], n=3)
            hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
            raise error(f"{shown}: `{where}` has no function `{name}`{hint}")
        yield function
    finally:
        _BESIDE.update(dict.fromkeys(_from(folder, set(sys.modules) - before) - before, folder))
        sys.path.remove(str(folder))


def _forget_others(folder: Path) -> None:
    others = {name for name, home in _BESIDE.items() if home != folder}
    for module in [module for module in sys.modules if module.partition(".")[0] in others]:
        del sys.modules[module]
    for name in others:
        del _BESIDE[name]


def _from(folder: Path, modules: set[str]) -> set[str]:
    """The modules and packages that lie in a folder itself: not in an environment below it."""
    found = set()
    for module in modules:
        name = module.partition(".")[0]
        spec = getattr(sys.modules[module], "__spec__", None)
        origin = spec.origin if isinstance(spec, ModuleSpec) else None
        if (origin or "").startswith((f"{folder / name}.", f"{folder / name}{os.sep}")):
            found.add(name)
    return found


def _imported(where: str) -> ModuleType:
    if not where.endswith(ENDING):
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    # By its path: another folder may hold a file of this name.
    mark = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"jettison_source_{path.stem}_{mark}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
