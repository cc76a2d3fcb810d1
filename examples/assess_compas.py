"""COMPAS scores by race and sex, after ProPublica's usual filter: nothing is fitted or loaded.

    python examples/assess_compas.py [folder with compas-scores-two-years.csv.gz]

Being called a risk is to a person's disadvantage, so false positives are the harm that leads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd

from jettison.assessment.figures import Wishes
from jettison.assessment.predictions_file import PredictionColumns
from jettison.assessment.subjects import Request, assess_predictions
from jettison.assessment.writing import write_assessment
from jettison.domain.configuration import DataSection


def main(data: Path, output: Path) -> int:
    """Filters, assesses, prints the worst finding, and says where the page is."""
    rows = pd.read_csv(data / "compas-scores-two-years.csv.gz")
    rows = rows[
        rows["days_b_screening_arrest"].between(-30, 30)
        & (rows["is_recid"] != -1)
        & (rows["c_charge_degree"] != "O")
        & (rows["score_text"] != "N/A")
    ]
    table = rows[["race", "sex", "age", "priors_count", "two_year_recid"]].copy()
    table["high_risk"] = (rows["decile_score"] >= 5).astype(int)
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / "predictions.csv", index=False)

    columns = PredictionColumns(
        DataSection(target="two_year_recid", groups=("race", "sex")),
        decision="high_risk",
        positive="1",
        crossings=(("race", "sex"),),
    )
    record = assess_predictions(
        output / "predictions.csv", columns, Request(Wishes(adverse=True), positive="1")
    )
    print(record.answer)
    for conflict in record.leading.conflicts:
        print(conflict.sentence)
    for path in write_assessment(record, output):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("JETTISON_DATA", "../shared/data")
    sys.exit(main(Path(folder) / "tabular", Path("jettison-assessment-compas")))
