"""What a run leaves in its folder."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from jettison import config, registry, whole_run
from jettison.domain.progress import Silent
from jettison.domain.rows import Rows
from tests.unit.reporting.records import nothing_better


def test_the_command_that_repeats_a_run_means_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file beside the report leads to the same model, rows and folder, and to the same ledger."""
    monkeypatch.chdir(tmp_path)
    record = nothing_better()
    asked = dataclasses.replace(record.configuration, output="my run", ledger="ledger")
    record = dataclasses.replace(record, configuration=asked)
    Path("my run").mkdir()
    whole_run._write(record, None, Rows("", (), 0), Silent())
    *_, file = shlex.split(whole_run._command(asked))
    again = config.read_configuration(Path(file), registry.all_names())
    for found, meant in (
        (again.model.source, asked.model.source),
        (again.data.source, asked.data.source),
        (again.output, "my run"),
        (again.ledger, "ledger"),
    ):
        assert Path(found).resolve() == Path(meant).resolve()
