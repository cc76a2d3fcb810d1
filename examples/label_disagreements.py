"""Certify a small MNIST network on rows without labels: a person labels only where the models differ.

Run it as `python -m examples.label_disagreements FOLDER` where FOLDER is that of the shared data.
Here the person is played by the labels of MNIST, which were left out of the certification file.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from jettison import config, preparation, registry, whole_run
from jettison.assessment.label_files import write_answers
from jettison.assessment.labelled_run import ANSWERS, TASKS, open_labelling
from jettison.domain.progress import Silent

TOML = """
model = {{ source = "{model}", task = "classification" }}
ledger = "{place}/ledger"
output = "{place}/run"
search = {{ techniques = ["int8_static"], minimise = ["size_bytes"], trials = 3 }}
[data]
fitting = "{place}/fitting.npz"
selection = "{place}/selection.npz"
certification = "{place}/certification.npz"
target = "digit"
[[require]]
metric = "accuracy"
max_drop = 0.01
"""


def main(shared: Path, place: Path) -> None:
    """Optimises, labels and certifies."""
    with np.load(shared / "vision" / "mnist.npz") as data:
        images = data["x_test"][:4000, None].astype(np.float32)
        digits = data["y_test"][:4000].astype(np.int64)
    parts = {"fitting": slice(0, 300), "selection": slice(300, 1300)}
    place.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        np.savez(place / f"{name}.npz", Input3=images[rows], digit=digits[rows])
    np.savez(place / "certification.npz", Input3=images[1300:])
    toml = place / "jettison.toml"
    model = shared / "models" / "mnist-cnn-cntk.onnx"
    toml.write_text(TOML.format(model=model, place=place))
    configuration = config.read_configuration(toml, registry.all_names())
    progress = Silent()
    record = whole_run.run(preparation.prepare(configuration, progress), progress)
    print(record.answer, record.next_step, sep="\n")

    labelling = open_labelling(place / "run", progress)
    with open(labelling.folder / TASKS, newline="") as file:
        rows = [int(line["row"]) for line in csv.DictReader(file)]
    print(f"{len(rows)} of {labelling.asked.rows.n} rows need a label")
    answers = labelling.folder / ANSWERS
    write_answers({row: str(digits[1300 + row]) for row in rows}, answers)
    print(whole_run.certify_labelled(labelling, answers, progress).answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path("label-example").resolve())
