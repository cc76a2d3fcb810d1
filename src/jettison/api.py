"""`jettison.optimize` and `Result`: the whole path from Python in one call."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison import config, preparation, registry, whole_run
from jettison.domain.certificate import Certificate
from jettison.domain.disk_faults import explained
from jettison.domain.files import replace_folder
from jettison.domain.progress import Silent
from jettison.domain.recipe import Recipe
from jettison.domain.run import RunRecord, Trial
from jettison.errors import UsageError


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found.

    Attributes:
        record: everything, as the report shows it.
        folder: of the run.
    """

    record: RunRecord
    folder: Path

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        return self.record.answer

    @property
    def best(self) -> Recipe | None:
        """The recipe of the bundle, certified or not (`exit_code` tells); `None` where there is none."""
        trial = self.record.trial_of(self.record.shipped)
        return trial.recipe if trial is not None else None

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in everything."""
        return tuple(t for t in self.record.trials if t.recipe.digest in self.record.front)

    @property
    def certificate(self) -> Certificate:
        """Always present; says why when the result is not certified."""
        return self.record.certificate

    @property
    def exit_code(self) -> int:
        """0 improved, 3 nothing better, 4 undecided."""
        return self.record.exit_code

    def report(self, path: str | Path) -> Path:
        """Copies the HTML report.

        Raises:
            UsageError: if the file can't be written.
        """
        with explained("the copy of the report", Path(path)):
            return Path(shutil.copyfile(self.folder / "report.html", path))

    def save(self, folder: str | Path) -> Path:
        """Copies the bundle.

        Raises:
            UsageError: if nothing ships, the folder exists, or it can't be written.
        """
        release, final = self.folder / "release", Path(folder)
        if not self.record.shipped or not release.exists():
            raise UsageError(f"there is no bundle to save: {self.record.answer}")
        if final.exists():
            raise UsageError(f"{final} exists already; choose another folder")
        temporary = final.with_name(f".{final.name}.part")
        with explained("the copy of the bundle", final):
            try:
                shutil.copytree(release, temporary)
                replace_folder(temporary, final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return final


def optimize(
    model: Any,
    data: Any = None,
    *,
    target: str = "",
    groups: Sequence[str] = (),
    max_drop: float = 0.01,
    max_drop_group: float | None = None,
    **sections: Any,
) -> Result:
    """Finds, measures, certifies and ships the best version of a model.

    Args:
        model: path of an ONNX file, a Hugging Face folder, a skops or a .pt2 file, a function that
            gives a PyTorch module (`net.py:make`), a live scikit-learn estimator, a live
            `torch.export.ExportedProgram`, or a live PyTorch module (then
            `model_options={"inputs": ["image: float32[batch, 3, 32, 32]"]}`).
        data: path of a parquet, csv, jsonl, arrow or npz file, of a folder of files or of a saved
            dataset, a function that gives rows (`rows.py:make`), or rows (a dict of arrays, a
            DataFrame, an Arrow table, dictionaries one a row).
        target: column with the right answers; without it quality is agreement with the original.
        groups: columns whose values are groups that must hold too.
        max_drop: largest absolute drop allowed overall.
        max_drop_group: in a group; 3 x `max_drop` by default.
        **sections: further tables of jettison.toml: `search={"trials": 20}`,
            `serving={"batch_sizes": [1, 32]}`, `image={"mean": [0.5], "std": [0.5]}`,
            `require=[...]`, `output="run"`, `model_options={"weights": ...}`,
            `certify=False` (keeps the seal closed), `progress=...`.

    Raises:
        UsageError: for anything that can't be carried out as asked; says what to change.
    """
    certify = bool(sections.pop("certify", True))
    progress = sections.pop("progress", None) or Silent()
    on_disk = isinstance(model, str | Path)
    rows_on_disk = data is None or isinstance(data, str | Path)
    asked = _asked(
        str(model) if on_disk else "",
        str(data or "") if rows_on_disk else "",
        {"target": target, "groups": list(groups), **sections.pop("data_options", {})},
        sections,
    )
    if "require" not in asked:
        requirement: dict[str, Any] = {"max_drop": max_drop}
        if max_drop_group is not None:
            requirement["max_drop_group"] = max_drop_group
        asked["require"] = [requirement]
    known = registry.all_names()
    configuration = config.configuration_from(asked, known)
    folder = Path(configuration.output)
    with preparation.run_folder(folder):
        prepared = preparation.prepare(
            configuration,
            progress,
            live=None if on_disk else model,
            live_data=None if rows_on_disk else data,
        )
        record = whole_run.run(prepared, progress, certify=certify)
    return Result(record, folder.resolve())


def _asked(
    model: str, data: str, columns: Mapping[str, Any], sections: Mapping[str, Any]
) -> dict[str, Any]:
    asked = dict(sections)
    asked["model"] = {"source": model or "live object", **asked.pop("model_options", {})}
    asked["data"] = {"source": data, **columns}
    return asked
