"""Optuna behind two verbs: `propose` a recipe, `learn` how it did. Stored in SQLite.

The study file survives `kill -9`: a trial is written as JSON before Optuna is told, so that a
resumed search knows it; only the trial that was running is lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettison import registry
from jettison.domain.accelerators import NeedsAccelerator
from jettison.domain.files import write_atomically
from jettison.domain.recipe import (
    Choices,
    FloatRange,
    IntegerRange,
    Range,
    Recipe,
    Route,
    SearchSpace,
    Step,
    is_read,
)
from jettison.domain.record import Scalar, from_json, to_json
from jettison.domain.run import Trial
from jettison.errors import UsageError

if TYPE_CHECKING:
    import optuna

PATIENCE = 60
"""Proposals in a row that repeat known recipes, after which the space counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that was not tried yet, with Optuna's handle for it."""

    number: int
    recipe: Recipe
    handle: Any


class Study:
    """A resumable multi-objective search over a `SearchSpace`.

    Args:
        folder: holds `search.db`, `identity.json` and `trials/`.
        space: routes and ranges.
        objectives: names, each minimised.
        seed: of the sampler.
        identity: digests of everything that the stored trials depend on.
    """

    def __init__(
        self,
        folder: Path,
        space: SearchSpace,
        objectives: Sequence[str],
        seed: int,
        identity: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._space = space
        self._routes = {" > ".join((*r.techniques, r.runtime)): r for r in space.routes}
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        self._check_identity(identity)
        self.trials: list[Trial] = self._stored_trials()
        self._known = {trial.recipe.digest for trial in self.trials}
        self._objectives = tuple(objectives)
        self._database = folder / "search.db"
        with _disk_faults(self._database):
            self._optuna = _open_storage(self._database, self._objectives, seed + len(self._known))
            self._fail_interrupted()
            self._enqueue_first_tries()

    def propose(self) -> Proposal | None:
        """Gives a recipe that was not tried; `None` when the space is exhausted."""
        from optuna.trial import TrialState

        if not self._routes:
            return None
        with _disk_faults(self._database):
            for _ in range(PATIENCE):
                handle = self._optuna.ask()
                recipe = self._suggest(handle)
                if recipe.digest not in self._known:
                    return Proposal(len(self.trials), recipe, handle)
                self._optuna.tell(handle, state=TrialState.FAIL)
        return None

    def learn(self, proposal: Proposal, trial: Trial, values: Sequence[float] | None) -> None:
        """Stores a finished trial; `values` (one per objective) is `None` when it failed."""
        from optuna.trial import TrialState

        path = self._folder / "trials" / f"{trial.number:04d}.json"
        write_atomically(path, to_json(trial, indent=1))
        self.trials.append(trial)
        self._known.add(trial.recipe.digest)
        with _disk_faults(self._database):
            if values is None:
                self._optuna.tell(proposal.handle, state=TrialState.FAIL)
            else:
                self._optuna.tell(proposal.handle, list(values))

    def abandon(self, proposal: Proposal) -> None:
        """Gives up a proposal that was interrupted; it may be proposed again."""
        from optuna.trial import TrialState

        with contextlib.suppress(ValueError), _disk_faults(self._database):
            self._optuna.tell(proposal.handle, state=TrialState.FAIL)

    def _check_identity(self, identity: Mapping[str, str]) -> None:
        path = self._folder / "identity.json"
        if not path.exists():
            write_atomically(path, json.dumps(dict(identity), indent=1, sort_keys=True))
            return
        stored = json.loads(path.read_text())
        changed = sorted(k for k in {*stored, *identity} if stored.get(k) != identity.get(k))
        if changed:
            raise UsageError(
                f"{self._folder} holds a search with another {' and another '.join(changed)}; "
                "its results don't apply. Choose another output folder, or delete this one"
            )

    def _stored_trials(self) -> list[Trial]:
        paths = sorted((self._folder / "trials").glob("*.json"))
        return [from_json(Trial, path.read_text()) for path in paths]

    def _fail_interrupted(self) -> None:
        from optuna.trial import TrialState

        for frozen in self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._optuna.tell(frozen.number, state=TrialState.FAIL)

    def _enqueue_first_tries(self) -> None:
        """Puts each first try in line that is neither known nor waiting: one that was cut short, too."""
        from optuna.trial import FixedTrial, TrialState

        waiting = self._optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        queued = [frozen.system_attrs.get("fixed_params") for frozen in waiting]
        for params in self._first_tries():
            if params not in queued and self._suggest(FixedTrial(params)).digest not in self._known:
                self._optuna.enqueue_trial(params)

    def _first_tries(self) -> Iterator[dict[str, Scalar]]:
        """The defaults of each route, and after those of a shortest route its other early values."""
        varied: set[str] = set()
        for route in self._by_potential():
            defaults = self._defaults(route)
            yield defaults
            for owner in (*route.techniques, route.runtime):
                # Routes of one technique come shortest first.
                if owner in varied:
                    continue
                varied.add(owner)
                for key, allowed in self._space.ranges.get(owner, {}).items():
                    if isinstance(allowed, Choices) and allowed.early:
                        others = (v for v in allowed.values if v != allowed.default)
                        yield from (defaults | {f"{owner}.{key}": value} for value in others)

    def _by_potential(self) -> list[Route]:
        """Where to begin: the untouched model on an accelerator, if there is one; then each technique
        that changes answers alone, on its shortest route first; the sampler joins them.

        The shortest routes are what a person gets from each library by its defaults, and are quickest
        to make: a search with few minutes must not end without them. What a conversion adds (merged
        operators, say) comes after, however much it promises: it can also cost time.
        """
        known = {advice.technique: advice for advice in self._space.advice}

        def changing(route: Route) -> tuple[str, ...]:
            return tuple(n for n in route.techniques if n in known and not known[n].conversion)

        def hope(route: Route) -> float:
            product = 1.0
            for name in route.techniques:
                if name in known:
                    potential = known[name].potential
                    product *= potential.first_try or potential.speedup
            return product

        def costly(route: Route) -> bool:
            # What an accelerator brings to the untouched model is told by no technique, is often
            # the most of all, and needs nothing to be made.
            return bool(route.techniques) or not _on_accelerator(route.runtime)

        shortest: dict[tuple[str, ...], int] = {}
        for route in self._space.routes:
            found, length = changing(route), len(route.techniques)
            shortest[found] = min(length, shortest.get(found, length))

        def longer(route: Route) -> bool:
            found = changing(route)
            # Conversions alone are each a way of their own.
            return bool(found) and len(route.techniques) > shortest[found]

        fewest = max(1, min((len(changing(route)) for route in self._space.routes), default=1))
        alone = [route for route in self._space.routes if len(changing(route)) <= fewest]
        return sorted(alone, key=lambda r: (costly(r), longer(r), -hope(r), len(r.techniques)))

    def _defaults(self, route: Route) -> dict[str, Scalar]:
        params: dict[str, Scalar] = {"route": " > ".join((*route.techniques, route.runtime))}
        for owner in (*route.techniques, route.runtime):
            for key, allowed in self._space.ranges.get(owner, {}).items():
                params[f"{owner}.{key}"] = allowed.default
        return params

    def _suggest(self, handle: optuna.trial.BaseTrial) -> Recipe:
        route = self._routes[handle.suggest_categorical("route", list(self._routes))]
        steps: list[Step] = []
        for name in (*route.techniques, route.runtime):
            steps.append(self._step(handle, name, steps))
        return Recipe(tuple(steps[:-1]), steps[-1])

    def _step(self, handle: optuna.trial.BaseTrial, owner: str, earlier: Sequence[Step]) -> Step:
        settings: dict[str, Scalar] = dict(self._space.fixed.get(owner, {}))
        open_here = self._space.ranges.get(owner, {})
        # What decides whether a setting is read comes before it.
        for key, allowed in sorted(open_here.items(), key=lambda item: bool(item[1].when)):
            if is_read(allowed, settings, earlier):
                settings[key] = _suggest_one(handle, f"{owner}.{key}", allowed)
        return Step(owner, settings)


def _on_accelerator(runtime: str) -> bool:
    return runtime in registry.names("runtimes") and isinstance(
        registry.get("runtimes", runtime), NeedsAccelerator
    )


_FAULTS = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "the disk is full"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "the database is read-only"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "the database can't be opened"),
    sqlite3.SQLITE_PERM: (errno.EACCES, "the database may not be used"),
    # What SQLite calls an input or output error is here a write that the disk cut short.
    sqlite3.SQLITE_IOERR: (errno.ENOSPC, "the disk did not take what was written"),
}


@contextlib.contextmanager
def _disk_faults(database: Path) -> Iterator[None]:
    """Says what the disk refused as the `OSError` that any other file would give.

    Raises:
        OSError: with the number, the reason and the file.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        fault = _FAULTS.get(_sqlite_code(error) & 0xFF)
        if fault is None:
            raise
        raise OSError(*fault, str(database)) from error


def _sqlite_code(error: BaseException | None) -> int:
    """SQLite's own number of a fault, which Optuna and SQLAlchemy wrap; 0 if there is none."""
    while error is not None:
        for layer in (error, getattr(error, "orig", None)):
            if isinstance(layer, sqlite3.Error):
                return int(getattr(layer, "sqlite_errorcode", 0))
        error = error.__cause__
    return 0


def _suggest_one(handle: optuna.trial.BaseTrial, name: str, allowed: Range) -> Scalar:
    value: Scalar
    match allowed:
        case Choices(values=values):
            value = handle.suggest_categorical(name, list(values))
        case IntegerRange(low=low, high=high):
            value = handle.suggest_int(name, low, high)
        case FloatRange(low=low_f, high=high_f, logarithmic=logarithmic):
            value = handle.suggest_float(name, low_f, high_f, log=logarithmic)
    return value


def _open_storage(path: Path, objectives: Sequence[str], seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, n_startup_trials=8
        )
        return optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name="jettison",
            directions=["minimize"] * len(objectives),
            sampler=sampler,
            load_if_exists=True,
        )
