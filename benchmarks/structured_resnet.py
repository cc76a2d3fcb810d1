"""Stores what `structured_resnet_h100` found as one table, beside the published rows.

    python -m benchmarks.structured_resnet FOLDER ...   # with structured_resnet.json

Runs nothing: accuracies were measured on the accelerator; intervals are Wilson's at 95 % over the
test images. A stored row stays where no folder has its method anew.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.results_file import RESULTS, Row, stored_rows
from jettison.statistics.intervals import wilson_interval

TESTS = {"jpeg": ("accuracy, JPEG", 10_000), "lossless": ("accuracy, lossless", 1_000)}
PUBLISHED = (
    ("original", 93.53, "1x"),
    ("DepGraph without sparse training", 93.46, "2.11x fewer multiply-accumulates"),
    ("DepGraph with sparse training", 93.77, "2.13x fewer multiply-accumulates"),
    ("ResRep", 93.71, "2.12x fewer multiply-accumulates"),
)
"""ResNet-56 on the 10,000 clean test images of CIFAR-10, trained on all 50,000 clean ones."""


def rows_of(found: Mapping[str, Any]) -> Iterator[Row]:
    """The numbers of one job."""
    network, method = found["network"], found["title"].partition(" ")[2].removesuffix(" seed 0")
    for key, (metric, n) in TESTS.items():
        moments = (
            [("", "")]
            if not found["epochs"]
            else [("_before_training", " before training"), ("", "")]
        )
        for suffix, words in moments:
            value = float(found[f"{key}{suffix}"])
            span = wilson_interval(round(value * n / 100), n)
            note = _note(found) if key == "jpeg" and not words else ""
            yield Row(
                network,
                method,
                metric + words,
                value,
                100 * span.low,
                100 * span.high,
                "%",
                n,
                note,
            )


def _note(found: Mapping[str, Any]) -> str:
    told = [
        f"{found['macs_dense'] / found['macs']:.2f}x fewer multiply-accumulates",
        f"{found['parameters']:,} parameters",
    ]
    if found["epochs"]:
        told.append(f"{found['epochs_done']} of {found['epochs']} epochs done")
    return ", ".join(told)


def main() -> None:
    """Reads, joins and writes."""
    read = [
        json.loads((Path(word) / "structured_resnet.json").read_text()) for word in sys.argv[1:]
    ]
    if not read:
        raise SystemExit("name the folders that the runs wrote into")
    done = {r["title"]: r for stored in read for r in stored["rows"] if "failed" not in r}
    rows = [row for found in done.values() for row in rows_of(found)]
    again = {(row.model, row.method) for row in rows}
    path = RESULTS / "structured_resnet.json"
    rows = [
        r
        for r in stored_rows(path.stem)
        if (r.model, r.method) not in again and "published" not in r.model
    ] + rows
    rows += [
        Row("ResNet-56, published", method, "accuracy, clean", value, None, None, "%", 10_000, note)
        for method, value, note in PUBLISHED
    ]
    content = {
        "machine": f"one {read[-1]['device']}; rows without training: one NVIDIA H100 80GB HBM3",
        "versions": read[-1]["versions"],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "notes": [
            "Trained and fitted on 29,000 JPEG images and 1,000 lossless ones (2,048 of them for "
            "importance and refitting); the networks themselves were trained on 50,000 clean images.",
            f"Training: SGD, cosine from {read[-1]['learning_rate']}, batches of 512, labels and the "
            "original's answers alike, shifts and mirror images.",
            "Each run is one seed; a seed other than 0 is named. Training ended early where the epochs "
            "done are fewer than those asked for.",
        ],
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
