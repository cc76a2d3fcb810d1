"""What `jettison advise` shows: the most each technique could gain here, and what is refused."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.profile import Profile
from jettison.domain.recipe import SearchSpace
from jettison.reporting.quantities import percent, times


def advice(space: SearchSpace, profile: Profile) -> RenderableType:
    """The whole answer of `jettison advise`: nothing was run but the profile."""
    parts: list[RenderableType] = [where_time_goes(profile)]
    parts.append(advice_table(space) if space.advice else Text("No technique can be tried here."))
    if space.refused:
        parts.append(refusals(space))
    return Group(*parts)


def where_time_goes(profile: Profile) -> RenderableType:
    """The stages of an answer, and the bound that they set."""
    shares = ", ".join(f"{stage.name} {percent(stage.share)}" for stage in profile.stages)
    return Text(
        f"Time of the original: {shares}. However fast the model gets, the whole can get at most "
        f"{times(profile.bound)} faster. Differences below {percent(profile.noise_floor)} can't be "
        "told from noise on this machine."
    )


def advice_table(space: SearchSpace) -> RenderableType:
    """Each technique with the most it could gain, the most promising first."""
    table = _table("What could help here")
    table.add_column("technique", no_wrap=True)
    table.add_column("at most\nfaster", justify="right")
    table.add_column("at best\nsize", justify="right")
    table.add_column("why", ratio=1)
    ordered = sorted(space.advice, key=lambda a: (-a.potential.speedup, a.potential.size_ratio))
    for item in ordered:
        table.add_row(
            Text(item.technique),
            times(item.potential.speedup),
            times(item.potential.size_ratio),
            Text(item.potential.reason),
        )
    return table


def refusals(space: SearchSpace) -> RenderableType:
    """What is not tried, and why."""
    table = _table("Not tried here")
    table.add_column("what", overflow="fold", max_width=30)
    table.add_column("why", ratio=1)
    for refusal in space.refused:
        table.add_row(Text(refusal.name), Text(refusal.reason))
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        expand=True,
    )
