"""What a server tells about itself: metrics, traces, logs, and the files that a monitoring needs."""

from jettison.serving.observability.detail import Detail, Reading
from jettison.serving.observability.watch import Observability

__all__ = ["Detail", "Observability", "Reading"]
