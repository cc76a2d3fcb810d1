"""Requests of the labelling page: the page, the rows, one answer at a time."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from jettison.errors import UsageError

LARGEST_BODY = 4096
_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)


class Answering(Protocol):
    """What is asked and answered so far."""

    token: str
    rows: Any
    classes: tuple[str, ...]
    answers: dict[int, str]

    def answer(self, row: int, label: str) -> int: ...
    def finish(self) -> bool: ...


def handler_of(desk: Answering) -> type[BaseHTTPRequestHandler]:
    """Makes the handler of one labelling."""
    return type("Handler", (LabellingHandler,), {"desk": desk})


class LabellingHandler(BaseHTTPRequestHandler):
    """Answers only under the token, and only to pages of this address."""

    desk: Answering

    def do_GET(self) -> None:
        """The page, its style and script, and the rows."""
        name = self._name()
        if name is None:
            return
        if name == "rows":
            self._json(200, _rows(self.desk))
        elif (name or "page.html") in _TYPES:
            file = name or "page.html"
            body = (resources.files(__package__) / "files" / file).read_bytes()
            self._send(200, body, _TYPES[file])
        else:
            self._json(404, {"error": "there is no such page"})

    def do_POST(self) -> None:
        """One answer, or the end."""
        name = self._name()
        if name is None:
            return
        given = self._body()
        if given is None:
            return
        if name == "finish":
            self._json(200, {"finished": self.desk.finish()})
            return
        try:
            done = self.desk.answer(int(given["row"]), str(given["label"]))
        except (UsageError, KeyError, ValueError, TypeError, OverflowError) as error:
            self._json(400, {"error": str(error)})
        except OSError as error:
            self._json(507, {"error": f"the answer could not be saved: {error}"})
        else:
            self._json(200, {"done": done})

    def _name(self) -> str | None:
        """What is asked for under the token; answers itself where that is not allowed."""
        host = "{}:{}".format(*cast(tuple[str, int], self.server.server_address))
        origin = self.headers.get("origin")
        # Another site that makes its name lead here sends its own name as host.
        if self.headers.get("host") != host or origin not in (None, f"http://{host}"):
            self._refuse()
            return None
        parts = urlsplit(self.path).path.split("/", 2)
        if len(parts) != 3 or parts[1] != self.desk.token:
            self._refuse()
            return None
        return parts[2]

    def _body(self) -> dict[str, Any] | None:
        try:
            size = int(self.headers.get("content-length", "0"))
            if not 0 <= size <= LARGEST_BODY or "json" not in self.headers.get("content-type", ""):
                raise ValueError("an answer is a small JSON object")
            given = json.loads(self.rfile.read(size))
            if not isinstance(given, dict):
                raise ValueError("an answer is a small JSON object")
        except ValueError as error:
            self._json(400, {"error": str(error)})
            return None
        return given

    def _refuse(self) -> None:
        self._json(403, {"error": "open the address that jettison printed"})

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS:
            self.send_header(name, value)
        self.send_header("content-type", f"{kind}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing: what a person reads here is private."""


def _rows(desk: Answering) -> dict[str, Any]:
    return {
        "classes": desk.classes,
        "rows": [
            {
                "row": row.row,
                "values": {n: v for n, v in row.values.items() if n not in row.pictures},
                "pictures": {n: _data_url(p) for n, p in row.pictures.items()},
                "label": desk.answers.get(row.row, ""),
            }
            for row in desk.rows
        ],
    }


def _data_url(picture: bytes) -> str:
    return f"data:image/*;base64,{base64.b64encode(picture).decode()}"
