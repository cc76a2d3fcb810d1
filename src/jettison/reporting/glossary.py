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
