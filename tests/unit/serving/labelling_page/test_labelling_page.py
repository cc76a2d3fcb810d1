"""The labelling page: on this machine only, under its token, each answer on disk at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.assessment.label_files import Task, read_answers
from jettison.errors import UsageError
from jettison.serving.labelling_page.asking import Desk, address, ask, open_server

ROWS = (Task(7, {"text": "<b>good</b>"}), Task(3, {"text": "bad"}))
CLASSES = ("negative", "positive")


class Page:
    """A running page and a client of it."""

    def __init__(self, path: Path) -> None:
        self.desk = Desk(ROWS, CLASSES, path)
        self.server = open_server(self.desk)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(
        self, method: str, name: str, body: Any = None, token: str = "", **headers: str
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        """One request."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = None if body is None else json.dumps(body)
        kind = {"content-type": "application/json"} if body is not None else {}
        path = f"/{token or self.desk.token}/{name}"
        with contextlib.closing(client):
            client.request(method, path, sent, kind | headers)
            answer = client.getresponse()
            return answer.status, answer.read(), answer


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page with two rows and no answer yet."""
    made = Page(tmp_path / "answers.csv")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_answer_is_on_disk_before_it_is_confirmed(page: Page) -> None:
    """And can be changed, and taken back."""
    assert page.ask("POST", "answer", {"row": 3, "label": "positive"})[:2] == (200, b'{"done": 1}')
    assert read_answers(page.desk.path, [7, 3], complete=False) == {3: "positive"}
    page.ask("POST", "answer", {"row": 3, "label": "negative"})
    assert read_answers(page.desk.path, [7, 3], complete=False) == {3: "negative"}
    page.ask("POST", "answer", {"row": 3, "label": ""})
    assert read_answers(page.desk.path, [7, 3], complete=False) == {}


def test_it_ends_only_when_every_row_has_a_label(page: Page) -> None:
    """Asking to finish early changes nothing."""
    assert json.loads(page.ask("POST", "finish", {})[1]) == {"finished": False}
    page.ask("POST", "answer", {"row": 3, "label": "positive"})
    page.ask("POST", "answer", {"row": 7, "label": "positive"})
    assert not page.desk.done.is_set()
    assert json.loads(page.ask("POST", "finish", {})[1]) == {"finished": True}
    assert page.desk.done.is_set()


def test_it_goes_on_where_it_stopped(page: Page) -> None:
    """A second start knows the answers of the first."""
    page.ask("POST", "answer", {"row": 3, "label": "positive"})
    again = Desk(ROWS, CLASSES, page.desk.path)
    assert again.answers == {3: "positive"}
    page.ask("POST", "answer", {"row": 7, "label": "positive"})
    assert ask(ROWS, CLASSES, page.desk.path)


def test_the_rows_are_blind(page: Page) -> None:
    """A row is its number, its values and the person's own label; nothing of any model."""
    told = json.loads(page.ask("GET", "rows")[1])
    assert set(told) == {"classes", "rows"}
    assert {name for row in told["rows"] for name in row} == {"row", "values", "pictures", "label"}


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"host": "evil.example:80"}, ""),
        ({"origin": "https://evil.example"}, ""),
        ({}, "guessed"),
    ],
)
def test_others_are_refused(page: Page, headers: dict[str, str], token: str) -> None:
    """Another host name, another site and another token read and change nothing."""
    status, body, _ = page.ask("GET", "rows", token=token, **headers)
    assert status == 403
    assert b"good" not in body
    status, _, _ = page.ask("POST", "answer", {"row": 3, "label": "positive"}, token, **headers)
    assert status == 403
    assert not page.desk.answers


@pytest.mark.parametrize(
    "body",
    [{"row": 4, "label": "positive"}, {"row": 3, "label": "great"}, {"row": 3}, [], {"row": "x"}],
)
def test_answers_that_cannot_be_are_refused(page: Page, body: Any) -> None:
    """A row or a label that was not asked for, or no answer at all."""
    assert page.ask("POST", "answer", body)[0] == 400
    assert not page.desk.answers


def test_the_page_allows_no_foreign_script(page: Page) -> None:
    """Its policy lets in its own files alone, and each of them is there."""
    status, body, answer = page.ask("GET", "")
    assert status == 200
    assert b"<script src=" in body
    assert "default-src 'none'" in str(answer.getheader("content-security-policy"))
    assert page.ask("GET", "page.js")[0] == 200
    assert page.ask("GET", "page.css")[0] == 200
    assert page.ask("GET", "../../secret")[0] == 404
    assert address(page.server, page.desk).startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_refused(page: Page) -> None:
    """With the way out."""
    with pytest.raises(UsageError, match="--port"):
        open_server(page.desk, page.port)


def test_a_length_below_nothing_is_refused(page: Page) -> None:
    """It would be read until the caller hangs up."""
    status, told, _ = page.ask("POST", "answer", {"row": 3}, **{"content-length": "-1"})
    assert status == 400
    assert b"small JSON object" in told
