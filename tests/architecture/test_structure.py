"""The structure of the package: layers, names, lengths, what an import loads."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from jettison import registry
from jettison.domain.traits import TRAITS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "jettison"
FILES = sorted(SOURCE.rglob("*.py"))
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|misc|managers?)(_|$)")
HEAVY = ("torch", "onnxruntime", "sklearn", "optuna", "pandas", "transformers", "plotly", "onnx")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print('\\n'.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_layers_hold() -> None:
    """import-linter keeps every contract of pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_importing_jettison_loads_no_framework() -> None:
    """`import jettison` and its command line load neither a framework nor a data library."""
    for statement in ("import jettison", "import jettison.cli"):
        assert not loaded_by(statement) & set(HEAVY), statement


def test_listing_plugins_imports_none_of_them() -> None:
    """Names and packages of all plug-ins are known without importing one."""
    code = (
        "import sys\nfrom jettison import registry\n"
        "[registry.packages(f) for f in registry.FAMILIES]\n"
        "print([m for m in sys.modules if m.startswith(('jettison.techniques.', "
        "'jettison.runtimes.', 'jettison.metrics.', 'jettison.loaders.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_importing_a_plugin_is_light(family: registry.Family) -> None:
    """No plug-in module loads a framework when it is imported."""
    entries = registry._entries(family).values()
    modules = sorted(
        {entry.module for entry in entries if registry.package_of(entry) == "jettison"}
    )
    if modules:
        heavy = loaded_by("import " + ", ".join(modules)) & set(HEAVY)
        assert not heavy, f"{family}: {heavy}"


def test_no_file_is_named_for_its_vagueness() -> None:
    """No file or folder is called utils, helpers, common, misc or manager."""
    vague = [p for p in SOURCE.rglob("*") if VAGUE.search(p.stem)]
    assert vague == []


def test_files_are_short() -> None:
    """No file is longer than 400 lines; the median file has at most 150."""
    lengths = {p: len(p.read_text().splitlines()) for p in FILES}
    assert {p.name: n for p, n in lengths.items() if n > 400} == {}
    assert statistics.median(lengths.values()) <= 150


def test_functions_are_short_and_take_few_arguments() -> None:
    """95 % of the functions have at most 40 lines; none takes more than 6 parameters."""
    lengths: list[int] = []
    wide: list[str] = []
    for path in FILES:
        if path.name == "cli.py" or path.parent.name == "cli":
            continue  # each option of a command is a parameter of its function
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
                names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
                if len([n for n in names if n not in ("self", "cls")]) > 6:
                    wide.append(f"{path.name}:{node.name}")
    assert sorted(lengths)[int(0.95 * len(lengths))] <= 40
    assert wide == []


def test_the_vocabulary_of_traits_is_small() -> None:
    """There are fewer than 20 traits, each with one sentence."""
    assert len(TRAITS) < 20
    for name, sentence in TRAITS.items():
        assert sentence.endswith("."), name
        assert ". " not in sentence, name


def test_source_reads_no_pickle() -> None:
    """`allow_pickle=True` stands nowhere; pickle is loaded in one place, behind `trust_pickle`."""
    allowing = [p.name for p in FILES if re.search(r"allow_pickle\s*=\s*True", p.read_text())]
    assert allowing == []
    loading = [
        p.relative_to(SOURCE).as_posix()
        for p in FILES
        if re.search(r"\b(pickle|joblib|cloudpickle)\.load", p.read_text())
    ]
    assert loading in ([], ["loaders/scikit_learn.py"])
