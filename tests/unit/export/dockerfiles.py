"""A reader of Dockerfiles for tests: instructions, exec forms and what the context holds."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path

INSTRUCTIONS = frozenset(
    [
        "FROM",
        "LABEL",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ]
)


@dataclass(frozen=True)
class Instruction:
    """One instruction with its argument, continuation lines joined."""

    name: str
    argument: str

    @property
    def words(self) -> list[str]:
        """The argument in exec form (a JSON list of texts)."""
        words = json.loads(self.argument)
        if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
            raise ValueError(f"{self.name} is not in exec form: {self.argument}")
        return words


def read_dockerfile(text: str) -> list[Instruction]:
    """Reads a Dockerfile as docker does: comments, continuation lines, instructions.

    Raises:
        ValueError: for an unknown instruction, an empty one, or a dangling continuation.
    """
    found: list[Instruction] = []
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or (not pending and not line.strip()):
            continue
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        name, _, argument = pending.partition(" ")
        if name not in INSTRUCTIONS or not argument.strip():
            raise ValueError(f"not an instruction: {pending}")
        found.append(Instruction(name, argument.strip()))
        pending = ""
    if pending:
        raise ValueError(f"the last line goes on: {pending}")
    if not found or found[0].name != "FROM":
        raise ValueError("the first instruction must be FROM")
    return found


def one(instructions: list[Instruction], name: str) -> Instruction:
    """The only instruction of a name."""
    (found,) = [i for i in instructions if i.name == name]
    return found


def in_context(folder: Path) -> set[str]:
    """Files that docker sends to the build: the last rule of .dockerignore that fits decides."""
    rules = (folder / ".dockerignore").read_text().split()
    sent: set[str] = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        ignored = False
        for rule in rules:
            pattern = rule.lstrip("!").replace("**", "*")
            whole = pattern == "*" or fnmatch.fnmatch(name, pattern)
            if whole:
                ignored = not rule.startswith("!")
        if path.is_file() and not ignored:
            sent.add(name)
    return sent
