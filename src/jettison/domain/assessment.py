"""`Assessment`: what a model does to each group, before and after it was made smaller.

It reports absolute figures. What is certified is the change that compression causes, elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jettison.domain.measurement import OVERALL, Estimate

RatioVerdict = Literal["below", "not below", "undecided"]
LimitVerdict = Literal["held", "broken", "undecided"]
BiasKind = Literal["historical", "representation", "measurement", "aggregation"]
AssessedTask = Literal["binary", "multi-class", "regression"]


@dataclass(frozen=True, slots=True)
class GroupGap:
    """The largest difference of a figure between the groups of a column.

    Attributes:
        metric: `demographic_parity_difference`, `equalised_odds_difference`, ...
        column: `sex`, or `sex & race`.
        value, low, high: with a 95 % interval that allows for the pair having been picked;
            `None` where fewer than two groups have enough rows.
        highest, lowest: the two groups.
        n: rows of both.
        unit: of the figure.
        limit: largest value allowed, if one was asked for; `verdict` is about it.
    """

    metric: str
    column: str
    value: float | None
    low: float | None
    high: float | None
    highest: str
    lowest: str
    n: int
    unit: str = "fraction"
    limit: float | None = None
    verdict: LimitVerdict | None = None


@dataclass(frozen=True, slots=True)
class ImpactRatio:
    """The lowest rate of the favourable answer over the highest, with one of three verdicts.

    Attributes:
        left_out: groups of the column with too few rows to be compared; the verdict does not hold
            for them.
    """

    column: str
    value: float
    low: float
    high: float
    lowest: str
    highest: str
    n: int
    threshold: float
    verdict: RatioVerdict
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows of a group with about the same score: mean score, and how many were positive."""

    group: str
    score: float
    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class BaseRateConflict:
    """Why equal PPV, TPR and FPR can't be had together here (Chouldechova 2017).

    Attributes:
        column, higher, lower: the two groups whose base rates differ most.
        base_rates, observed_fpr, forced_fpr: of both, in this order; `forced_fpr` is what equal
            PPV and TPR, at the levels `ppv` and `tpr` of all rows, would leave.
        shown: whether the difference in base rates is beyond chance.
        sentence: all that in words.
    """

    column: str
    higher: str
    lower: str
    base_rates: tuple[float, float]
    shown: bool
    ppv: float
    tpr: float
    forced_fpr: tuple[float, float]
    observed_fpr: tuple[float, float]
    sentence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A group that was shown to be treated worse than everyone else.

    Attributes:
        sentence: in one sentence, with numbers.
        metric, group: what and for whom.
        value, rest: of the group, and of all other rows.
        at_least: the smallest difference that the rows leave possible, all findings together at
            95 %; findings are sorted by it.
        n: rows of the group behind it.
        harm: whether the difference is to the group's disadvantage.
    """

    sentence: str
    metric: str
    group: str
    value: float
    rest: float
    at_least: float
    n: int
    harm: bool


@dataclass(frozen=True, slots=True)
class Question:
    """Something in the data that a person should ask about; it is no verdict."""

    kind: BiasKind
    sentence: str
    column: str
    group: str = ""
    value: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class AssessedModel:
    """One model on the rows.

    Attributes:
        name: `original`, `shipped`, or `predictions`.
        estimates: every figure, overall and by group, with 95 % interval (one group at a time)
            and rows.
        gaps, ratios, conflicts: between the groups of each column.
        bins: reliability, of the groups that are drawn.
        findings: worst first.
    """

    name: str
    estimates: tuple[Estimate, ...]
    gaps: tuple[GroupGap, ...] = ()
    ratios: tuple[ImpactRatio, ...] = ()
    conflicts: tuple[BaseRateConflict, ...] = ()
    bins: tuple[ReliabilityBin, ...] = ()
    findings: tuple[Finding, ...] = ()

    def get(self, metric: str, group: str = OVERALL) -> Estimate | None:
        """Finds one estimate; `None` if it was not computed."""
        for estimate in self.estimates:
            if estimate.metric == metric and estimate.group == group:
                return estimate
        return None


@dataclass(frozen=True, slots=True)
class Assessment:
    """A finished assessment, as `assessment.json`, the terminal and the page show it.

    Attributes:
        subject: what was assessed, as the user named it.
        rows_from: which rows, in words.
        task: what kind of answers.
        positive: the class whose choice is the selection; empty for a regression.
        adverse: being given that class is to a person's disadvantage.
        labelled: whether right answers were there.
        n: rows that count.
        groups: column -> group -> rows.
        smallest: rows below which a group is listed and not compared.
        answer: the worst finding, or that there is none, in one sentence.
        models: the original, and what ships where there is one; the last one leads the report.
        changes: paired change from the first to the second, by group.
        questions: about the data.
        notes: what a person should know about rows and figures.
        command, created: to repeat it.
    """

    subject: str
    rows_from: str
    task: AssessedTask
    positive: str
    adverse: bool
    labelled: bool
    n: int
    groups: Mapping[str, Mapping[str, int]]
    smallest: int
    answer: str
    models: tuple[AssessedModel, ...]
    changes: tuple[Estimate, ...] = ()
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    created: str = ""
    format_version: int = field(default=1)

    @property
    def leading(self) -> AssessedModel:
        """The model that the report is about: what ships, or the only one."""
        return self.models[-1]

    @property
    def broken(self) -> bool:
        """Whether a limit that was asked for is broken by the leading model."""
        return any(gap.verdict == "broken" for gap in self.leading.gaps)

    @property
    def undecided(self) -> bool:
        """Whether a limit that was asked for could not be decided for the leading model."""
        return any(gap.verdict == "undecided" for gap in self.leading.gaps)
