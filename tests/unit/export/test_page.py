"""docs/serving-export.md explains every kind and every setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jettison import registry

PAGE = Path(__file__).resolve().parents[3] / "docs" / "serving-export.md"
HEADINGS = {"triton": "Triton", "kserve": "KServe", "docker": "Docker", "ray": "Ray Serve"}


@pytest.mark.parametrize("kind", sorted(HEADINGS))
def test_every_setting_has_a_row(kind: str) -> None:
    """The table of a kind names its settings, and no other."""
    text = PAGE.read_text()
    section = text.partition(f"## {HEADINGS[kind]}\n")[2].partition("\n## ")[0]
    rows = section.partition("| setting |")[2]
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", rows, re.M)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(registry.get("exports", kind).settings)


def test_tensorflow_serving_is_left_out_with_its_reason() -> None:
    """The page says why there is no such kind."""
    assert "## TensorFlow Serving is left out" in PAGE.read_text()
    assert not {name for name in registry.names("exports") if "tensorflow" in name}
