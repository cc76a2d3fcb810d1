"""Empirical Fisher rows of a PyTorch module: the curvature that pruning looks at.

Importing this package imports torch; plug-ins import it inside the methods that need it.
"""

from jettison.numerics.curvature.collect import collect, collect_together, diagonal
from jettison.numerics.curvature.rows import FisherRows
from jettison.numerics.curvature.storage import Storage, bytes_needed
from jettison.numerics.curvature.targets import Objective, as_logits
from jettison.numerics.curvature.vector import WeightEntry, WeightVector

__all__ = [
    "FisherRows",
    "Objective",
    "Storage",
    "WeightEntry",
    "WeightVector",
    "as_logits",
    "bytes_needed",
    "collect",
    "collect_together",
    "diagonal",
]
