"""The audit trail under attack: whatever is changed in it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jettison.domain.files import append_line
from jettison.errors import CheckFailed
from jettison.trust import audit
from jettison.trust.audit import Trail, head_of, read_trail, signers_of
from jettison.trust.audit_story import story
from jettison.trust.signing import read_signer
from tests.keys import make_keys


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Three unsigned lines."""
    made = Trail(tmp_path / "audit.jsonl", "Ada")
    made.append("run_started", {"configuration": "c" * 64, "model": "m.onnx", "purpose": "care"})
    made.extend(
        [
            ("trial", {"number": 0, "title": "int8", "state": "failed", "reason": "too large"}),
            ("concluded", {"outcome": "nothing_better", "answer": "Nothing beat it."}),
        ]
    )
    return made


def lines_of(trail: Trail) -> list[str]:
    return trail.path.read_text().splitlines()


def test_lines_are_read_back_as_a_story(trail: Trail) -> None:
    """One sentence a line: who, when, what, in the order written."""
    events = read_trail(trail.path)
    told = list(story(events))
    assert [event.kind for event in events] == ["run_started", "trial", "concluded"]
    assert "Ada started a run on the model m.onnx" in told[0]
    assert "«care»" in told[0]
    assert "tried 0: int8 (failed: too large)" in told[1]
    assert told[2].endswith("Nothing beat it.")
    assert signers_of(events) == ("",)


def test_no_text_can_pose_as_a_line_or_steer_the_terminal(tmp_path: Path) -> None:
    """Line ends, escapes and marks that turn the text around are shown, not done."""
    trail = Trail(tmp_path / "audit.jsonl", "Ada\u202e")
    forged = "fast\n   2  2026-01-01  Eve approved\x1b[2K\r"
    trail.append("trial", {"number": 0, "title": forged, "state": "complete", "reason": ""})
    trail.append("prepared", {"refused": [["wanda", "no\nline"]], "routes": []})
    trail.append("unheard of", {"a\nb": {"c": "\x07"}})
    one, two, three = story(read_trail(trail.path))
    assert one.isprintable()
    assert "Ada\\u202e tried 0: fast\\n   2" in one
    assert "\\x1b[2K" in one
    assert [line.strip()[:5] for line in two.split("\n")[1:]] == ["wanda"]
    assert three.isprintable()


def test_no_trail_is_an_empty_one(tmp_path: Path) -> None:
    """What was never written has no lines and no fault."""
    assert read_trail(tmp_path / "audit.jsonl") == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_changed_line_is_named(trail: Trail, number: int) -> None:
    """Other facts under the old digest are found, wherever they stand."""
    lines = lines_of(trail)
    lines[number - 1] = lines[number - 1].replace("Ada", "Eve")
    trail.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(CheckFailed, match=rf"line {number} .* was changed"):
        read_trail(trail.path)
    with pytest.raises(CheckFailed):
        trail.append("concluded", {})


def test_a_line_taken_out_or_off_the_end_shows(trail: Trail) -> None:
    """The chain shows a gap, the head a missing end, also where the file is gone."""
    lines = lines_of(trail)
    trail.path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(CheckFailed, match=r"line 2 .* does not follow"):
        read_trail(trail.path)
    trail.path.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(CheckFailed, match=r"line 3 .* is missing"):
        read_trail(trail.path)
    trail.path.unlink()
    with pytest.raises(CheckFailed, match=r"line 1 .* is missing"):
        read_trail(trail.path)


def test_a_trail_written_anew_shows(trail: Trail) -> None:
    """A whole chain of other lines is not the one that the head recorded."""
    head = head_of(trail.path).read_text()
    trail.path.unlink()
    head_of(trail.path).unlink()
    for _ in range(3):
        trail.append("concluded", {"outcome": "improved"})
    head_of(trail.path).write_text(head)
    with pytest.raises(CheckFailed, match=r"replaced or extended"):
        read_trail(trail.path)


def test_two_crashes_leave_a_whole_trail(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stops between a line and its head; the second finds the head of the first repaired."""

    def crash(path: Path, line: str) -> None:
        append_line(path, line)
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "append_line", crash)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trail.append("concluded", {})
    assert len(read_trail(trail.path)) == 5
    monkeypatch.undo()
    trail.append("concluded", {})
    assert json.loads(head_of(trail.path).read_text())["entries"] == 6


def test_a_half_written_line_is_named(trail: Trail) -> None:
    """What a crash leaves is told, with the way out."""
    with trail.path.open("a") as file:
        file.write('{"facts":')
    with pytest.raises(CheckFailed, match=r"line 4 .* incomplete.*delete that line"):
        read_trail(trail.path)


def test_a_signed_line_can_t_be_written_by_another(tmp_path: Path) -> None:
    """Whoever forges a whole chain, digests and head lacks the key."""
    signer = read_signer(make_keys(tmp_path)[0])
    signed = Trail(tmp_path / "audit.jsonl", "Ada", signer)
    signed.append("concluded", {"outcome": "nothing_better"})
    (event,) = read_trail(signed.path)
    assert event.key == signer.public
    assert "[signed" in next(story([event]))
    forger = Trail(tmp_path / "forged.jsonl", "Ada")
    forger.append("concluded", {"outcome": "improved"})
    told = json.loads(forger.path.read_text())
    from dataclasses import replace

    forged = replace(read_trail(forger.path)[0], key=event.key, signature=event.signature)
    head_of(forger.path).unlink()
    forger.path.write_text(forged.line() + "\n")
    assert told["key"] == ""
    with pytest.raises(CheckFailed, match="not signed by the key"):
        read_trail(forger.path)
