"""What `jettison advise` shows: the most each technique could gain here, and what is refused."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, FloatRange, Range, SearchSpace
from jettison.reporting.quantities import MISSING, bytes_text, percent, times

LAYERS_SHOWN = 20


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


def layers_table(profile: Profile) -> RenderableType:
    """The operators of the original that take the most time."""
    if not profile.layers:
        return Text("The runtime of this model does not show single operators.")
    ordered = sorted(profile.layers, key=lambda c: (-(c.time_share or 0.0), -c.bytes))
    shown = ordered[:LAYERS_SHOWN]
    table = _table(f"Operators, the slowest first ({len(shown)} of {len(ordered)})")
    table.add_column("operator", overflow="fold", ratio=1)
    table.add_column("type", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("MACs", justify="right", no_wrap=True)
    for layer in shown:
        table.add_row(
            Text(layer.name),
            Text(layer.operator),
            percent(layer.time_share),
            bytes_text(layer.bytes),
            MISSING if layer.macs is None else f"{layer.macs:,}",
        )
    return table


def space_table(space: SearchSpace) -> RenderableType:
    """The legal orders of techniques, and the settings that are open in each."""
    if not space.routes:
        return Text("No legal recipe can be tried here.")
    table = _table("Recipes that a search would try")
    table.add_column("recipe", overflow="fold", ratio=1)
    table.add_column("open settings", overflow="fold", ratio=1)
    for route in space.routes:
        names = (*route.techniques, route.runtime)
        lines = [
            f"{name}.{key}: {_range_words(choice)}"
            for name in names
            for key, choice in space.ranges.get(name, {}).items()
        ]
        lines += [
            f"{name}.{key} = {value} (fixed)"
            for name in names
            for key, value in space.fixed.get(name, {}).items()
        ]
        table.add_row(Text(" > ".join(names)), Text("\n".join(lines) or "none"))
    return table


def _range_words(choice: Range) -> str:
    wanted = [f"{other} = {value}" for other, value in choice.when.items()]
    wanted += [f"an earlier {other} = {value}" for other, value in choice.after.items()]
    only = " and ".join(wanted)
    suffix = f" (where {only})" if only else ""
    if isinstance(choice, Choices):
        return ", ".join(str(value) for value in choice.values) + suffix
    logarithmic = isinstance(choice, FloatRange) and choice.logarithmic
    return f"{choice.low:g} to {choice.high:g}{' (logarithmic)' if logarithmic else ''}{suffix}"


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        expand=True,
    )
