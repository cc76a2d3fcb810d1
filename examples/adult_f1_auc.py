"""A network that predicts income, made smaller, certified by F1 and by the area under the curve.

    python examples/adult_f1_auc.py ../shared/data/tabular adult-f1-run

A quarter of the rows earn over 50K, so accuracy says little about them: F1 counts their hits and
misses, and the area under the ROC curve how well the scores rank. Both need at least 200 rows of the
rarer class in each group; groups with fewer are listed as not certified. What must shrink is the
file: its size is the same on a busy machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import jettison as jt

WORDS = ["workclass", "marital-status", "occupation", "relationship"]
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
TRAINING, FITTING = 24_000, 512


def table(path: Path) -> pd.DataFrame:
    """Adult with its labels spelt one way in both files."""
    frame = pd.read_csv(path, skipinitialspace=True)
    frame["income"] = frame["income"].str.rstrip(".")
    frame[NUMBERS] = frame[NUMBERS].astype("float64")
    return frame[[*WORDS, *NUMBERS, "sex", "race", "income"]]


def main(data: Path, folder: Path) -> int:
    """Fits the network on training rows, and certifies its smaller version on the test file."""
    train, test = table(data / "adult-train.csv.gz"), table(data / "adult-test.csv.gz")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        (StandardScaler(), NUMBERS),
    )
    network = MLPClassifier((128, 64), early_stopping=True, random_state=0)
    model = make_pipeline(encode, network).fit(
        train[WORDS + NUMBERS][:TRAINING], train["income"][:TRAINING]
    )
    rows = {
        "fitting": train[:FITTING],
        "selection": train[TRAINING:],
        "certification": test,
    }
    found = jt.optimize(
        model,
        {use: {name: part[name].to_numpy() for name in part} for use, part in rows.items()},
        target="income",
        groups=["sex", "race"],
        require=[
            {"metric": "f1", "max_drop": 0.02, "max_drop_group": 0.04},
            {"metric": "auc", "max_drop": 0.01, "max_drop_group": 0.02},
        ],
        on_undecided="ship_listed",
        data_options={"inputs": [*WORDS, *NUMBERS]},
        search={
            "techniques": ["convert_sklearn", "half_precision", "int8_dynamic"],
            "runtimes": ["onnx_runtime"],
            "minimise": ["size_bytes", "latency_ms"],
            "trials": 6,
        },
        serving={"batch_sizes": [64]},
        output=str(folder / "run"),
        ledger=str(folder / "ledger"),
    )
    print(found.answer)
    for claim in found.certificate.claims:
        print(
            f"{claim.metric:4s} {claim.group:25s} n={claim.n:6,d} {claim.baseline} -> {claim.candidate} "
            f"drop at most {claim.bound} of {claim.margin:g}: {claim.verdict} [{claim.grade}]"
        )
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
