"""How the answers of a shadow compare with those that callers got."""

from __future__ import annotations

from collections.abc import Iterator

from jettison import registry
from jettison.domain.extension_points import Evidence, QualityMetric
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.serving.monitoring.readings import Reading
from jettison.serving.monitoring.scoring import UNDEFINED

RESULTS = ("answered", "dropped", "failed", "not comparable")


class Comparison:
    """Counts, and means of every metric that compares two models without labels."""

    def __init__(self, title: str, model: Model) -> None:
        """Compares nothing yet.

        Args:
            title: of the shadow.
            model: that is the shadow; its task and class names pick and feed the metrics.
        """
        self._title = title
        self._model = model
        self._counts = dict.fromkeys(RESULTS, 0)
        self._metrics: list[QualityMetric] = [
            metric
            for metric in (registry.get("metrics", name) for name in registry.names("metrics"))
            if metric.against_reference and not metric.needs_targets and model.task in metric.tasks
        ]
        self._sums = {metric.name: 0.0 for metric in self._metrics}
        self._rows = 0

    def count(self, result: str) -> None:
        """One request of the shadow's share came to this; one of `RESULTS`."""
        self._counts[result] += 1

    def take(self, answer: Array, other: Array) -> None:
        """Compares the answers to one request.

        Args:
            answer: that the caller got, rows first.
            other: of the shadow.
        """
        name = self._model.prediction
        evidence = Evidence(None, {name: answer}, {name: other}, name, self._model.encoder.labels)
        try:
            if answer.shape != other.shape:
                raise DataError(f"the shadow answers in shape {other.shape}, not {answer.shape}")
            scored = {m.name: float(m.score(evidence).contributions.sum()) for m in self._metrics}
        except UNDEFINED:
            self._counts["not comparable"] += 1
            return
        self._rows += len(answer)
        for metric, total in scored.items():
            self._sums[metric] += total

    def readings(self, model: str) -> Iterator[Reading]:
        """What is known now, for the metrics of a server.

        Args:
            model: name under which it is served.
        """
        labels = {"model": model, "shadow": self._title}
        for result, count in self._counts.items():
            told = {**labels, "result": result.replace(" ", "_")}
            yield Reading("jettison_quality_shadow_requests", told, float(count))
        if not self._rows:
            return
        yield Reading("jettison_quality_shadow_bundle_rows", labels, float(self._rows))
        for metric, total in self._sums.items():
            told = {**labels, "metric": metric}
            yield Reading("jettison_quality_shadow_bundle_ratio", told, total / self._rows)
