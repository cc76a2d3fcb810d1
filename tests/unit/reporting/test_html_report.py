"""The report as a page: what it shows, where its numbers come from, what it can't do."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import records

from jettison.domain.record import to_plain
from jettison.domain.run import RunRecord
from jettison.reporting import tables
from jettison.reporting.comparison import every_trial
from jettison.reporting.html_report import render_report

LOADING = {
    "src",
    "href",
    "action",
    "data",
    "poster",
    "srcset",
    "formaction",
    "background",
    "xlink:href",
}


class Page(HTMLParser):
    """What a browser would see: tags, attributes, visible text, and the insides of scripts."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.text: list[str] = []
        self.inside = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.tags.append((tag, named))
        if tag in {"script", "style"}:
            self.inside = tag
            if tag == "script":
                self.scripts.append((named, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self.inside:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def figures(self) -> dict[str, Any]:
        return {
            attributes["id"].removeprefix("data-"): json.loads(text)
            for attributes, text in self.scripts
            if attributes.get("type") == "application/json"
        }


def numbers_in(value: Any) -> Iterator[float]:
    """Every number of a plain structure, text aside."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers_in(item)


def known_numbers(record: RunRecord) -> list[float]:
    """The numbers of a record, and those that follow from them by the rules of the report."""
    raw = list(numbers_in(to_plain(record)))
    original = record.model.artifact.size_bytes
    derived = [row.size_ratio for row in every_trial(record) if row.size_ratio is not None]
    derived += [row.quality.value for row in every_trial(record) if row.quality is not None]
    derived += [advice.potential.speedup for advice in record.space.advice]
    derived += [1 - stage.share for stage in record.profile.stages]
    derived += [sum(record.stage_seconds.values()), original / 1e6]
    return raw + derived


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_the_answer_and_the_way_to_repeat_it_are_shown(name: str) -> None:
    """Whatever the outcome, the page shows the answer, the next step, the command and the machine."""
    record = records.EVERY_RECORD[name]()
    words = Page(render_report(record)).words
    for text in (record.answer, record.next_step, record.command, record.profile.device.cpu):
        assert " ".join(text.split()) in words


def test_words_lead_to_their_cards() -> None:
    """The list of words says where each is explained further."""
    words = Page(render_report(records.improved())).words
    assert "jettison explain WORD" in words.partition(" Words ")[2]


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_nothing_is_loaded_from_anywhere(name: str) -> None:
    """No attribute that loads or leads away names anything but the page itself and data."""
    page = Page(render_report(records.EVERY_RECORD[name]()))
    for tag, attributes in page.tags:
        for key in LOADING & set(attributes):
            assert re.match(r"^(#|data:|data-)", attributes[key]), (tag, key, attributes[key])
        assert not [key for key in attributes if key.startswith("on")], (tag, attributes)
    assert not {"iframe", "object", "embed", "base", "form", "img"} & {tag for tag, _ in page.tags}


def test_the_policy_allows_our_two_scripts_alone() -> None:
    """The security policy forbids everything, connections too, but the hashes of our scripts."""
    page = Page(render_report(records.improved()))
    policy = next(
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    ours = next(text for attributes, text in page.scripts if not attributes)
    packed = next(text for attributes, text in page.scripts if attributes.get("id") == "plotly")
    plotly = gzip.decompress(base64.b64decode(packed))
    hashes = {
        base64.b64encode(hashlib.sha256(script).digest()).decode()
        for script in (ours.encode(), plotly)
    }
    assert allowed == hashes
    assert "unsafe-eval" not in policy


def test_hostile_names_stay_text() -> None:
    """Names from a user's files make no tag, no script, no attribute and no template."""
    page = Page(render_report(records.hostile()))
    kinds = [a.get("type", "") for t, a in page.tags if t == "script"]
    assert sorted(kinds) == ["", *["application/json"] * 5, "text/plain"]
    assert records.SCRIPT in page.words
    assert "{{ 7*777 }}" in page.words
    assert "5439" not in page.words
    for figure in page.figures().values():
        for text in re.findall(r'"([^"]*)"', json.dumps(figure)):
            assert "<script" not in text
            assert "<img" not in text


def test_the_data_blocks_can_not_be_left() -> None:
    """No `</script` and no `<!--` from a name stands inside a data block."""
    source = render_report(records.hostile())
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', source, re.S):
        assert "<" not in block
        json.loads(block)


@pytest.mark.parametrize("name", ["improved", "nothing_better", "many_groups"])
def test_every_number_of_a_plot_is_in_the_record(name: str) -> None:
    """Positions and error bars are figures of the record, scaled to percent or MB at most."""
    record = records.EVERY_RECORD[name]()
    known = known_numbers(record)
    pool = {
        round(sign * value * scale, 6)
        for value in known
        for scale in (1, 100, 1e-6)
        for sign in (1, -1)
    }
    bytes_held = sum(layer.bytes for layer in record.profile.layers)
    pool |= {round(layer.bytes / bytes_held * 100, 6) for layer in record.profile.layers}
    for figure in Page(render_report(record)).figures().values():
        for trace in figure["data"]:
            ends = [trace["x"], trace["y"]]
            for axis in ("x", "y"):
                bars = trace.get(f"error_{axis}")
                if bars:
                    ends.append([v + e for v, e in zip(trace[axis], bars["array"], strict=True)])
                    ends.append(
                        [v - e for v, e in zip(trace[axis], bars["arrayminus"], strict=True)]
                    )
            for value in numbers_in(ends):
                assert round(value, 6) in pool, (trace["name"], value)


def test_every_number_of_a_table_is_in_the_record() -> None:
    """Each number in a table is one of the record, rounded as it is printed."""
    record = records.improved()
    scales = (1, 100, 1e-3, 1e-6, 1e-9, 1 / 60)
    pool = [abs(value * scale) for value in known_numbers(record) for scale in scales]
    text = json.dumps(to_plain(record), ensure_ascii=False)
    source = render_report(record)
    checked = 0
    for cell in re.findall(r'<td class="number[^"]*">(.*?)</td>', source, re.S):
        words = re.sub(r"<[^>]+>", " ", cell).replace("95 %", "")
        for token in re.findall(r"\d[\d,]*\.?\d*", words):
            number = float(token.replace(",", ""))
            digits = len(token.partition(".")[2])
            found = any(abs(round(value, digits) - number) < 10**-digits / 2 for value in pool)
            assert found or token in text, (token, words)
            checked += 1
    assert checked > 100


def test_the_numbers_of_what_ships() -> None:
    """The figures at the top are the ones of the record, with interval, n and unit."""
    words = Page(render_report(records.improved())).words
    assert "1.54× faster 1.50× to 1.58×, n = 5 launches; the original: 11.9 ms" in words
    assert "0.37× 3.14 MB → 1.16 MB" in words
    assert "+0.24 points at worst −0.13 points, sealed rows, n = 4,016" in words


def test_a_negative_result_is_as_clear() -> None:
    """Where nothing beat the original, the page says so, and what the closest one lacked."""
    words = Page(render_report(records.nothing_better())).words
    assert "✗ Nothing beat the original" in words
    assert "Keep the original." in words
    assert "Not certified: it was tested and failed. No member of the shortlist was held." in words


@pytest.mark.parametrize("name", ["undecided", "without_data", "interrupted", "all_failed"])
def test_an_uncertified_result_says_so(name: str) -> None:
    """Where the seal stayed closed, the page makes no statement about quality."""
    record = records.EVERY_RECORD[name]()
    words = Page(render_report(record)).words
    assert "Not certified: it was not tested." in words
    assert "No statement about quality is made." in words
    assert record.certificate.reason in words
    assert "forest" not in Page(render_report(record)).figures()


def test_refusals_predictions_and_ledger_are_shown() -> None:
    """The page shows what was refused and why, each prediction, and where the look was recorded."""
    record = records.improved()
    words = Page(render_report(record)).words
    assert record.certificate.ledger is not None
    for text in (
        "The graph holds no attention.",
        "81 % of the time is Conv, which int8 runs up to 4x faster.",
        record.certificate.ledger.entry,
        "onnxruntime 1.32.0",
        "113 exact copies dropped",
    ):
        assert text in words


def test_every_table_is_readable_without_scripts() -> None:
    """All tables have a caption and headings, and hold their rows in the page itself."""
    page = Page(render_report(records.many_groups()))
    counted = [tag for tag, _ in page.tags]
    assert counted.count("table") == counted.count("caption") >= 8
    assert "type=a-rather-long-file-type-name-059" in page.words


def test_the_same_record_gives_the_same_page() -> None:
    """Rendering twice gives the same bytes."""
    assert render_report(records.improved()) == render_report(records.improved())


def test_a_report_stays_small() -> None:
    """A report takes less than half of what plotly's script alone would."""
    assert len(render_report(records.improved()).encode()) < 2_400_000


def test_two_metrics_are_not_drawn_on_one_axis() -> None:
    """The plot of the groups shows one metric; the table has the others."""
    record = records.improved()
    other = dataclasses.replace(records.CLAIMS[0], metric="nll", margin=0.02, estimate=0.004)
    certificate = dataclasses.replace(record.certificate, claims=(*records.CLAIMS, other))
    page = Page(render_report(dataclasses.replace(record, certificate=certificate)))
    drawn = [len(trace["x"]) for trace in page.figures()["forest"]["data"]]
    assert sum(drawn) == 2 * len(records.CLAIMS)
    assert "The table below also has nll." in page.words


def test_a_loss_is_told_as_a_loss() -> None:
    """A candidate that is slower is never called some number of times faster."""
    record = records.improved()
    trials = record.trials[:1]
    record = dataclasses.replace(
        record, outcome="nothing_better", trials=trials, claims={}, shipped="", front=()
    )
    words = Page(render_report(record)).words
    assert "(2.78× slower)" in words
    assert "0.36× faster" not in words


def test_links_inside_the_page_lead_somewhere() -> None:
    """Each section that the page links to exists."""
    page = Page(render_report(records.improved()))
    ids = {a["id"] for _, a in page.tags if "id" in a}
    links = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert links
    assert links <= ids


def test_no_p_value_stands_beside_too_few_rows() -> None:
    """Below the floor a small p-value is no evidence; an honest doubt keeps its own."""
    found = records.improved().certificate.claims[0]
    few = dataclasses.replace(found, verdict="undecided", bound=1.0, p_value=1e-9)
    assert tables.claim_p_text(few) == "–"
    assert tables.claim_p_text(dataclasses.replace(few, p_value=0.3)) == "0.3000"
    assert tables.claim_p_text(dataclasses.replace(found, p_value=1e-9)) == "< 0.0001"


def test_no_noise_floor_is_told_where_no_time_was_compared() -> None:
    """A run that minimises bytes alone knows nothing of times; 0 % would be a claim about them."""
    assert "Two copies of the original differ by up to 1.8 % here" in render_report(
        records.improved()
    )
    silent = dataclasses.replace(records.improved(), noise_floor=0.0)
    assert "Two copies of the original differ" not in render_report(silent)
