"""The door for other packages: one file, one line, and jettison itself is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jettison.domain.record import to_json
from tests.contracts.conftest import Subject

PACKAGE = Path(__file__).resolve().parents[1] / "outside_plugin"

CHECK = """
import sys
from pathlib import Path
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.record import from_json
from jettison.domain.splits import FittingData
from jettison.testing import contracts
folder = Path(sys.argv[1])
answer = contracts.check_technique(
    "round_weights",
    from_json(Model, (folder / "model.json").read_text()),
    from_json(FittingData, (folder / "fitting.json").read_text()),
    folder / "work",
    profile=from_json(Profile, (folder / "profile.json").read_text()),
)
print(answer.changes[0].what)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the outside package is installed, as pip installs it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(folder), str(PACKAGE)],
        check=True,
        capture_output=True,
        text=True,
    )
    return folder


def run(site: Path, *words: str) -> str:
    """Runs a Python with the outside package beside ours."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_is_listed_with_its_package(site: Path) -> None:
    """`jettison list techniques` shows it beside ours, with the package that brings it."""
    shown = run(site, "-m", "jettison", "list", "techniques")
    assert "round_weights" in shown
    assert "outside" in shown


def test_it_passes_the_contract(site: Path, convolutional: Subject, tmp_path: Path) -> None:
    """The suite that ships with jettison runs it in a worker, and finds nothing wrong."""
    for name, record in (
        ("model", convolutional.model),
        ("fitting", convolutional.fitting),
        ("profile", convolutional.profile),
    ):
        (tmp_path / f"{name}.json").write_text(to_json(record))
    (tmp_path / "work").mkdir()
    assert "rounded" in run(site, "-c", CHECK, str(tmp_path))


def test_a_broken_plugin_is_caught(convolutional: Subject, tmp_path: Path) -> None:
    """The suite is no rubber stamp: a technique that needs what the model lacks is refused."""
    from jettison.testing import contracts

    with pytest.raises(AssertionError, match="lacks"):
        contracts.check_technique(
            "export_onnx", convolutional.model, convolutional.fitting, tmp_path, settings={}
        )
