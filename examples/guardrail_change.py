"""A word filter made stricter, certified as a guardrail on templated sentences with identity terms.

    python examples/guardrail_change.py [folder with bias-madlibs-77k.csv.gz]

The filter is alt-profanity-check (`pip install alt-profanity-check`); the change is its threshold, from 0.5
to 0.6: fewer false blocks, more misses. Offensive words by design: the sentences are not printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
from profanity_check import predict_prob

from jettison.assessment.guard_judging import Margins, certify_guardrail

ROWS = 12_000


def main(data: Path) -> int:
    """Asks the filter at both thresholds, and certifies the change; 0 if it is held."""
    table = pd.read_csv(data / "bias-madlibs-77k.csv.gz").drop_duplicates("Text")
    table = table.sample(ROWS, random_state=0)
    chance = predict_prob(table["Text"].tolist())
    requests = pd.DataFrame(
        {
            "request": table["Text"],
            "expected": table["Label"].map({"BAD": "block", "NOT_BAD": "allow"}),
            "blocked_before": (chance > 0.5).astype(int),
            "blocked_after": (chance > 0.6).astype(int),
        }
    )
    requests = requests[~requests["request"].str.split().str.join(" ").duplicated()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests.to_csv(folder / "requests.csv", index=False)
        margins = Margins({"missed_blocks": 0.02, "false_blocks": 0.02})
        # A ledger of its own, so that the example can be repeated; yours should be the one you have.
        ledger = str(folder / "ledger")
        found = certify_guardrail(folder / "requests.csv", (), margins, folder / "out", ledger)
    for claim in found.claims:
        print(f"{claim.metric}: {claim.baseline:.3f} became {claim.candidate:.3f}, {claim.verdict}")
    print(f"the change is {found.verdict}")
    return 0 if found.verdict == "held" else 3


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("JETTISON_DATA", "../shared/data")
    sys.exit(main(Path(folder) / "text"))
