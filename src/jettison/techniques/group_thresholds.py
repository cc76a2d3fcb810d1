"""Group thresholds: each group has its own threshold of the score; the model reads the group."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.numerics.group_thresholds import RULES


class GroupThresholds:
    """Moves the scores of a classifier of two classes so that 0.5 is each group's own threshold.

    The finished model reads the group of a row when it answers, which may be forbidden where it is
    used: it is done only where the setting `use_attribute_at_inference` names the column of groups,
    which must be a column that the model reads already. Thresholds are chosen on fitting rows only.
    Settings: `rule` (`equal_selection_rates` and `reject_option` read no labels), `allowed`
    (difference of selection rates, for `reject_option`), `use_attribute_at_inference`.
    """

    name: ClassVar[str] = "group_thresholds"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing is searched: the rule is the user's choice."""
        return {
            "rule": Choices(RULES[:1], RULES[0], others=True),
            "allowed": FloatRange(0.001, 0.5, 0.02),
            "use_attribute_at_inference": Choices(("",), "", others=True),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives groups the same rates."""
        if model.task != "classification" or len(model.encoder.labels) not in (0, 2):
            return Refusal(self.name, "it is for classifiers of two classes")
        return Potential(1.0, 1.0, "a few operators more; the rates of groups come closer")

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Chooses thresholds and writes them behind the probabilities of the graph.

        Raises:
            CandidateFailed: if the attribute is not allowed or not read by the model, without
                groups, with one group only or too few rows of one, or for other outputs than
                probabilities of two classes.
        """
        import onnx

        from jettison.graphs.onnx_thresholds import with_thresholds
        from jettison.numerics.balancing import group_cells
        from jettison.numerics.group_thresholds import chosen_thresholds

        attribute = str(settings.get("use_attribute_at_inference", ""))
        read = _input_of(attribute, model, self.name)
        cells = group_cells(fitting.labels, (attribute,))
        scores = _scores(model, fitting, bench, self.name)
        labels = fitting.labels
        known = None if labels is None or labels.targets is None else labels.targets == 1
        rule = str(settings.get("rule", RULES[0]))
        made = chosen_thresholds(rule, scores, cells, known, float(settings.get("allowed", 0.02)))
        whole = onnx.load(bench.open(model))
        graph = with_thresholds(whole, model.prediction, read, made)
        saved = bench.save(graph, "onnx_file", model)
        told = ", ".join(f"{name} {value:.3f}" for name, value in made.items())
        change = Change(
            f"reads `{attribute}` when it answers: thresholds by {rule} on {fitting.rows.n:,} "
            f"fitting rows: {told}",
            operators=1,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _input_of(attribute: str, model: Model, name: str) -> str:
    """The input of the graph that holds a column of groups."""
    if not attribute:
        raise CandidateFailed(
            f"`{name}` needs the group of a row when the model answers, and that is not allowed "
            f"here; if it may be read, set `settings.{name}.use_attribute_at_inference` to the "
            "column of groups"
        )
    columns = model.encoder.settings.get("columns", [])
    named = [str(column) for column in columns] if isinstance(columns, list) else []
    names = [spec.name for spec in model.inputs]
    if len(named) == len(names) and attribute in named:
        return names[named.index(attribute)]
    if attribute in names:
        return attribute
    raise CandidateFailed(
        f"the model does not read `{attribute}` as a column of its own, so it can't look up a "
        f"threshold by it (it reads {', '.join(named or names)})"
    )


def _scores(model: Model, fitting: FittingData, bench: Workbench, name: str) -> Array:
    """Probability of the second class of each fitting row."""
    runner = bench.runner(model)
    parts = [runner.run(batch)[model.prediction] for batch in fitting.rows.batches(256)]
    answers: Array = np.concatenate(parts).astype(np.float64)
    fine = answers.ndim == 2 and answers.shape[1] == 2
    if not fine or not np.allclose(answers.sum(axis=1), 1.0, atol=1e-3) or answers.min() < -1e-6:
        raise CandidateFailed(
            f"`{name}` needs probabilities of two classes; output `{model.prediction}` has the "
            f"shape {answers.shape}" + ("" if not fine else " and its rows don't sum to 1")
        )
    second: Array = answers[:, 1]
    return second
