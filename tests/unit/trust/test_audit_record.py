"""Trials reach the trail one by one, and each of a run exactly once, whenever it was cut short."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.certificate import LedgerPosition
from jettison.domain.recipe import Recipe, Step
from jettison.domain.run import Trial
from jettison.trust.audit import AUDIT, Trail, last_run, read_trail
from jettison.trust.audit_record import RunAudit
from jettison.trust.audit_story import story


def trial(number: int) -> Trial:
    recipe = Recipe((Step("int8_dynamic"),), Step("onnx_runtime", {"threads": number}))
    return Trial(number, recipe, "complete", "", None, None, 1.0)


def numbers(path: Path) -> list[int]:
    return [e.facts["number"] for e in last_run(read_trail(path)) if e.kind == "trial"]


@given(made=st.integers(0, 4), told=st.integers(0, 4), stored=st.integers(0, 3))
def test_every_trial_stands_once(
    made: int, told: int, stored: int, tmp_path_factory: object
) -> None:
    """Stored ones first, new ones as they come; what an interrupt kept back follows at the end."""
    folder = tmp_path_factory.mktemp("trail")  # type: ignore[attr-defined]
    path = folder / AUDIT
    trail = Trail(path, "Ada")
    # An earlier run in the same folder, which was killed.
    trail.append("run_started", {})
    audit = RunAudit(trail)
    audit.tried([trial(n) for n in range(stored)], stored=False)
    trail.append("run_started", {})
    audit.tried([trial(n) for n in range(stored)], stored=True)
    for number in range(stored, stored + min(made, told)):
        audit.tried([trial(number)], stored=False)
        assert numbers(path) == list(range(number + 1))
    audit.searched([trial(n) for n in range(stored + made)], [], "it was interrupted")
    assert numbers(path) == list(range(stored + made))
    assert read_trail(path)[-1].facts["trials"] == stored + made


def test_what_was_taken_over_is_told_so(tmp_path: Path) -> None:
    """The story says which trials an earlier run made."""
    audit = RunAudit(Trail(tmp_path / AUDIT, "Ada"))
    audit.tried([trial(0)], stored=True)
    audit.tried([trial(1)], stored=False)
    taken, tried = story(read_trail(tmp_path / AUDIT))
    assert "took over from the run before 0" in taken
    assert "tried 1" in tried


def test_a_look_stands_once_in_each_run_that_rests_on_it(tmp_path: Path) -> None:
    """A run that takes up the look of one that was ended tells it as such."""
    trail = Trail(tmp_path / AUDIT, "Ada")
    audit = RunAudit(trail)
    look = LedgerPosition("ledger.jsonl", 1, "e" * 64, 0.05)
    for _ in range(2):
        trail.append("run_started", {})
        for _ in range(2):
            audit.looked(look, "order", "data")
    events = read_trail(tmp_path / AUDIT)
    assert [e.kind for e in events] == ["run_started", "looked"] * 2
    first, second = (line for line in story(events) if "the sealed rows" in line)
    assert "opened the sealed rows" in first
    assert "took up the look of the run before at the sealed rows" in second
