"""A random forest that predicts income, made cheap to serve, certified by sex and race.

    python examples/adult_forest.py [folder with adult-train.csv.gz and adult-test.csv.gz]

The forest is fitted on the training file; the test file gives the rows for search and certificate.
It takes a while: the original answers a row in about 20 ms, and each of 16,281 rows is asked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import jettison as jt

NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "marital-status", "occupation", "relationship", "sex", "race"]


def main(data: Path, output: str) -> int:
    """Fits, optimises, and prints the answer; returns the exit code of the run."""
    train = pd.read_csv(data / "adult-train.csv.gz")
    test = pd.read_csv(data / "adult-test.csv.gz")

    for frame in (train, test):
        frame["income"] = frame["income"].str.strip().str.rstrip(".")
        frame[NUMBERS] = frame[NUMBERS].astype("float32")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), WORDS), remainder="passthrough"
    )
    forest = RandomForestClassifier(n_estimators=200, min_samples_leaf=3, random_state=0)
    pipeline = make_pipeline(encode, forest).fit(train[WORDS + NUMBERS], train["income"])
    result = jt.optimize(
        pipeline,
        test,
        target="income",
        groups=["sex", "race"],
        max_drop=0.01,
        max_drop_group=0.03,
        data_options={"inputs": WORDS + NUMBERS},
        search={"trials": 8},
        output=output,
    )
    print(result.answer)
    for claim in result.certificate.claims:
        print(f"{claim.group:30s} n={claim.n:6d} drop <= {claim.bound} {claim.verdict}")
    return result.exit_code


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("JETTISON_DATA", "../shared/data")
    sys.exit(main(Path(folder) / "tabular", "jettison-run-adult"))
