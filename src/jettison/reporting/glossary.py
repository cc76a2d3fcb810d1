"""The words of the report that need a sentence; shown when a word is pointed at, and at the end."""

from __future__ import annotations

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "baseline": "The untouched model on its own runtime: what everything is compared with.",
    "bundle": "The folder that ships: model, encoder, recipe, certificate, card and this report.",
    "candidate": "What a recipe makes of the model: a saved file that was loaded again and measured.",
    "certificate": (
        "Claims about quality with a limited error rate. It is a statistical statement about the "
        "sealed rows, not a proof."
    ),
    "claim": (
        "A figure that may be quoted: measured over several fresh launches of every variant, with a "
        "95 % interval."
    ),
    "ranking": (
        "A quick figure from one launch. It steers the search and is never quoted as a result."
    ),
    "gain": "The original's cost divided by the candidate's: 2× means half the cost.",
    "predicted": (
        "An upper bound, worked out from the profile before anything was tried: the most that a "
        "technique could gain here."
    ),
    "cost to get": "The time that making and measuring one candidate took in the search.",
    "roofline": (
        "The most that this machine allows a layer: its peak rate of products, or what its reading "
        "rate feeds, whichever is less. Both were measured here."
    ),
    "arithmetic intensity": (
        "Multiply-accumulates for each byte that a layer moves. Few of them wait for bytes, many "
        "keep the arithmetic units busy."
    ),
    "noise floor": (
        "The difference that two copies of the same model show on this machine. Smaller differences "
        "mean nothing."
    ),
    "bound": (
        "However fast the model itself gets, encoding and decoding stay: the whole can't get faster "
        "than this."
    ),
    "sensitivity": (
        "Quality lost when one layer alone is changed: which layers to spare. Losses of several "
        "layers don't simply add up."
    ),
    "sealed rows": "Rows that the search never saw; they are opened once, to certify.",
    "selection rows": (
        "Rows that the search looked at as often as it liked; their figures are no evidence."
    ),
    "at worst": (
        "The largest drop that the rows can't exclude at the confidence asked (the certifiable "
        "tolerance). It must stay within the margin."
    ),
    "margin": "The largest drop in quality that was allowed, fixed before the seal was opened.",
    "gates": "The model may not ship unless the claim about this group is held.",
    "rows needed": "About how many sealed rows would decide the claim.",
    "held": "The rows show that the drop is smaller than the margin.",
    "broken": "The rows show that the drop is larger than the margin.",
    "undecided": "The rows are too few to say either.",
    "grade": (
        "A: the error rate holds at any number of rows. B: it holds for large numbers. C: reported "
        "only, can't gate."
    ),
    "Pareto front": "The candidates that no other candidate beats in everything at once.",
    "points": "Percentage points: from 87.3 % to 87.1 % is a change of −0.2 points.",
    "serving profile": "The batch sizes and threads that the model will be served with.",
    "ledger": "The append-only file that records each look at sealed rows before it happens.",
    "MACs": "Multiply-accumulate operations for one example.",
}
"""Word -> one sentence."""

FAIRNESS: Mapping[str, str] = {
    "selection rate": "The share of rows that are given the positive class, right or wrong.",
    "base rate": "The share of rows whose right answer is the positive class.",
    "TPR": "True positive rate: of the rows that are positive, the share that is called so.",
    "FPR": "False positive rate: of the rows that are not positive, the share that is called so.",
    "PPV": "Positive predictive value: of the rows that are called positive, the share that is.",
    "error rate": "The share of answers that are wrong.",
    "calibration error": (
        "How far scores are from the share that really happens, root mean square over bins of equal "
        "numbers of rows, without the part that chance alone adds."
    ),
    "Brier score": "The mean squared distance of scores from what happened; 0 is perfect.",
    "demographic parity difference": "The largest difference in selection rates between groups.",
    "equal opportunity difference": "The largest difference in true positive rates between groups.",
    "equalised odds difference": (
        "The larger of the differences in true and in false positive rates between groups."
    ),
    "disparate-impact ratio": (
        "The lowest rate of the favourable answer over the highest. Below 0.8 it counts as evidence "
        "of adverse impact in US employment practice (four-fifths rule), which ignores chance: here "
        "the verdict needs the whole interval."
    ),
}
"""The words of an assessment."""
