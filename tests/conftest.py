"""What all tests share: the data folder, and quiet, single-threaded libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two shared cores: how long an example takes says nothing about the code.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data sets; a loud skip where it is absent."""
    folder = Path(os.environ.get("JETTISON_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not (folder / "MANIFEST.tsv").exists():
        pytest.skip(
            f"NO SHARED DATA at {folder}: set JETTISON_DATA to the folder with MANIFEST.tsv; "
            "the tests on real models and data did not run"
        )
    return folder
