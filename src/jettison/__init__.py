"""jettison: the fastest version of a trained model for this machine, certified.

    import jettison as jt
    result = jt.optimize("model.onnx", data="val.parquet", target="label", max_drop=0.01)
    result.answer; result.best; result.certificate; result.save("release/")

Every name below is imported when it is first used, so that `import jettison` stays cheap.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOME = {
    "optimize": "jettison.api",
    "Result": "jettison.api",
    "prepare": "jettison.preparation",
    "run": "jettison.whole_run",
    "load_model": "jettison.pipeline.load",
    "load_data": "jettison.pipeline.split",
    "apply": "jettison.pipeline.apply",
    "verify": "jettison.pipeline.verify",
    "read_configuration": "jettison.config",
    "Configuration": "jettison.domain.configuration",
    "Recipe": "jettison.domain.recipe",
    "Step": "jettison.domain.recipe",
    "JettisonError": "jettison.errors",
    "UsageError": "jettison.errors",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name in _HOME:
        found: object = getattr(importlib.import_module(_HOME[name]), name)
        return found
    raise AttributeError(f"module 'jettison' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
