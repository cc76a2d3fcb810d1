"""CHITA: pruning as best-subset regression on Fisher rows (Benbaki et al., ICML 2023).

Pure solvers (tensors in, tensors out) and the loop over stages, which talks to a `Subject`.
Importing this package imports torch; plug-ins import it inside the methods that need it.
"""

from jettison.numerics.chita.backsolve import Backsolve, backsolve
from jettison.numerics.chita.blocks import block_path, blocks_of
from jettison.numerics.chita.budgets import Budget, LargestOverall, LargestPerLayer, PerGroup, keeps
from jettison.numerics.chita.iht import Effort, improve
from jettison.numerics.chita.problem import Problem
from jettison.numerics.chita.schedules import SCHEDULES, schedule
from jettison.numerics.chita.solver import Solution, path, solve
from jettison.numerics.chita.stages import Plan, Stage, Subject, prune

__all__ = [
    "SCHEDULES",
    "Backsolve",
    "Budget",
    "Effort",
    "LargestOverall",
    "LargestPerLayer",
    "PerGroup",
    "Plan",
    "Problem",
    "Solution",
    "Stage",
    "Subject",
    "backsolve",
    "block_path",
    "blocks_of",
    "improve",
    "keeps",
    "path",
    "prune",
    "schedule",
    "solve",
]
