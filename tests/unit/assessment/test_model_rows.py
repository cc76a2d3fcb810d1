"""Rows of a file are read for an assessment as the run read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jettison.assessment.model_rows import encode_file
from jettison.domain.configuration import DataSection
from jettison.pipeline.split import load_data
from jettison.trust.row_sets import unpack
from tests.unit.pipeline.split.split_tables import model


def test_a_folder_of_bytes_is_read_as_the_run_read_it(tmp_path: Path) -> None:
    """An encoder without bytes gets numbers, and rows under the run's seal are known again."""
    r = np.random.default_rng(0)
    for number in range(80):
        file = tmp_path / "files" / ("no", "yes")[number % 2] / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(r.integers(0, 256, 16, dtype=np.uint8).tobytes())
    section = DataSection(source=str(tmp_path / "files"), inputs=("bytes",), target="label")
    network = model(width=16)
    splits = load_data(section, network, tmp_path / "run")
    assert splits.certification is not None
    sealed = next((tmp_path / "run").rglob("row_set*")).read_bytes()
    whole = encode_file(section, network, tmp_path / "whole")
    rest = encode_file(section, network, tmp_path / "rest", unpack(sealed))
    assert whole.rows.n == 80
    assert whole.rows.column("x").max() > 200
    assert rest.rows.n == 80 - splits.certification.n
