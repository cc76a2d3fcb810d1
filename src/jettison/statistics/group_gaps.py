"""Combines the judgements of the whole and of each group into one verdict.

"Overall AND every group within its margin" is an intersection-union test: a model that violates
the claim violates some part, and that part's own test lets it through at most with probability
alpha. So each part is tested at full alpha, with no correction for the number of groups
(R. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jettison.statistics.verdicts import Grade, Judgement, Verdict

__all__ = ["Combined", "combine", "individually_held"]

_RANK: Mapping[Grade, int] = {"A": 0, "B": 1, "C": 2}


@dataclass(frozen=True, slots=True)
class Combined:
    """One verdict over all parts.

    Attributes:
        verdict: `held` if every part is, `broken` if any part is, else `undecided`.
        not_held: names of the parts that aren't held, in the order given.
        broken: names of the parts that are broken.
        reason: which parts and why; empty when held.
    """

    verdict: Verdict
    not_held: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    reason: str = ""

    def listable(self, overall: str = "overall") -> bool:
        """Whether `ship_listed` may ship it, with the parts in `not_held` named on the card.

        Only undecided groups can be listed: never a broken one, and never the whole.
        """
        return not self.broken and overall not in self.not_held


def combine(judgements: Mapping[str, Judgement], require_grade: Grade = "B") -> Combined:
    """Applies the intersection-union rule.

    Args:
        judgements: each gating part by name, all judged at the same alpha.
        require_grade: weakest grade that counts; a part held by a weaker one is undecided.

    Raises:
        ValueError: if there is no part: an empty claim is not a claim that holds.

    >>> held = Judgement("held", 0.0, 0.01, 0.01, "A", 500, "")
    >>> few = Judgement("undecided", 0.0, 0.05, 0.3, "A", 60, "", 300, "60 rows are too few")
    >>> combine({"overall": held, "age=old": few}).not_held
    ('age=old',)
    """
    if not judgements:
        raise ValueError("there is nothing to combine: give at least the judgement of the whole")
    not_held: list[str] = []
    broken: list[str] = []
    reasons: list[str] = []
    for name, one in judgements.items():
        weak = _RANK[one.grade] > _RANK[require_grade]
        if one.verdict == "held" and not weak:
            continue
        not_held.append(name)
        if one.verdict == "broken":
            broken.append(name)
        grade = f"its grade {one.grade} is weaker than the grade {require_grade} required"
        reasons.append(f"{name}: {grade if one.verdict == 'held' else one.reason}")
    verdict: Verdict = "broken" if broken else "undecided" if not_held else "held"
    return Combined(verdict, tuple(not_held), tuple(broken), "; ".join(reasons))


def individually_held(judgements: Mapping[str, Judgement], alpha: float = 0.05) -> tuple[str, ...]:
    """Names the parts that may be called certified one by one (Holm's step-down over the parts).

    Calling single groups certified after the joint claim failed is another claim: each name is a
    chance to be wrong, so here, and only here, alpha is divided.

    Args:
        judgements: every part that could be named, not only the good ones.
        alpha: chance that any name is wrong.

    Returns:
        Names in the order given.
    """
    tested = {
        name: one.p_value if one.p_value is not None else 1.0 for name, one in judgements.items()
    }
    passed: set[str] = set()
    for step, name in enumerate(sorted(tested, key=lambda key: (tested[key], key))):
        if tested[name] > alpha / (len(tested) - step):
            break
        passed.add(name)
    return tuple(n for n, one in judgements.items() if n in passed and one.verdict == "held")
