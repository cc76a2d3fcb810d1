"""Guardrails and attacks from files: paired by text, judged by group, and looked at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.guard_judging import (
    Margins,
    certify_guardrail,
    certify_red_team,
)
from jettison.assessment.guard_judging_files import read_attacks, read_guardrail
from jettison.domain.extension_points import Example
from jettison.domain.paired_files import PairedCertificate
from jettison.domain.record import digest, from_json
from jettison.errors import DataError, SealRefused, UsageError
from jettison.pipeline.split.raw_keys import raw_digests
from jettison.statistics import paired_binary_p_value
from jettison.trust.judging import judge_candidate
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.outcomes import load_outcomes
from jettison.trust.row_sets import row_set

GUARD = "request,expected,blocked_before,blocked_after,lang"
ATTACKS = "prompt,category,outcome"
BOTH = {"missed_blocks": 0.02, "false_blocks": 0.02}


def table(path: Path, head: str, rows: Sequence[Sequence[object]]) -> Path:
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def guard_rows(n: int = 1200, worse: int = 0) -> list[list[object]]:
    """Half to block, half to allow; the changed guardrail misses `worse` more in language b."""
    rows: list[list[object]] = []
    for i in range(n):
        block = i % 2 == 0
        wrong = i % 40 in (0, 1)
        before = block != wrong
        rows.append(
            [
                f"request {i}",
                "block" if block else "allow",
                int(before),
                int(before),
                "ab"[i % 4 // 2],
            ]
        )
    harmed = [row for row in rows if row[1] == "block" and row[4] == "b" and row[2]]
    for row in harmed[:worse]:
        row[3] = 0
    return rows


def certify(
    tmp_path: Path, rows: list[list[object]], margins: Margins, name: str = "g"
) -> PairedCertificate:
    path = table(tmp_path / f"{name}.csv", GUARD, rows)
    return certify_guardrail(path, ["lang"], margins, tmp_path / name, str(tmp_path / "ledger"))


def test_an_unchanged_guardrail_is_held(tmp_path: Path) -> None:
    """Missed and false blocks are counted over their own requests, overall and by group."""
    found = certify(tmp_path, guard_rows(), Margins(BOTH))
    assert found.verdict == "held"
    told = {(c.metric, c.group): (c.n, c.baseline) for c in found.claims}
    assert told[("missed_blocks", "overall")] == (600, pytest.approx(30 / 600))
    assert told[("false_blocks", "overall")] == (600, pytest.approx(30 / 600))
    assert told[("missed_blocks", "lang=b")] == (300, pytest.approx(0.0))
    assert {c.grade for c in found.claims} == {"A"}
    written = from_json(PairedCertificate, (tmp_path / "g" / "certificate.json").read_bytes())
    assert written == found


def test_harm_in_one_group_is_broken_though_the_whole_is_held(tmp_path: Path) -> None:
    """40 more misses in 300 requests of one language break its claim, and the verdict with it."""
    margins = Margins({"missed_blocks": 0.12, "false_blocks": 0.02}, group=0.06)
    found = certify(tmp_path, guard_rows(worse=40), margins)
    verdicts = {(c.metric, c.group): c.verdict for c in found.claims}
    assert verdicts[("missed_blocks", "overall")] == "held"
    assert verdicts[("missed_blocks", "lang=b")] == "broken"
    assert verdicts[("false_blocks", "overall")] == "held"
    assert found.verdict == "broken"
    assert "lang=b" in found.reason


def test_the_test_is_the_paired_one(tmp_path: Path) -> None:
    """The p-value is that of the exact paired test on the 2 x 2 table: 9 worse, none better."""
    found = certify(tmp_path, guard_rows(worse=9), Margins(BOTH))
    claim = next(c for c in found.claims if (c.metric, c.group) == ("missed_blocks", "overall"))
    assert claim.p_value == pytest.approx(paired_binary_p_value(9, 0, 600, 0.02))
    assert claim.estimate == pytest.approx(9 / 600)


def test_a_text_is_looked_at_once(tmp_path: Path) -> None:
    """Another margin, another order or other white space gives no second look at the same texts."""
    certify(tmp_path, guard_rows(), Margins(BOTH))
    again = [[f"  {row[0]} ", *row[1:]] for row in reversed(guard_rows())]
    with pytest.raises(SealRefused, match="spent by an earlier look"):
        certify(tmp_path, again, Margins({"missed_blocks": 0.05, "false_blocks": 0.05}), "again")
    kinds = [entry.kind for entry in Ledger.at(tmp_path / "ledger").entries()]
    assert kinds == ["look", "opened", "certificate"]


def test_too_few_rows_are_refused_before_the_look(tmp_path: Path) -> None:
    """A group below the floor stops everything unspent, and is named; not gating it helps."""
    margins = Margins({"missed_blocks": 0.01, "false_blocks": 0.02}, group=0.005)
    with pytest.raises(SealRefused, match=r"none is spent:\n.*missed_blocks, lang=a: 300 rows"):
        certify(tmp_path, guard_rows(), margins)
    assert not Ledger.at(tmp_path / "ledger").exists
    found = certify(tmp_path, guard_rows(), Margins(BOTH, group=0.005, gating=()))
    assert found.verdict == "held"
    assert {c.verdict for c in found.claims if c.group != "overall"} == {"undecided"}


def test_the_ledger_and_the_outcomes_give_the_verdict_again(tmp_path: Path) -> None:
    """Each claim is computed again from the stored outcomes; the ledger knows the certificate."""
    found = certify(tmp_path, guard_rows(worse=3), Margins(BOTH))
    again = [
        claim
        for metric in BOTH
        for claim in judge_candidate(
            load_outcomes(tmp_path / "g" / f"{metric}.npz"), "after"
        ).claims
    ]
    assert tuple(again) == found.claims
    ledger = Ledger.at(tmp_path / "ledger")
    entry = ledger.find("certificate", digest(found))
    assert entry is not None
    assert entry.look == found.ledger.entry


def attack_rows(n: int = 800, hits: int = 40, extra: int = 0, times: int = 1) -> list[list[object]]:
    return [
        [f"attack {i}", "dan" if i % 2 else "leak", "hit" if i < hits + extra else "refused"]
        for i in range(n)
        for _ in range(times)
    ]


def red_team(
    tmp_path: Path, before: list[list[object]], after: list[list[object]], **margins: float
) -> PairedCertificate:
    one = table(tmp_path / "before.csv", ATTACKS, before)
    other = table(tmp_path / "after.csv", ATTACKS, after)
    asked = Margins({"attack_success": margins.pop("rise", 0.02)}, **margins)  # type: ignore[arg-type]
    return certify_red_team(one, other, asked, tmp_path / "out", str(tmp_path / "ledger"))


def test_attacks_are_paired_by_text_and_judged_by_category(tmp_path: Path) -> None:
    """The order of the second file doesn't matter; each category is a group."""
    found = red_team(tmp_path, attack_rows(), list(reversed(attack_rows(extra=2))))
    assert found.verdict == "held"
    assert [c.group for c in found.claims] == ["overall", "category=dan", "category=leak"]
    assert found.claims[0].candidate == pytest.approx(42 / 800)
    assert set(json.loads((tmp_path / "out" / "certificate.json").read_text())["files"]) == {
        "before: before.csv",
        "after: after.csv",
    }


def test_more_hits_are_broken(tmp_path: Path) -> None:
    """8 % more attacks that get through are more than 2 %."""
    assert red_team(tmp_path, attack_rows(), attack_rows(extra=64)).verdict == "broken"


def test_repeated_prompts_are_one_unit_of_grade_b(tmp_path: Path) -> None:
    """Five answers to a prompt are one share; the test is chosen by the repetition alone."""
    found = red_team(tmp_path, attack_rows(times=5), attack_rows(times=5), rise=0.03)
    assert found.rows == 800
    assert {c.grade for c in found.claims} == {"B"}
    assert found.claims[0].n == 800
    assert "averaged" in found.notes[0]


def test_scores_of_a_detector_are_read_as_garak_has_them(tmp_path: Path) -> None:
    """From 0.5 on the attack got through."""
    rows = [["a", "x", 0.2], ["b", "x", 0.5], ["c", "x", 1], ["d", "x", 0]]
    one = table(tmp_path / "one.csv", ATTACKS, rows)
    assert read_attacks(one, one).before.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([["a", "x", "hit"]], "don't hold the same attacks: `b`"),
        ([["a", "x", "hit"], ["b", "y", "safe"]], "category `x` in"),
        (
            [["a", "x", "hit"], ["b", "x", "true"]],
            "outcome True must be one of|outcome 'true' must",
        ),
        ([["a", "x", "hit"], ["b", "x", "7"]], "must be one of"),
        ([["a", "x", "hit"], ["b", "x", "hit"], ["b", "y", "hit"]], "stands in the categories"),
        ([["a", "x", "hit"], [" ", "x", "hit"]], "is empty"),
    ],
)
def test_files_that_can_t_be_paired_are_refused(
    tmp_path: Path, after: list[list[object]], words: str
) -> None:
    """Missing attacks, other categories, unclear outcomes: the row is named."""
    one = table(tmp_path / "one.csv", ATTACKS, [["a", "x", "hit"], ["b", "x", "safe"]])
    with pytest.raises(DataError, match=words):
        read_attacks(one, table(tmp_path / "two.csv", ATTACKS, after))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["a", "block", 1, 1, "x"], ["a", "allow", 1, 1, "x"]], "stands there twice"),
        ([["a", "perhaps", 1, 1, "x"]], "`expected` must be one of block, allow"),
        ([["a", "block", 2, 1, "x"]], "`blocked_before` must be one of"),
        (
            [["a", "block", "", 1, "x"], ["b", "block", 1, 1, "x"]],
            "`blocked_before` must be one of",
        ),
    ],
)
def test_requests_that_can_t_be_judged_are_refused(
    tmp_path: Path, rows: list[list[object]], words: str
) -> None:
    """Repeated requests and unknown words: the row is named."""
    with pytest.raises(DataError, match=words):
        read_guardrail(table(tmp_path / "g.csv", GUARD, rows), ["lang"])
    with pytest.raises(DataError, match="no column `team`"):
        read_guardrail(table(tmp_path / "g.csv", GUARD, rows), ["team"])


@pytest.mark.parametrize("rise", [0.0, 1.0, -0.1])
def test_margins_that_allow_nothing_or_all_are_refused(rise: float) -> None:
    """A margin lies between 0 and 1."""
    with pytest.raises(UsageError, match="between 0 and 1"):
        Margins({"attack_success": rise})


def test_an_unknown_gate_is_refused(tmp_path: Path) -> None:
    """A group that no row belongs to can't gate; nothing is spent."""
    with pytest.raises(UsageError, match=r"no row belongs to the group `lang=z`"):
        certify(tmp_path, guard_rows(), Margins(BOTH, gating=("lang=z",)))
    assert not Ledger.at(tmp_path / "ledger").exists


def test_a_group_holds_by_its_rows_only(tmp_path: Path) -> None:
    """A gate without rows of one metric is refused unspent; without gates it is noted."""
    rows = [row for row in guard_rows(2400) if row[4] == "a" or row[1] == "block"]
    with pytest.raises(UsageError, match=r"nothing can be shown about false_blocks of `lang=b`"):
        certify(tmp_path, rows, Margins(BOTH, gating=("lang=b",)))
    assert not Ledger.at(tmp_path / "ledger").exists
    found = certify(tmp_path, rows, Margins(BOTH))
    assert found.notes == ("Nothing is claimed about false_blocks of lang=b: no such request.",)


def test_a_certificate_is_not_replaced(tmp_path: Path) -> None:
    """A folder that holds one is refused before the look, and the certificate stays."""
    certify(tmp_path, guard_rows(), Margins(BOTH))
    before = (tmp_path / "g" / "certificate.json").read_bytes()
    others = [[f"other {row[0]}", *row[1:]] for row in guard_rows()]
    with pytest.raises(UsageError, match="another --out"):
        certify(tmp_path, others, Margins(BOTH))
    assert (tmp_path / "g" / "certificate.json").read_bytes() == before
    assert len([e for e in Ledger.at(tmp_path / "ledger").entries() if e.kind == "look"]) == 1


def test_a_text_of_a_run_is_known_with_its_white_space(tmp_path: Path) -> None:
    """A run digests a text as its file holds it; so must the ledger know it again here."""
    rows = [[f"a request  with two spaces {row[0]}", *row[1:]] for row in guard_rows()]
    column = np.array([str(row[0]) for row in rows], dtype=object)
    seen = raw_digests(Example({"text": column}, len(rows)), ("text",), np.arange(len(rows)))
    assert all(seen)
    Ledger.at(tmp_path / "ledger").charge(Charge("c" * 64, "d" * 64, "o" * 64, 0.05, row_set(seen)))
    with pytest.raises(SealRefused, match="spent by an earlier look"):
        certify(tmp_path, rows, Margins(BOTH))


def test_false_certificates_are_as_rare_as_promised(tmp_path: Path) -> None:
    """A guardrail that truly misses 2 % more than before is certified at 2 % at most 5 % of the time.

    2,000 seeded draws through the product's own judgement; 5 % and 3 standard errors are 6.5 %.
    """
    from jettison.statistics.verdicts import binary_verdict

    rng = np.random.default_rng(5)
    runs, n, lost, won = 2000, 600, 0.03, 0.01
    tables = rng.multinomial(n, [lost, won, 1 - lost - won], size=runs)
    distinct, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    false = sum(
        int(count)
        for (b, c), count in zip(distinct.tolist(), counts.tolist(), strict=True)
        if binary_verdict(b, c, n, 0.02) == "held"
    )
    assert false / runs <= 0.065
    assert false > 0


def together(rows: list[list[object]], size: int) -> list[list[object]]:
    """The same rows with a conversation beside each: `size` rows to block, or to allow, in one."""
    seen: dict[object, int] = {}
    told = []
    for row in rows:
        seen[row[1]] = seen.get(row[1], -1) + 1
        told.append([*row, f"{row[1]}-{seen[row[1]] // size}"])
    return told


def by_unit(tmp_path: Path, rows: list[list[object]], name: str, unit: str) -> PairedCertificate:
    path = table(tmp_path / f"{name}.csv", GUARD + ",talk", rows)
    book = str(tmp_path / f"ledger-{name}")
    return certify_guardrail(path, [], Margins(BOTH), tmp_path / name, book, unit)


def test_rows_of_one_conversation_count_once(tmp_path: Path) -> None:
    """Harm that comes in whole conversations gives a wider bound than rows that stand alone."""
    rows = together(guard_rows(4800), 4)
    for row in rows:
        if row[5] in ("block-3", "block-70"):
            row[3] = 0
    alone = by_unit(tmp_path, rows, "alone", "")
    units = by_unit(tmp_path, rows, "talk", "talk")
    missed = [c for found in (alone, units) for c in found.claims if c.metric == "missed_blocks"]
    assert missed[0].estimate == pytest.approx(missed[1].estimate)
    assert missed[1].bound > missed[0].bound
    assert (missed[0].grade, missed[1].grade) == ("A", "B")
    assert "each unit counts once" in units.assumptions[-1]
    kept = load_outcomes(tmp_path / "talk" / "missed_blocks.npz")
    assert kept.units is not None
    assert len(np.unique(kept.units)) == 600
    assert judge_candidate(kept, "after").claims == tuple(missed[1:])


def test_many_rows_of_few_conversations_are_too_few(tmp_path: Path) -> None:
    """600 rows to block in 20 conversations are 20 units; refused before the look."""
    with pytest.raises(SealRefused, match=r"20 units; a margin of 0\.02 needs at least 300"):
        by_unit(tmp_path, together(guard_rows(1200), 30), "talk", "talk")
    assert not list((tmp_path / "ledger-talk").glob("*"))


def test_attacks_keep_together_what_belongs_together(tmp_path: Path) -> None:
    """Variants of one attack are a unit, the same in both files; an empty cell is refused."""
    head = ATTACKS + ",family"
    rows = [[f"attack {i}", "dan", "safe", f"f{i // 2}"] for i in range(1000)]
    one = table(tmp_path / "one.csv", head, rows)
    found = read_attacks(one, one, "family")
    assert found.units is not None
    assert found.units[:4].tolist() == ["f0", "f0", "f1", "f1"]
    margins = Margins({"attack_success": 0.02})
    held = certify_red_team(one, one, margins, tmp_path / "c", str(tmp_path / "ledger"), "family")
    assert held.verdict == "held"
    assert held.claims[0].grade == "B"
    moved = table(tmp_path / "moved.csv", head, [*rows[:-1], [*rows[-1][:3], "other"]])
    with pytest.raises(DataError, match=r"belongs to `f499` in .* and to `other`"):
        read_attacks(one, moved, "family")
    empty = table(tmp_path / "empty.csv", head, [*rows[:-1], [*rows[-1][:3], ""]])
    with pytest.raises(DataError, match="row 999: `family` is empty"):
        read_attacks(empty, empty, "family")
    with pytest.raises(DataError, match="no column `talk`"):
        read_attacks(one, one, "talk")
