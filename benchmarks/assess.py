"""Four public data sets assessed by group, with simple models fitted here or shipped by a library.

What to show was fixed beforehand: Adult by sex, race and their crossing; COMPAS after ProPublica's
filter, by its own scores and by a logistic regression; German credit on 300 held-out rows (too few:
the honest answer is «undecided»); the identity madlibs under alt-profanity-check, where the report
must lead with one identity term although the whole looks fine.

Run `python -m benchmarks.assess` for all, or name some of them; pages go to `.bench/assess/`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.results_file import Row, write
from jettison.assessment.assessing import Told, assess
from jettison.assessment.data_checks import questions_about
from jettison.assessment.figures import Wishes
from jettison.assessment.predictions_file import PredictionColumns, read_predictions
from jettison.assessment.writing import write_assessment
from jettison.domain.assessment import Assessment
from jettison.domain.configuration import DataSection
from jettison.pipeline.split.reading import read_object

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
PAGES = Path(".bench/assess")
GAPS_STORED = (
    "equalised_odds_difference",
    "demographic_parity_difference",
    "error_rate_difference",
)


def encoded(words: list[str], numbers: list[str], estimator: Any) -> Any:
    """A pipeline from raw columns."""
    return make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
            (StandardScaler(), numbers),
        ),
        estimator,
    )


def assessed(
    title: str, frame: pd.DataFrame, columns: Mapping[str, Any], *, adverse: bool, positive: str
) -> Assessment:
    """Assesses the columns `score`, `decision` and `target` of a table."""
    section = DataSection(target="target", groups=columns["groups"])
    asked = PredictionColumns(
        section,
        "score" if "score" in frame else "",
        "decision",
        positive,
        crossings=columns.get("crossings", ()),
    )
    table = read_object(frame.reset_index(drop=True), "rows")
    people, answers = read_predictions(table, asked, title)
    apart = {"score", "decision", "target", *columns["groups"]}
    inputs = {name: values for name, values in table.columns.items() if name not in apart}
    questions = questions_about(people, inputs, {}, answers)
    told = Told(title, f"{people.n:,} rows", (), questions, f"python -m benchmarks.assess {title}")
    record = assess(people, (answers,), Wishes(adverse=adverse), told)
    for path in write_assessment(record, PAGES / title.split(",")[0].replace(" ", "-")):
        print(f"wrote {path}")
    print(f"{title}: {record.answer}")
    return record


def adult() -> list[Assessment]:
    numbers = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    words = ["workclass", "marital-status", "occupation", "relationship", "sex", "race"]
    train, test = (
        pd.read_csv(DATA / "tabular" / f"adult-{part}.csv.gz", skipinitialspace=True)
        for part in ("train", "test")
    )
    for part in (train, test):
        part["income"] = part["income"].str.rstrip(".")
    made = []
    for name, estimator in (
        ("adult-logistic", LogisticRegression(max_iter=1000)),
        ("adult-boosted", HistGradientBoostingClassifier(random_state=0)),
    ):
        model = encoded(words, numbers, estimator).fit(train[words + numbers], train["income"])
        frame = test[words + numbers].copy()
        frame["score"] = model.predict_proba(test[words + numbers])[:, 1]
        frame["decision"] = model.predict(test[words + numbers])
        frame["target"] = test["income"]
        groups = {"groups": ("sex", "race"), "crossings": (("sex", "race"),)}
        made.append(assessed(name, frame, groups, adverse=False, positive=">50K"))
    return made


def compas() -> list[Assessment]:
    rows = pd.read_csv(DATA / "tabular/compas-scores-two-years.csv.gz")
    days = rows["days_b_screening_arrest"]
    rows = rows[
        days.between(-30, 30)
        & (rows["is_recid"] != -1)
        & (rows["c_charge_degree"] != "O")
        & (rows["score_text"] != "N/A")
    ].reset_index(drop=True)
    words, numbers = ["c_charge_degree"], ["age", "priors_count", "juv_fel_count"]
    shown = rows[[*words, *numbers, "sex", "race"]].copy()
    shown["target"] = rows["two_year_recid"]
    groups = {"groups": ("race", "sex"), "crossings": (("race", "sex"),)}
    own = shown.copy()
    own["decision"] = (rows["decile_score"] >= 5).astype(int)
    made = [assessed("compas-decile", own, groups, adverse=True, positive="1")]
    train, test = train_test_split(np.arange(len(rows)), test_size=0.5, random_state=0)
    x, y = rows[words + numbers], rows["two_year_recid"]
    model = encoded(words, numbers, LogisticRegression(max_iter=1000)).fit(
        x.iloc[train], y.iloc[train]
    )
    held = shown.iloc[test].copy()
    held["score"] = model.predict_proba(x.iloc[test])[:, 1]
    held["decision"] = model.predict(x.iloc[test])
    made.append(assessed("compas-logistic", held, groups, adverse=True, positive="1"))
    return made


def german() -> list[Assessment]:
    rows = pd.read_csv(DATA / "tabular/german-credit.csv.gz")
    # Codebook: A92 and A95 are women; the column holds sex and marital status in one.
    sex = np.where(rows.pop("personal_status").isin(["A92", "A95"]), "female", "male")
    target = np.where(rows.pop("credit") == 1, "good", "bad")
    words = [c for c in rows if not pd.api.types.is_numeric_dtype(rows[c])]
    numbers = [c for c in rows if c not in words]
    train, test = train_test_split(
        np.arange(len(rows)), test_size=300, random_state=0, stratify=target
    )
    model = encoded(words, numbers, LogisticRegression(max_iter=1000)).fit(
        rows.iloc[train], target[train]
    )
    held = rows.iloc[test].copy()
    held["sex"], held["target"] = sex[test], target[test]
    held["score"] = model.predict_proba(rows.iloc[test])[:, list(model.classes_).index("good")]
    held["decision"] = model.predict(rows.iloc[test])
    return [assessed("german-credit", held, {"groups": ("sex",)}, adverse=False, positive="good")]


def madlibs() -> list[Assessment]:
    from profanity_check import predict_prob

    rows = pd.read_csv(DATA / "text/bias-madlibs-77k.csv.gz")
    rows = rows[rows["Template"] == "name_adj"].reset_index(drop=True)
    # «NAME is a ADJECTIVE TERM»: the identity term is what follows the adjective.
    term = rows["Text"].str.extract(r"^\S+ is an? \S+ (.+)$")[0]
    frame = pd.DataFrame({"term": term, "target": rows["Label"]})
    frame["score"] = predict_prob(rows["Text"].tolist())
    frame["decision"] = np.where(frame["score"] >= 0.5, "BAD", "NOT_BAD")
    return [assessed("madlibs", frame, {"groups": ("term",)}, adverse=True, positive="BAD")]


SETS: Mapping[str, Callable[[], list[Assessment]]] = {
    "adult": adult,
    "compas": compas,
    "german": german,
    "madlibs": madlibs,
}


def stored(record: Assessment) -> list[Row]:
    """What is quoted: the answer, the leading finding, ratios, and the largest differences."""
    model, told = record.leading, record.subject
    overall = model.get("error_rate")
    rows = [Row(told, "assess", "answer", record.answer, None, None, "", record.n)]
    if overall is not None:
        ends = (overall.value, overall.low, overall.high)
        rows.append(Row(told, "assess", "error_rate", *ends, "fraction", overall.n))
    for place, finding in enumerate(model.findings[:5]):
        note = f"{finding.group}; all other rows {finding.rest:.4f}; beyond chance {finding.harm=}"
        own = model.get(finding.metric, finding.group)
        ends = (finding.value, *((own.low, own.high) if own is not None else (None, None)))
        name = f"finding {place + 1}: {finding.metric}"
        rows.append(Row(told, "assess", name, *ends, "fraction", finding.n, note))
    for ratio in model.ratios:
        note = f"{ratio.verdict} {ratio.threshold:g}; {ratio.lowest} over {ratio.highest}"
        ends = (ratio.value, ratio.low, ratio.high)
        name = f"disparate-impact ratio by {ratio.column}"
        rows.append(Row(told, "assess", name, *ends, "ratio", ratio.n, note))
    for gap in model.gaps:
        if gap.metric in GAPS_STORED:
            note = f"{gap.highest} and {gap.lowest}"
            ends = (gap.value, gap.low, gap.high)
            name = f"{gap.metric} by {gap.column}"
            rows.append(Row(told, "assess", name, *ends, "fraction", gap.n, note))
    for found in model.conflicts:
        forced = found.forced_fpr[0] - found.forced_fpr[1]
        name = f"forced FPR difference by {found.column}"
        rows.append(
            Row(told, "assess", name, forced, None, None, "fraction", record.n, found.sentence)
        )
    return rows


def main() -> None:
    chosen = sys.argv[1:] or list(SETS)
    rows = [row for name in chosen for record in SETS[name]() for row in stored(record)]
    if len(chosen) == len(SETS):
        notes = [
            "Intervals of differences and ratios allow for the pair having been picked.",
            "Intervals of findings are each group's own 95 %; the finding itself holds for all "
            "comparisons of its table together.",
        ]
        write("assess", rows, notes)


if __name__ == "__main__":
    main()
