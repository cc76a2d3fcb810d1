"""docs/models-and-data.md: its snippets make rows that are read, and its TOML is a configuration."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from jettison import config, registry
from jettison.pipeline.split.reading import read_file

pytest.importorskip("pyarrow")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "models-and-data.md"
ROWS = {
    "rows.parquet": 2,
    "rows.jsonl": 2,
    "rows.npz": 4,
    "pages": 2,
    "saved": 2,
    "rows.py:make": 4,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_form_of_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets run one after the other, and what they write is read."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, names)
    assert {source: read_file(source, "source").n for source in ROWS} == ROWS


@pytest.mark.parametrize("block", blocks("toml"))
def test_every_table_is_a_configuration(block: str) -> None:
    """No key is unknown."""
    asked = {"model": {"source": "m.onnx"}, "require": [{"max_drop": 0.01}], **tomllib.loads(block)}
    config.configuration_from(asked, registry.all_names())
