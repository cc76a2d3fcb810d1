"""A model of income on Adult, made fairer by reweighing and smaller by ONNX, certified by rates.

    python examples/fair_adult.py ../shared/data/tabular fair-run

The refit learns from the rows that the model was trained on. The certificate then bounds, for women
and for men, the fall of the true positive rate and the rise of the false positive rate.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import jettison as jt

WORDS = ["workclass", "marital-status", "occupation", "relationship"]
NUMBERS = ["age", "education-num", "hours-per-week"]
TRAINING, SEARCH, SEALED = 4000, 1500, 6000


def table(path: Path) -> pd.DataFrame:
    """Adult with its labels spelt one way in both files."""
    frame = pd.read_csv(path)
    frame["income"] = frame["income"].str.strip().str.rstrip(".")
    frame[NUMBERS] = frame[NUMBERS].astype("float64")
    return frame[[*WORDS, *NUMBERS, "sex", "income"]]


def main(data: Path, output: Path) -> int:
    """Fits a forest that does not read `sex`, and asks for a fairer, smaller one."""
    train, test = table(data / "adult-train.csv.gz"), table(data / "adult-test.csv.gz")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        remainder="passthrough",
    )
    forest = RandomForestClassifier(30, min_samples_leaf=5, random_state=0)
    model = make_pipeline(encode, forest).fit(
        train[WORDS + NUMBERS][:TRAINING], train["income"][:TRAINING]
    )
    rows = {
        "fitting": train[:TRAINING],
        "selection": train[TRAINING:][:SEARCH],
        "certification": test[:SEALED],
    }
    found = jt.optimize(
        model,
        {use: {name: part[name].to_numpy() for name in part} for use, part in rows.items()},
        target="income",
        groups=["sex", "sex & income"],
        max_drop=0.03,
        max_drop_group=0.1,
        data_options={"inputs": [*WORDS, *NUMBERS], "fitting_rows": TRAINING},
        search={"techniques": ["reweighing", "convert_sklearn"], "trials": 4},
        serving={"batch_sizes": [64]},
        output=str(output),
        ledger=str(output / "ledger"),
    )
    print(found.answer)
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
