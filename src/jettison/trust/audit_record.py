"""What a run writes into its audit trail, stage by stage, as each decision is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from jettison.domain.bundle import Bundle
from jettison.domain.certificate import Certificate, LedgerPosition
from jettison.domain.configuration import Configuration
from jettison.domain.disk_faults import named
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import SearchSpace
from jettison.domain.record import digest
from jettison.domain.run import Trial
from jettison.domain.splits import Splits
from jettison.trust.audit import AUDIT, Trail, last_run, read_trail
from jettison.trust.signing import read_signer


def open_trail(configuration: Configuration) -> Trail:
    """The trail of the run folder, signed where the configuration names a key.

    Raises:
        UsageError: if the key can't be read, or others may read it.
        MissingDependency: if it is to be signed and `cryptography` is not installed.
    """
    section = configuration.audit
    signer = read_signer(Path(section.key)) if section.key else None
    return Trail(Path(configuration.output) / AUDIT, section.who, signer)


class RunAudit:
    """Writes the decisions of one run, in words of the domain."""

    def __init__(self, trail: Trail) -> None:
        """Begins to write at the end of a trail; an earlier run in the folder stays in it."""
        self.trail = trail

    def started(self, configuration: Configuration, profile: Profile) -> None:
        """What was asked for, and where."""
        section = configuration.data
        self._tell(
            "run_started",
            {
                "configuration": digest(configuration),
                "jettison": metadata.version("jettison"),
                "machine": profile.device.cpu_class,
                "versions": dict(profile.device.versions),
                "model": configuration.model.source,
                "purpose": section.purpose,
                "lawful_basis": section.lawful_basis,
                "allowed_uses": list(section.allowed_uses),
            },
        )

    def prepared(self, model: Model, splits: Splits, space: SearchSpace) -> None:
        """What it will be done on: model, rows, and what may be tried."""
        sealed, selection = splits.certification, splits.selection
        self._tell(
            "prepared",
            {
                "model": model.artifact.digest,
                "encoder": model.encoder.digest,
                "data": splits.digest,
                "rows": {
                    "fitting": splits.fitting.rows.n,
                    "selection": selection.rows.n if selection is not None else 0,
                    "certification": sealed.n if sealed is not None else 0,
                },
                "fitting": splits.fitting.rows.digest,
                "selection": selection.rows.digest if selection is not None else "",
                "sealed": sealed.digest if sealed is not None else "",
                "routes": [[*route.techniques, route.runtime] for route in space.routes],
                "refused": [[refusal.name, refusal.reason] for refusal in space.refused],
                "notes": list(splits.notes),
            },
        )

    def required(self, configuration: Configuration) -> None:
        """What must hold, once a relative margin has become a number."""
        asked = [
            {
                "metric": r.metric,
                "max_drop": r.max_drop,
                "max_drop_group": r.max_drop_group,
                "confidence": r.confidence,
            }
            for r in configuration.requirements
        ]
        self._tell("required", {"configuration": digest(configuration), "requirements": asked})

    def tried(self, trials: Sequence[Trial], *, stored: bool) -> None:
        """Each trial on a line of its own, as soon as it is over.

        Args:
            trials: that are over.
            stored: made by an earlier run that was ended in this search; its own lines stand above.
        """
        lines = [
            (
                "trial",
                {
                    "number": trial.number,
                    "recipe": trial.recipe.digest,
                    "title": str(trial.recipe),
                    "state": trial.state,
                    "reason": trial.reason,
                    "stored": stored,
                },
            )
            for trial in trials
        ]
        self._tell_all(lines)

    def searched(self, trials: Sequence[Trial], front: Sequence[str], ended: str) -> None:
        """Why the search ended, and any trial that an interrupt kept from its line."""
        events = last_run(read_trail(self.trail.path))
        told = sum(event.kind == "trial" for event in events)
        self.tried(trials[told:], stored=False)
        self._tell("searched", {"trials": len(trials), "front": list(front), "ended": ended})

    def shortlisted(self, order: Sequence[tuple[Trial, str]], *, opens: bool) -> None:
        """The order of testing, fixed before any seal opens, with the verdicts about the cost."""
        listed = [
            {"recipe": trial.recipe.digest, "title": str(trial.recipe), "cost": verdict}
            for trial, verdict in order
        ]
        self._tell("shortlisted", {"order": listed, "seal_may_open": opens})

    def looked(self, position: LedgerPosition, order: str, data: str) -> None:
        """One look; where labels come later it is told at once, and not a second time.

        A run that takes up the look of one that was ended tells it again, as taken up.
        """
        before = read_trail(self.trail.path)
        same = [e for e in before if e.kind == "looked" and e.facts.get("entry") == position.entry]
        if any(event in same for event in last_run(before)):
            return
        look: dict[str, Any] = {
            "ledger": position.ledger,
            "entry": position.entry,
            "number": position.look,
            "alpha": position.alpha,
            "order": order,
            "data": data,
        }
        if same:
            look["taken_up"] = True
        self._tell("looked", look)

    def certified(self, certificate: Certificate) -> None:
        """The look, if there was one, and the verdicts."""
        position = certificate.ledger
        if position is not None:
            self.looked(position, certificate.order_digest, certificate.data_digest)
        self._tell(
            "judged",
            {
                "certificate": digest(certificate),
                "status": certificate.status,
                "reason": certificate.reason,
                "verdicts": [[t.recipe, t.title, t.verdict] for t in certificate.order],
                "claims": len(certificate.claims),
            },
        )

    def concluded(self, outcome: str, answer: str, shipped: str) -> None:
        """The answer of the run."""
        self._tell("concluded", {"outcome": outcome, "answer": answer, "shipped": shipped})

    def emitted(self, bundle: Bundle) -> None:
        """The bundle by its name; it carries the trail up to the line before."""
        self._tell("emitted", {"bundle": bundle.manifest.digest, "status": bundle.manifest.status})

    def _tell(self, kind: str, facts: Mapping[str, Any]) -> None:
        self._tell_all([(kind, facts)])

    def _tell_all(self, happened: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        if not happened:
            return
        with named(self.trail.path):
            self.trail.extend(happened)
