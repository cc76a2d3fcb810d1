"""What two folders of NeMo Guardrails decide about requests, as the file that is certified."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jettison.assessment import nemo_worker
from jettison.domain.extension_points import Example
from jettison.domain.files import write_atomically
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, DataError, MissingDependency, UsageError
from jettison.pipeline.split.reading import read_file
from jettison.trust.other_python import ask

Kind = Literal["input", "output"]
SIDES = ("before", "after")


@dataclass(frozen=True, slots=True)
class Decided:
    """What the rails of one side decided.

    Attributes:
        blocked: for each row.
        rails: rows that each rail blocked.
    """

    blocked: tuple[bool, ...]
    rails: Mapping[str, int]


def ask_rails(
    requests: Path, folders: tuple[Path, Path], kind: Kind, python: str, out: Path
) -> tuple[Decided, Decided]:
    """Runs two folders of rails over the same requests, and writes the table for `certify-guardrail`.

    Args:
        requests: table with `request` (and `answer` for output rails); further columns are kept.
        folders: of the rails before and after the change.
        kind: which rails are asked.
        python: interpreter that has nemoguardrails; empty for this one.
        out: csv to write.

    Raises:
        DataError: for a missing column, or decisions that already stand in the table.
        UsageError: if a folder of rails is not there.
        MissingDependency: if the interpreter has no nemoguardrails.
        CandidateFailed: if the rails can't be read, or one of them failed.
    """
    table = read_file(str(requests), "requests")
    needed = ["request"] + ["answer"] * (kind == "output")
    lacking = [name for name in needed if name not in table.columns]
    standing = [f"blocked_{side}" for side in SIDES if f"blocked_{side}" in table.columns]
    if lacking or standing:
        wrong = f"lacks {', '.join(lacking)}" if lacking else f"already has {', '.join(standing)}"
        raise DataError(
            f"{requests} {wrong}; it needs {', '.join(needed)} and whatever `certify-guardrail` needs "
            "besides (`expected`, groups)"
        )
    rows = [{name: str(table.columns[name][place]) for name in needed} for place in range(table.n)]
    decided = tuple(_decided(folder, kind, rows, python) for folder in folders)
    _write(table, decided, out)
    return decided[0], decided[1]


def _decided(folder: Path, kind: Kind, rows: list[dict[str, str]], python: str) -> Decided:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name the one that holds config.yml of the rails")
    told = ask(nemo_worker, [{"rails": str(folder.absolute()), "kind": kind}, *rows], python)
    if "missing" in told:
        raise MissingDependency(
            f"the rails in {folder} can't be asked: {told['missing']}. NeMo Guardrails is installed in an "
            "environment of its own, and --python names its interpreter"
        )
    if "failed" in told:
        raise CandidateFailed(f"the rails in {folder} can't be asked: {told['failed']}")
    decisions = told["decisions"]
    by = Counter(rail for blocked, rail in decisions if blocked)
    return Decided(tuple(bool(blocked) for blocked, _ in decisions), dict(by))


def _write(table: Example, decided: tuple[Decided, ...], out: Path) -> None:
    columns: dict[str, Array | tuple[bool, ...]] = dict(table.columns)
    for side, found in zip(SIDES, decided, strict=True):
        columns[f"blocked_{side}"] = found.blocked
    text = io.StringIO()
    # Quoted throughout: a bare carriage return would end the line for whoever reads it.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for place in range(table.n):
        writer.writerow([_shown(values[place]) for values in columns.values()])
    write_atomically(out, text.getvalue())


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
