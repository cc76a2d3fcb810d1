"""Serves the page until every row has a label, or the person stops it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from jettison.assessment.label_files import read_answers, write_answers
from jettison.errors import UsageError
from jettison.serving.labelling_page.handler import handler_of

LOOPBACK = "127.0.0.1"


class Row(Protocol):
    """One row to be labelled: its number, what a person reads, and pictures."""

    @property
    def row(self) -> int: ...
    @property
    def values(self) -> Mapping[str, str]: ...
    @property
    def pictures(self) -> Mapping[str, bytes]: ...


class Desk:
    """What is asked and answered so far; each answer is on disk before it is confirmed.

    Attributes:
        token: part of every address, so that other users of this machine can't read the rows.
        done: set when every row has a label.
    """

    def __init__(self, rows: Sequence[Row], classes: Sequence[str], path: Path) -> None:
        self.rows, self.classes, self.path = tuple(rows), tuple(classes), path
        self.token = secrets.token_urlsafe(16)
        self.done = threading.Event()
        self._lock = threading.Lock()
        asked = [row.row for row in rows]
        known = read_answers(path, asked, complete=False) if path.exists() else {}
        self.answers = {row: known[row] for row in asked if row in known}
        self._settle()

    def answer(self, row: int, label: str) -> int:
        """Keeps one answer (an empty one takes it back); gives how many rows have one.

        Raises:
            UsageError: for a row or a label that does not exist.
        """
        if all(row != one.row for one in self.rows):
            raise UsageError(f"row {row} was not asked for")
        if label and label not in self.classes:
            raise UsageError(f"{label!r} is none of the labels")
        with self._lock:
            changed = {**self.answers, row: label}
            kept = {one.row: changed[one.row] for one in self.rows if changed.get(one.row)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_answers(kept, self.path)
            self.answers = kept
        return len(kept)

    def finish(self) -> bool:
        """Ends the labelling, if every row has a label; says whether it did."""
        self._settle()
        return self.done.is_set()

    def _settle(self) -> None:
        if self.rows and len(self.answers) == len(self.rows):
            self.done.set()


def ask(rows: Sequence[Row], classes: Sequence[str], path: Path, port: int = 0) -> bool:
    """Serves the page on this machine only; returns whether every row has a label.

    Args:
        rows: in the order in which they are asked.
        classes: the labels to choose from.
        path: of the answers; those that are there already are kept.
        port: to listen on; 0 for any that is free.

    Raises:
        UsageError: if the port is taken.
        DataError: if the answers that are there can't be used.
    """
    desk = Desk(rows, classes, path)
    if desk.done.is_set():
        return True
    server = open_server(desk, port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    print(f"labelling page: {address(server, desk)}", flush=True)
    print(
        f"{len(desk.answers)} of {len(rows)} have a label; Ctrl-C stops, and keeps them", flush=True
    )
    try:
        desk.done.wait()
    except KeyboardInterrupt:
        print(f"stopped; {len(desk.answers)} of {len(rows)} labels are in {path}", flush=True)
    finally:
        server.shutdown()
        server.server_close()
    return desk.done.is_set()


def open_server(desk: Desk, port: int = 0) -> ThreadingHTTPServer:
    """Binds the loopback address; not yet serving.

    Raises:
        UsageError: if the port can't be had.
    """
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler_of(desk))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"port {port} of {LOOPBACK} can't be used ({error}); give another with --port"
        ) from error


def address(server: ThreadingHTTPServer, desk: Desk) -> str:
    """The address of the page, with its token."""
    return f"http://{LOOPBACK}:{server.server_address[1]}/{desk.token}/"
