"""Evidence as bytes: it comes back whole, or is refused as a whole."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from jettison.domain.certificate import Claim
from jettison.serving.monitoring import Outcome
from jettison.serving.monitoring.evidence import UnusableEvidence, encode, resume, snapshot
from tests.unit.serving.monitoring.test_monitor import Desk, claim

CLAIMS = (claim("accuracy"), claim("accuracy", "site=a", 0.03), claim("agreement", margin=0.02))


def worn(bundle: Path, claims: tuple[Claim, ...] = CLAIMS, pairs: int = 60) -> Desk:
    """A desk that has seen pairs with labels and groups, a quarter of them worse than the original."""
    desk = Desk(bundle, claims)
    for i in range(pairs):
        desk.ask(f"r{i}", [1 if i % 4 == 0 else 0], original=[0])
        desk.tell(Outcome(f"r{i}", "ant", 0, {"site": "a" if i % 2 else "b"}))
    return desk


def shown(desk: Desk) -> dict[tuple[str, ...], float]:
    """What its running tests show."""
    return {
        (reading.name, *sorted(f"{k}={v}" for k, v in reading.labels.items())): reading.value
        for reading in desk.monitor.readings()
        if "margin" in reading.name or "drop" in reading.name or "value" in reading.name
    }


def test_what_was_seen_comes_back(bundle: Path) -> None:
    """Margins, drops, values and alarms of every group are as they were, and go on from there."""
    old, new, whole = worn(bundle), Desk(bundle, CLAIMS), worn(bundle, pairs=80)
    resume(new.monitor, encode(snapshot(old.monitor)))
    assert shown(new) == shown(old)
    assert new.read("jettison_quality_margin_held", metric="accuracy", group="overall") == [0.0]
    for i in range(60, 80):
        new.ask(f"r{i}", [1 if i % 4 == 0 else 0], original=[0])
        new.tell(Outcome(f"r{i}", "ant", 0, {"site": "a" if i % 2 else "b"}))
    assert shown(new) == shown(whole)


def test_agreement_comes_back_too(bundle: Path) -> None:
    """The comparison with the original goes on as well."""
    old, new = worn(bundle), Desk(bundle, CLAIMS)
    resume(new.monitor, encode(snapshot(old.monitor)))
    assert new.read("jettison_quality_agreement_rows", metric="agreement") == [60.0]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_half_a_file_is_refused(bundle: Path, share: float) -> None:
    """Wherever it was cut; the monitor is as it was."""
    data, new = encode(snapshot(worn(bundle).monitor)), Desk(bundle, CLAIMS)
    before = shown(new)
    with pytest.raises(UnusableEvidence):
        resume(new.monitor, data[: int(share * len(data))])
    assert shown(new) == before


def test_a_changed_number_is_refused(bundle: Path) -> None:
    """A digit that flipped on the disk does not become evidence."""
    data, new = encode(snapshot(worn(bundle).monitor)), Desk(bundle, CLAIMS)
    changed = data.replace(b'"counts":[0,45,15]', b'"counts":[0,55,5]')
    assert changed != data
    with pytest.raises(UnusableEvidence, match="hash"):
        resume(new.monitor, changed)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "a letter"}, "no evidence"),
        ({"format": 99}, "format 99"),
        ({"evidence": {}}, "hash"),
        ({"sha256": None}, "hash"),
    ],
)
def test_what_is_something_else_is_refused(
    bundle: Path, change: dict[str, object], told: str
) -> None:
    """Another kind of file, a later format, other content under the old hash."""
    data = orjson.loads(encode(snapshot(worn(bundle).monitor)))
    with pytest.raises(UnusableEvidence, match=told):
        resume(Desk(bundle, CLAIMS).monitor, orjson.dumps({**data, **change}))


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"\x00" * 50, b'{"kind": "jettison evidence"}']
)
def test_what_is_nothing_is_refused(bundle: Path, data: bytes) -> None:
    """Empty, zeroed and other files."""
    with pytest.raises(UnusableEvidence):
        resume(Desk(bundle, CLAIMS).monitor, data)


def test_evidence_of_others_is_refused(bundle: Path) -> None:
    """Of another bundle, another model, or other claims: each says which."""
    mine = Desk(bundle, CLAIMS).monitor
    for name, other in (("model", "n"), ("bundle", "1" * 64)):
        evidence = snapshot(worn(bundle).monitor)
        evidence[name] = other
        with pytest.raises(UnusableEvidence, match=f"the {name} {other}"):
            resume(mine, encode(evidence))
    fewer = encode(snapshot(worn(bundle, CLAIMS[:1]).monitor))
    with pytest.raises(UnusableEvidence, match="other claims"):
        resume(mine, fewer)


def test_a_state_that_contradicts_itself_changes_nothing(bundle: Path) -> None:
    """The last test is wrong, under a right hash: the first ones are not resumed either."""
    evidence = snapshot(worn(bundle).monitor)
    evidence["tests"][-1]["total"] = 1e9
    new = Desk(bundle, CLAIMS)
    before = shown(new)
    with pytest.raises(UnusableEvidence, match="sum"):
        resume(new.monitor, encode(evidence))
    assert shown(new) == before
