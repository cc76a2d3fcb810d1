"""Where each number of a card stands: a short mark in the text, and a place in a file of the bundle.

`[C1](#sources)` behind a sentence leads to the list at the end of the card, which names the file
(`certificate.json` or `run.json`) and the JSON pointers (RFC 6901) of the values behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jettison.domain.certificate import Claim
from jettison.domain.run import RunRecord
from jettison.reporting import markdown
from jettison.reporting.tables import Cell, Column, Table

CERTIFICATE_FILE = "certificate.json"
RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class Source:
    """One place that numbers of the card come from.

    Attributes:
        key: the mark, such as `C1`.
        what: in words.
        file: of the bundle.
        places: JSON pointers in that file.
    """

    key: str
    what: str
    file: str
    places: tuple[str, ...]


class Sources:
    """Collects the places that a card cites, in the order of the text."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, tuple[str, ...]], Source] = {}

    def cite(self, letter: str, what: str, file: str, *places: str) -> markdown.Markdown:
        """Gives the mark of some places; the same places have the same mark."""
        known = self._found.get((file, places))
        if known is None:
            number = 1 + sum(source.key[0] == letter for source in self._found.values())
            known = Source(f"{letter}{number}", what, file, places)
            self._found[file, places] = known
        return markdown.Markdown(f"[{known.key}](#sources)")

    def run(self, letter: str, what: str, *places: str) -> markdown.Markdown:
        """Cites places of `run.json`."""
        return self.cite(letter, what, RUN_FILE, *places)

    def claim(self, claim: Claim, place: str) -> markdown.Markdown:
        """Cites a claim of `certificate.json`."""
        return self.cite("C", f"{claim.metric}, {claim.group}", CERTIFICATE_FILE, place)

    @property
    def listed(self) -> tuple[Source, ...]:
        """Everything that was cited, by mark."""
        return tuple(sorted(self._found.values(), key=lambda s: (s.key[0], int(s.key[1:]))))

    def table(self) -> Table:
        """The list at the end of the card."""
        columns = tuple(Column(name, numeric=False) for name in ("Mark", "What", "File", "Place"))
        rows = tuple(
            (
                Cell(source.key),
                Cell(source.what),
                Cell(markdown.Markdown(f"[{source.file}]({source.file})")),
                Cell(markdown.Markdown(", ".join(markdown.code(p) for p in source.places))),
            )
            for source in self.listed
        )
        return Table("Sources", columns, rows)


def claims_with_places(record: RunRecord) -> Iterator[tuple[Claim, str]]:
    """The claims to show, each with its place in `certificate.json`.

    Those of what ships; where nothing does, those of the last member of the shortlist tested.
    """
    certificate = record.certificate
    if certificate.claims:
        yield from ((c, f"/claims/{i}") for i, c in enumerate(certificate.claims))
        return
    tested = [place for place, member in enumerate(certificate.order) if member.claims]
    for last in tested[-1:]:
        claims = certificate.order[last].claims
        yield from ((c, f"/order/{last}/claims/{i}") for i, c in enumerate(claims))


def pointer(*parts: str | int) -> str:
    """A JSON pointer.

    >>> pointer("claims", "a/a", 0)
    '/claims/a~1a/0'
    """
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in parts)
