"""Plan: which recipes are legal, what each technique could gain at most, what is refused and why."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from jettison import registry
from jettison.domain.accelerators import NeedsAccelerator
from jettison.domain.configuration import SearchSection
from jettison.domain.extension_points import Runtime, Technique
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.ranges import describe, within
from jettison.domain.recipe import (
    Advice,
    Choices,
    Potential,
    Range,
    Ranges,
    Refusal,
    Route,
    SearchSpace,
    is_read,
)
from jettison.domain.record import Scalar, Settings
from jettison.domain.traits import TRAITS, excludes, illegality, traits_after
from jettison.errors import ConfigError

P = TypeVar("P", Technique, Runtime)


@dataclass(frozen=True, slots=True)
class Start:
    """Where recipes begin: the untouched model, or what a conversion made of it.

    Attributes:
        techniques: the conversions that led here, in order; empty for the untouched model.
        model: with the traits that were found, not only those that were promised.
        layers: as its own runtime shows them; empty where it shows none.
    """

    techniques: tuple[str, ...]
    model: Model
    layers: tuple[LayerCost, ...] = ()

    def profiled(self, baseline: Profile) -> Profile:
        """The profile of the baseline, with the layers of this model where they are known."""
        return dataclasses.replace(baseline, layers=self.layers) if self.layers else baseline


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user narrowed: per technique or runtime, ranges and fixed settings."""

    search: SearchSection
    ranges: Mapping[str, Mapping[str, Range]]
    settings: Mapping[str, Settings]


def plan(
    starts: Sequence[Start], profile: Profile, wishes: Wishes, failed: Sequence[Refusal] = ()
) -> SearchSpace:
    """Lists legal recipes and open settings.

    Args:
        starts: the untouched model first, then each conversion of it.
        profile: of the baseline. Each plug-in is asked about the last start that it could begin
            from, with the layers of that start.
        wishes: of the user.
        failed: conversions that were tried and could not be carried out.

    Raises:
        ConfigError: for ranges or settings that no technique in the plan has, all at once.
        UnknownName: for a technique or runtime that nobody registered.
    """
    refused: dict[str, str] = {}
    techniques = _usable(_techniques(wishes.search), refused)
    runtimes = _usable(_runtimes(wishes.search), refused)
    _leave_out_what_would_look_free(runtimes, wishes.search, refused)
    refused.update({failure.name: failure.reason for failure in failed})
    techniques = {n: t for n, t in techniques.items() if n not in refused}
    potentials = _potentials(techniques, starts, profile, refused)
    _leave_out_what_cannot_gain(potentials, techniques, wishes.search, refused)
    kept = {name: technique for name, technique in techniques.items() if name in potentials}
    found = tuple(dict.fromkeys(_routes(starts, kept, runtimes)))
    routes = _that_may_win(found, runtimes, wishes, refused)
    for name in kept:
        if not any(name in route.techniques for route in routes):
            refused[name] = _why_never(name, kept, runtimes, starts)
    used = {n for route in routes for n in (*route.techniques, route.runtime)}
    plugins: dict[str, Technique | Runtime] = {**kept, **runtimes}
    spaces: dict[str, Ranges] = {}
    for name in sorted(used):
        start = _start_of(name, plugins[name], starts, techniques) or starts[-1]
        spaces[name] = plugins[name].search_space(start.model, start.profiled(profile))
    ranges, fixed = _narrow(spaces, wishes)
    home = registry.home_runtime(starts[0].model.traits).name
    return SearchSpace(
        routes=tuple(
            r for r in routes if r.techniques or r.runtime != home or ranges.get(r.runtime)
        ),
        ranges=ranges,
        fixed=fixed,
        advice=tuple(
            Advice(name, potentials[name], _recipes_with(name, routes), kept[name].conversion)
            for name in sorted(kept, key=lambda n: (-potentials[n].speedup, n))
            if name in used
        ),
        refused=tuple(Refusal(name, reason) for name, reason in sorted(refused.items())),
    )


def _techniques(search: SearchSection) -> dict[str, Technique]:
    chosen = search.techniques or registry.names("techniques")
    return {name: registry.get("techniques", name) for name in chosen}


def _runtimes(search: SearchSection) -> dict[str, Runtime]:
    chosen = search.runtimes or registry.names("runtimes")
    return {name: registry.get("runtimes", name) for name in chosen}


def _usable(plugins: dict[str, P], refused: dict[str, str]) -> dict[str, P]:
    usable: dict[str, P] = {}
    for name, plugin in plugins.items():
        reason = registry.hindrance(plugin)
        if reason:
            refused[name] = reason
        else:
            usable[name] = plugin
    return usable


def _leave_out_what_would_look_free(
    runtimes: dict[str, Runtime], search: SearchSection, refused: dict[str, str]
) -> None:
    """Drops runtimes on accelerators, named or not, where a cost sees the processor alone."""
    blind = [
        f"`{name}`"
        for name in search.minimise
        if getattr(registry.get("costs", name), "of_processor", False)
    ]
    for name, runtime in list(runtimes.items()):
        if blind and isinstance(runtime, NeedsAccelerator):
            del runtimes[name]
            refused[name] = (
                f"{' and '.join(blind)} is estimated from processor time and does not see what the "
                f"accelerator uses, so that whatever runs there would look free: leave it out of "
                "`search.minimise` to try this runtime"
            )


def _leave_out_what_cannot_gain(
    potentials: dict[str, Potential],
    techniques: Mapping[str, Technique],
    search: SearchSection,
    refused: dict[str, str],
) -> None:
    """Drops what can make nothing faster or smaller here, unless the user named it.

    Conversions stay: what they lead to may gain.
    """
    for name, potential in list(potentials.items()):
        hopeless = potential.speedup <= 1.0 and potential.size_ratio >= 1.0
        if hopeless and not techniques[name].conversion and name not in search.techniques:
            del potentials[name]
            refused[name] = f"{potential.reason}; name it in `search.techniques` to try it"


def _potentials(
    techniques: Mapping[str, Technique],
    starts: Sequence[Start],
    profile: Profile,
    refused: dict[str, str],
) -> dict[str, Potential]:
    """Asks each technique at the last start whose traits it can begin from."""
    found: dict[str, Potential] = {}
    for name, technique in techniques.items():
        start = _start_of(name, technique, starts, techniques)
        if start is None:
            # Of all formats, what is told is the one that comes nearest.
            lacking = min((sorted(technique.requires - s.model.traits) for s in starts), key=len)
            told = "; ".join(f"`{trait}` ({TRAITS[trait]})" for trait in lacking)
            refused[name] = f"this model lacks what it needs: {told}"
            continue
        answer = technique.potential(start.model, start.profiled(profile))
        if isinstance(answer, Refusal):
            refused[name] = answer.reason
        else:
            found[name] = answer
    return found


def _start_of(
    name: str,
    plugin: Technique | Runtime,
    starts: Sequence[Start],
    techniques: Mapping[str, Technique],
) -> Start | None:
    """The last start that it can begin from, by itself or after other techniques.

    No start is sparse, so what needs a mask begins where a mask can.
    """
    others = [t for other, t in techniques.items() if other != name and not t.conversion]
    added = frozenset[str]().union(*(technique.adds for technique in others))
    return _last_for(plugin, starts) or _last_for(plugin, starts, added)


def _last_for(
    plugin: Technique | Runtime, starts: Sequence[Start], added: frozenset[str] = frozenset()
) -> Start | None:
    """The last start whose traits, and those that are added to them, it can begin from."""
    return next((s for s in reversed(starts) if plugin.requires <= s.model.traits | added), None)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a walk over legal orders needs to know at each step.

    Attributes:
        starts: by the crossings that made them.
        techniques, runtimes: that may be used.
        homes: the traits of all formats; a technique that removes one of them is a crossing.
    """

    starts: Mapping[tuple[str, ...], Start]
    techniques: Mapping[str, Technique]
    runtimes: Mapping[str, Runtime]
    homes: frozenset[str]

    def extend(self, crossed: tuple[str, ...], path: tuple[str, ...]) -> Iterator[Route]:
        """Gives the routes that go on from here, depth first.

        A crossing between formats was made before planning, for only its result tells which
        traits it finds. Techniques that come before it change these as they say.

        Args:
            crossed: the crossings so far.
            path: these and all other techniques, in order.
        """
        others = [self.techniques[name] for name in path if name not in crossed]
        traits = traits_after(self.starts[crossed].model.traits, others)
        for runtime in self.runtimes.values():
            if runtime.requires <= traits and not excludes(runtime) & traits:
                yield Route(path, runtime.name)
        for name, technique in self.techniques.items():
            if name in path or illegality(traits, (technique,)) is not None:
                continue
            if (*crossed, name) in self.starts:
                yield from self.extend((*crossed, name), (*path, name))
            elif not (technique.conversion and technique.removes & self.homes):
                yield from self.extend(crossed, (*path, name))


def _routes(
    starts: Sequence[Start], techniques: Mapping[str, Technique], runtimes: Mapping[str, Runtime]
) -> Iterator[Route]:
    """Walks every legal order, from the untouched model through every chain of crossings."""
    made = {start.techniques: start for start in starts}
    homes = frozenset(registry.get("runtimes", n).home for n in registry.names("runtimes"))
    return _Walk(made, techniques, runtimes, homes).extend((), ())


def _that_may_win(
    routes: Sequence[Route],
    runtimes: Mapping[str, Runtime],
    wishes: Wishes,
    refused: dict[str, str],
) -> tuple[Route, ...]:
    """Where only files count, keeps one runtime for each way: the others read the same files.

    What the user named stays.
    """
    named = {*wishes.search.runtimes, *wishes.ranges, *wishes.settings}
    costs = [registry.get("costs", name) for name in wishes.search.minimise]
    if not all(getattr(cost, "of_files", False) for cost in costs):
        return tuple(routes)
    first: dict[tuple[str, ...], str] = {}
    for route in sorted(routes, key=lambda r: not runtimes[r.runtime].home):
        first.setdefault(route.techniques, route.runtime)
    kept = tuple(r for r in routes if r.runtime in {first[r.techniques], *named})
    for name in {r.runtime for r in routes} - {r.runtime for r in kept}:
        refused[name] = (
            f"{' and '.join(wishes.search.minimise)} are of files, which no runtime changes: name it "
            "in `search.runtimes` to try it all the same"
        )
    return kept


def _why_never(
    name: str,
    techniques: Mapping[str, Technique],
    runtimes: Mapping[str, Runtime],
    starts: Sequence[Start],
) -> str:
    """Told from the last start where it could begin: a later one may be what it made itself."""
    start = _start_of(name, techniques[name], starts, techniques) or starts[-1]
    for runtime in runtimes.values():
        reason = illegality(start.model.traits, (techniques[name],), runtime.requires)
        if reason:
            return reason
    return "no runtime in the plan runs its result"


def _recipes_with(name: str, routes: Sequence[Route]) -> tuple[str, ...]:
    return tuple(" > ".join((*r.techniques, r.runtime)) for r in routes if name in r.techniques)


def _narrow(
    spaces: Mapping[str, Ranges], wishes: Wishes
) -> tuple[dict[str, Ranges], dict[str, Settings]]:
    """Applies the user's ranges and fixed settings; reports every mistake at once."""
    problems: list[str] = []
    open_ranges: dict[str, Ranges] = {}
    fixed: dict[str, Settings] = {}
    for family, wanted in (("ranges", wishes.ranges), ("settings", wishes.settings)):
        for owner, keys in wanted.items():
            for key in keys:
                if owner in spaces and key not in spaces[owner]:
                    near = difflib.get_close_matches(key, spaces[owner], n=1)
                    hint = f"; did you mean `{near[0]}`?" if near else ""
                    allowed = ", ".join(f"`{k}`" for k in spaces[owner]) or "none"
                    problems.append(
                        f"`{key}` in `{family}.{owner}` is not a setting of `{owner}`{hint} "
                        f"(allowed: {allowed})"
                    )
    for owner, space in spaces.items():
        for key, wish in wishes.ranges.get(owner, {}).items():
            if key in space and not _inside(space[key], wish):
                problems.append(
                    f"`ranges.{owner}.{key}` must lie within {describe(space[key])}; "
                    f"got {describe(wish)}"
                )
        given, wrong = _settled(space, wishes.settings.get(owner, {}), owner)
        problems += wrong
        fixed[owner] = {k: v for k, v in given.items() if k in space}
        open_ranges[owner] = {
            key: _meet(allowed, wishes.ranges.get(owner, {}).get(key))
            for key, allowed in space.items()
            if key not in given and is_read(allowed, given)
        }
    if problems:
        raise ConfigError(problems)
    return open_ranges, fixed


def _settled(space: Ranges, given: Settings, owner: str) -> tuple[Settings, list[str]]:
    """Fixed settings and what must be fixed too for each of them to be read; what is wrong."""
    settled: dict[str, Scalar] = dict(given)
    problems: list[str] = []
    for key in given:
        if key not in space:
            continue
        if not within(space[key], given[key]):
            problems.append(
                f"`{key}` of `{owner}` must be {describe(space[key])}; got {given[key]!r}"
            )
        for other, value in space[key].when.items():
            if settled.setdefault(other, value) != value:
                problems.append(
                    f"`settings.{owner}.{key}` is read only where `{other}` is {value!r}, and "
                    f"`{other}` is fixed to {settled[other]!r}; leave one of the two out"
                )
    return settled, problems


def _inside(allowed: Range, wish: Range) -> bool:
    """Whether every end or value of the user's range is allowed."""
    if isinstance(wish, Choices):
        return all(within(allowed, value) for value in wish.values)
    return within(allowed, wish.low) and within(allowed, wish.high)


def _meet(allowed: Range, wish: Range | None) -> Range:
    """The user's range, with the technique's own default where that lies inside it."""
    if wish is None:
        return allowed
    wish = dataclasses.replace(wish, when=allowed.when, after=allowed.after)
    if within(wish, allowed.default):
        return dataclasses.replace(wish, default=allowed.default)  # type: ignore[arg-type]
    return wish
