"""Watches that quality holds while a model is served: drift, agreement, labels that come later."""

from jettison.serving.monitoring.memory import Journal
from jettison.serving.monitoring.monitor import QualityMonitor
from jettison.serving.monitoring.outcomes import Outcome, OutcomeReceipt, parse_outcomes, together
from jettison.serving.monitoring.readings import Reading
from jettison.serving.monitoring.watched import MonitorSettings, Watched

__all__ = [
    "Journal",
    "MonitorSettings",
    "Outcome",
    "OutcomeReceipt",
    "QualityMonitor",
    "Reading",
    "Watched",
    "parse_outcomes",
    "together",
]
