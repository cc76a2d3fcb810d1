"""Writing jettison.toml and its reference page."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from jettison.config import (
    KEYS,
    configuration_from,
    read_configuration,
    render_configuration,
    render_reference,
    seen_from,
)
from jettison.domain.configuration import Configuration, ModelSection

KNOWN = {
    "techniques": ("int8_static",),
    "runtimes": ("onnx_runtime",),
    "metrics": ("accuracy",),
    "costs": ("latency_ms", "size_bytes"),
}
ROOT = Path(__file__).resolve().parents[3]


def test_a_written_file_spells_out_every_key() -> None:
    """Each key of the table stands in the file with a comment above it, or is named as absent."""
    text = render_configuration(
        configuration_from({"model": {"source": "m.onnx"}, "require": [{"max_drop": 0.1}]}, KNOWN)
    )
    lines = text.splitlines()
    for key in KEYS:
        places = [
            i for i, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{key.name} ")
        ]
        assert places, key.name
        assert all(lines[i - 1].startswith("#") for i in places), key.name
    assert max(map(len, lines)) <= 100


def test_without_requirements_the_file_says_what_holds_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without [[require]] names the default, and reads back equal."""
    made = Configuration(ModelSection("m.onnx"))
    text = render_configuration(made)
    assert "max_drop = 0.01" in text
    assert "require" not in tomllib.loads(text)
    monkeypatch.chdir(tmp_path)
    Path("jettison.toml").write_text(text, encoding="utf-8")
    assert read_configuration(Path("jettison.toml"), KNOWN) == made


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_in_another_folder_names_the_same_places(
    linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, rows, run and ledger are found again from there; modules and absolute paths stay."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere" / "run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home")
    if linked:
        Path("run").symlink_to(tmp_path / "elsewhere" / "run")
    else:
        Path("run").mkdir()
    asked = {
        "model": {"source": "net.py:make", "weights": "/w.safetensors"},
        "data": {"fitting": "rows.make:rows", "selection": "../val.csv"},
        "output": "run",
        "ledger": "ledger",
    }
    ran = configuration_from(asked, KNOWN)
    file = Path("run") / "jettison.toml"
    file.write_text(render_configuration(seen_from(ran, file.parent)), encoding="utf-8")
    again = read_configuration(file, KNOWN)
    for found, meant in (
        (again.model.source, "net.py:make"),
        (again.data.selection, "../val.csv"),
        (again.ledger, "ledger"),
    ):
        assert Path(found).resolve() == Path(meant).resolve()
    assert Path(again.output).samefile("run")
    assert (again.model.weights, again.data.fitting) == ("/w.safetensors", "rows.make:rows")


def test_a_number_that_is_not_finite_is_refused() -> None:
    """Nothing that can't be read back is written."""
    made = Configuration(ModelSection("m"))
    search = dataclasses.replace(made.search, max_minutes=float("inf"))
    with pytest.raises(ValueError, match="finite"):
        render_configuration(dataclasses.replace(made, search=search))


def test_the_reference_page_is_current() -> None:
    """docs/configuration.md is what the table of keys gives now."""
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == render_reference(), (
        "run: python -c 'from jettison.config import render_reference as r; print(r(), end=\"\")' "
        "> docs/configuration.md"
    )


def test_every_default_is_allowed() -> None:
    """The table's own defaults pass its own checks."""
    made = configuration_from({"model": {"source": "m"}}, KNOWN)
    assert made == Configuration(ModelSection("m"))
