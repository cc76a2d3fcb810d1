"""A kept score is read back only where nothing that it depends on has changed (Olive 1936)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jettison import registry

METADATA = "Metadata-Version: 2.1\nName: stale-{name}\nVersion: 1.0\n"
SOURCE = '''
from {helper} import right


class Metric:
    """Counts rows."""

    name = "{name}"

    def score(self, evidence):
        return right(evidence)
'''

Install = Callable[[str, str], None]


def forget() -> None:
    """A new process knows nothing of what an earlier one read."""
    registry._entries.cache_clear()
    registry.source_digest.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs (again) a package with one metric that takes its rule from a second file."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, rule: str) -> None:
        info = tmp_path / f"stale_{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(METADATA.format(name=name))
        (info / "entry_points.txt").write_text(
            f"[jettison.metrics]\n{name} = stale_{name}.metric:Metric\n"
        )
        package = tmp_path / f"stale_{name}"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        source = SOURCE.format(name=name, helper=f"stale_{name}.rule")
        (package / "metric.py").write_text(source)
        (package / "rule.py").write_text(f"def right(evidence):\n    return {rule}\n")
        importlib.invalidate_caches()
        forget()

    yield write
    forget()
    for module in [m for m in sys.modules if m.startswith("stale_")]:
        del sys.modules[module]


def test_a_changed_evaluator_is_another_question(install: Install) -> None:
    """Version and entry point stay; one rule in a file beside the metric changes."""
    install("evaluator", "evidence > 0")
    before = registry.source_digest("metrics", "evaluator")
    assert registry.source_digest("metrics", "evaluator") == before
    install("evaluator", "evidence >= 0")
    assert registry.source_digest("metrics", "evaluator") != before


def test_another_evaluator_is_not_touched(install: Install) -> None:
    """What is kept of one package stays good when another one changes."""
    install("first", "1")
    install("second", "1")
    before = registry.source_digest("metrics", "first")
    install("second", "2")
    assert registry.source_digest("metrics", "first") == before
