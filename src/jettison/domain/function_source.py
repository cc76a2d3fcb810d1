"""Sources that name a Python function: `package.module:function` or `path/to/file.py:function`."""

from __future__ import annotations

import re

__all__ = ["ENDING", "split_function"]

ENDING = ".py"

_FORM = re.compile(r"(.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def split_function(location: str) -> tuple[str, str] | None:
    """Takes a source apart into file or module, and function; `None` if it names no function.

    >>> split_function("nets/resnet.py:make")
    ('nets/resnet.py', 'make')
    >>> split_function("model.onnx") is None
    True
    """
    found = _FORM.fullmatch(location)
    return (found.group(1), found.group(2)) if found else None
