"""The documentation is complete, and its commands exist."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import pytest
from typer.main import get_command

from jettison import errors, registry
from jettison.cli import app
from jettison.domain.traits import TRAITS
from jettison.serving.sources import Beside, parse_sources

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def commands() -> dict[str, set[str]]:
    """Each command with its options."""
    group = get_command(app)
    return {
        name: {opt for parameter in command.params for opt in parameter.opts}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def shell_blocks(text: str) -> list[str]:
    """The code blocks of a page that a person would type."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [block for language, block in fenced if language in ("", "bash", "console", "sh")]


def test_every_command_has_a_section() -> None:
    """docs/commands.md has a heading for each command, and none for another."""
    headings = set(re.findall(r"^## jettison ([\w-]+)$", (DOCS / "commands.md").read_text(), re.M))
    assert headings == set(commands())


def test_every_error_has_a_line() -> None:
    """docs/errors.md explains each exception class."""
    explained = set(re.findall(r"^\| `(\w+)`", (DOCS / "errors.md").read_text(), re.M))
    assert explained == set(errors.__all__)


def test_every_trait_is_in_the_glossary() -> None:
    """The glossary shows each trait with its sentence."""
    text = (DOCS / "glossary.md").read_text()
    for name, sentence in TRAITS.items():
        assert f"| `{name}` | {sentence} |" in text


def test_every_technique_is_explained() -> None:
    """docs/techniques.md has a heading for each technique of ours."""
    ours = {n for n, package in registry.packages("techniques").items() if package == "jettison"}
    headings = set(re.findall(r"^## `(\w+)`", (DOCS / "techniques.md").read_text(), re.M))
    assert headings == ours


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_in_the_documentation_exist(page: Path) -> None:
    """Each `jettison ...` line in a code block names a command and options that exist."""
    known = commands()
    for block in shell_blocks(page.read_text()):
        for line in re.findall(r"^(?:\$ )?jettison (.+)$", block.replace("\\\n", " "), re.M):
            words = shlex.split(line.partition("#")[0])
            assert words[0] in known, f"{page.name}: jettison {line}"
            for word in words[1:]:
                if word.startswith("--"):
                    assert word.partition("=")[0] in known[words[0]], f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page names a file that exists."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_results_page_is_current() -> None:
    """docs/results.md shows what lies in benchmarks/results."""
    from docs.generate import results_page

    assert (DOCS / "results.md").read_text() == results_page()


def test_every_stored_result_is_shown() -> None:
    """No result lies in benchmarks/results without a section; each section names a script that exists."""
    from docs.generate import OWN_PAGES, TITLES, script

    stored = {path.stem for path in (ROOT / "benchmarks/results").glob("*.json")}
    assert stored - OWN_PAGES <= set(TITLES)
    for name in stored - OWN_PAGES:
        assert (ROOT / f"benchmarks/{script(name)}.py").exists(), name


def test_the_page_of_claims_is_current() -> None:
    """docs/claims.md shows what lies in benchmarks/results/claims.json, for every claim."""
    from docs.generate import claims_page
    from jettison.claims.catalogue import load_claims

    text = (DOCS / "claims.md").read_text()
    assert text == claims_page()
    for claim in load_claims():
        assert f"## {claim.phrase}\n" in text


@pytest.mark.parametrize("name", ["foreign-graphs", "cpu-frontier"])
def test_the_pages_of_one_result_are_current(name: str) -> None:
    """docs/foreign-graphs.md and docs/cpu-frontier.md show what is stored."""
    from docs import cpu_tables, foreign_tables

    tables = {"foreign-graphs": foreign_tables, "cpu-frontier": cpu_tables}[name]
    assert (DOCS / f"{name}.md").read_text() == tables.page()


@pytest.mark.parametrize("name", ["foreign_graphs", "cpu_frontier-vnni"])
def test_results_with_a_page_of_their_own_are_stored(name: str) -> None:
    """A page that is current with nothing shows nothing."""
    assert (ROOT / f"benchmarks/results/{name}.json").exists()


def stored_rows(file: str) -> list[dict[str, object]]:
    """The rows of a stored result; a case of a claim is one of its claim's id and its condition."""
    stored = json.loads((ROOT / f"benchmarks/results/{file}.json").read_text())
    if "rows" in stored:
        rows: list[dict[str, object]] = stored["rows"]
        return rows
    return [
        {
            "model": answer["claim"]["id"],
            "method": found["condition"],
            "metric": "value",
            "value": found["reading"]["value"],
        }
        for answer in stored["answers"]
        for found in answer["found"]
        if found["reading"]
    ]


def test_figures_on_glossary_cards_are_those_of_stored_results() -> None:
    """Each value on a card is the stored one, rounded as the card says."""
    from jettison.claims.cards import cards

    for card in cards():
        for value in card.values:
            found = [
                row["value"]
                for row in stored_rows(value.file)
                if (row["model"], row["method"], row["metric"])
                == (value.model, value.method, value.metric)
            ]
            assert [value.format.format(one) for one in found] == [value.shown], card.term


def test_glossary_cards_have_a_measured_figure() -> None:
    """All but one: fusion was only measured together with what follows it."""
    from jettison.claims.cards import cards

    assert [card.term for card in cards() if not card.values] == ["transformer fusion"]


def test_every_trap_names_tests_that_exist() -> None:
    """Each line of docs/traps.md names its tests by path; each file of tests/traps is in some line."""
    rows = re.findall(r"^\| (?!trap|---)(.+) \|$", (DOCS / "traps.md").read_text(), re.M)
    assert len(rows) >= 15
    named: set[str] = set()
    for row in rows:
        files = re.findall(r"`([\w/]+\.py)`", row.rpartition(" | ")[2])
        assert files, row
        named |= set(files)
    assert not [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()]
    own = {
        path.relative_to(ROOT / "tests").as_posix() for path in ROOT.glob("tests/traps/test_*.py")
    }
    assert own <= named


@pytest.mark.parametrize("number", range(4))
def test_everyday_snippets_run(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block of docs/everyday-snippets.md runs as it stands."""
    text = (DOCS / "everyday-snippets.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    assert len(blocks) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own quantizer deprecated
        exec(compile(blocks[number], f"snippet {number}", "exec"), {})


def test_every_word_of_the_glossary_can_be_explained() -> None:
    """`jettison explain` knows what docs/glossary.md lists."""
    from jettison.claims import cards

    table = (DOCS / "glossary.md").read_text().partition("\n## Traits")[0]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, re.M)
    words = [word for row in rows if row != "word" for word in row.split(", ")]
    assert len(words) > 50
    for word in words:
        assert cards.find(word).what


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_anchors_lead_somewhere(page: Path) -> None:
    """What follows `#` in a link is a heading of the page that it leads to."""
    prose = re.sub(r"`[^`\n]*`", "", page.read_text())
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", prose):
        text = ((page.parent / target) if target else page).read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.M)
        slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
        assert anchor in slugs, f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != DOCS / "decisions"])
def test_options_in_sentences_exist(page: Path) -> None:
    """An option that a sentence names belongs to a command that the page names."""
    known, text = commands(), page.read_text()
    named = set(re.findall(r"`(?:jettison )?([a-z][a-z-]+)", text))
    named |= set(re.findall(r"\bjettison ([a-z][a-z-]+)", text))
    allowed = {option for name in named & known.keys() for option in known[name]}
    # Other programs have options of their own; they stand in the blocks of the page.
    allowed |= {word for block in shell_blocks(text) for word in block.split()} | OF_SCRIPTS
    for option in re.findall(r"`(?:[a-z ]+ )?(--[a-z][a-z-]+)", text):
        assert option in allowed, f"{page.name}: {option}"


OF_SCRIPTS = {"--joint", "--which", "--precision"}
"""Options of scripts under examples/ and benchmarks/, and of other tools that were measured."""


def test_what_a_server_is_told_is_about_what_it_serves() -> None:
    """Canaries, shadows and originals of each `jettison serve` line belong to a name that it serves."""
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    count = 0
    for page in PAGES:
        for block in shell_blocks(page.read_text()):
            for line in re.findall(r"^jettison serve (.+)$", block.replace("\\\n", " "), re.M):
                words = shlex.split(line.partition(" #")[0])
                given = serve.make_context("serve", words).params
                beside = Beside(
                    given["canary"] or (), given["shadow"] or (), given["original"] or ()
                )
                assert parse_sources(given["bundle"], given["name"], beside), line
                count += 1
    assert count > 10


def test_every_option_of_a_server_is_listed() -> None:
    """The table of docs/serving.md holds each option of `jettison serve`."""
    table = (DOCS / "serving.md").read_text().partition("\n## Options\n")[2]
    listed = set(re.findall(r"`(--[a-z-]+)`", table))
    assert {option for option in commands()["serve"] if option.startswith("--")} <= listed
