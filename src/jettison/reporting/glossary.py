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

WORDS: Mapping[str, str] = {
    "technique": "Changes a model; `jettison list techniques` shows which there are.",
    "recipe": "Ordered techniques and a runtime, with their settings: what a search tries.",
    "runtime": "Executes a model: ONNX Runtime, OpenVINO, PyTorch, scikit-learn.",
    "runner": "A model prepared by a runtime on a device.",
    "encoder": (
        "Turns a raw row (a text, an image, the columns of a table) into the inputs of the model; it "
        "ships in the bundle."
    ),
    "conversion": "A change of format: the answers must stay, and are compared.",
    "fitting rows": (
        "Rows on which techniques find ranges, curvature or weights; most need no labels. At most "
        "512 unless `data.fitting_rows` says otherwise."
    ),
    "certification rows": "Rows that are sealed until the end, and opened once: the sealed rows.",
    "unit": (
        "Whom a row comes from (an author, a patient). Rows of one unit are not independent, and "
        "never stand on two sides of the division."
    ),
    "group": "The rows with one value of a named column, or of one context.",
    "gap": "The difference between groups.",
    "crossing": "The combinations of two or more columns of groups, declared by the user.",
    "context": (
        "A condition of use (JPEG, noise, typos): changed copies of the rows, certified as a group."
    ),
    "shortlist": "At most six candidates whose order of testing is fixed before the seal opens.",
    "finalist": "A candidate that is timed over several launches, because it may ship.",
    "launch": "One fresh start of all variants that are compared; it gives one number.",
    "look": "One opening of sealed rows, charged in the ledger before it happens.",
    "withheld": "What a failed look does not tell while further looks are declared.",
    "reveal": "Shows what failed looks withheld, and retires the rows (`jettison reveal`).",
    "top-up plan": "Looks declared beforehand of which the later ones add rows.",
    "influence values": "Each row's part in a metric that is no mean over rows (F1, AUC).",
    "churn": "The share of rows on which two models answer differently.",
    "certifiable tolerance": "The smallest margin that these rows would have certified.",
    "dominates": "Is at least as good in every measure, and better in one.",
    "probes": (
        "Rows with the answers to them that lie in a bundle, so that a copy can be checked; never "
        "sealed ones."
    ),
    "QDQ": (
        "Pairs of quantize and dequantize in an ONNX graph, which a runtime fuses into integer "
        "operators."
    ),
    "per-tensor": "One scale for the whole tensor, in place of one per output channel.",
    "unstructured": "Zeros anywhere in a layer.",
    "n:m": "Of every m neighbouring weights n stay.",
    "Fisher rows": (
        "Gradients of the loss, one for each mini-batch, from which its curvature is estimated."
    ),
    "ridge": (
        "How much a change of a weight costs beside its effect on the loss; it keeps a local model "
        "honest."
    ),
    "one stage": "All weights go at once.",
    "stages": "Weights go step by step, with the curvature found anew.",
    "recalibration": "BatchNorm statistics are computed again after weights changed.",
    "assess": (
        "To report by group what a model does; what compression changes is certified instead."
    ),
    "adverse": "Being selected is to a person's disadvantage.",
    "trait": (
        "What is true of a model. Techniques and runtimes state which they need, add and remove."
    ),
    "canary": "A second version of a served model that answers a share of the requests.",
    "shadow": "A second model that answers too, unseen, to be compared.",
    "drift": "Inputs or answers are distributed otherwise than when the model was fitted.",
}
"""Further words of the pages under docs/; `jettison explain` knows them too."""
