"""The one door to torchao: its parts for other devices, and its remarks on them, stay out."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from typing import Any

SKIP_EXTENSIONS = "TORCHAO_FORCE_SKIP_LOADING_SO_FILES"
"""Without it, importing torchao says on stderr that its CUDA kernels can't be loaded. The kernels
for CPUs that it leaves out as well are for processors with AVX-512 and for Arm; nothing here calls
them."""

CHATTY = ("torchao", "torch.utils._pytree")
"""Loggers that remark on what torchao does inside; some only when a part of it is first used."""


def import_torchao(name: str = "torchao") -> Any:
    """Imports torchao, or a module of it, without a word on stderr."""
    os.environ.setdefault(SKIP_EXTENSIONS, "1")
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
