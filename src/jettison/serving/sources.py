"""What a server is asked to serve: names, bundles, canaries, shadows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jettison import registry
from jettison.domain import accelerators
from jettison.errors import ConfigError, JettisonError
from jettison.trust import bundle_layout as layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class ServedSource:
    """One name, and where its versions come from.

    Attributes:
        name: that callers ask for.
        folder: of the bundle.
        canary: folder of a second bundle that gets a share of the requests; empty for none.
        canary_weight: that share, above 0 and below 1.
        shadow: folder of a bundle that answers too, unseen; empty for none.
        original: model file or folder that the bundle was made from, as the shadow; or empty.
    """

    name: str
    folder: Path
    canary: str = ""
    canary_weight: float = 0.0
    shadow: str = ""
    original: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """What `--canary`, `--shadow` and `--original` said, each as it was typed."""

    canaries: Sequence[str] = field(default=())
    shadows: Sequence[str] = field(default=())
    originals: Sequence[str] = field(default=())


def parse_sources(given: Sequence[str], name: str, beside: Beside) -> tuple[ServedSource, ...]:
    """Reads `FOLDER` or `NAME=FOLDER` items and what goes with them.

    Args:
        given: bundles; a lone folder is named by `name`, or by the folder.
        name: for the only bundle; empty to take the folder's.
        beside: `NAME=FOLDER:WEIGHT` for canaries, `NAME=PATH` for shadows and originals; the name
            may be left out where one bundle is served.

    Raises:
        ConfigError: with every mistake.
    """
    problems: list[str] = []
    folders: dict[str, Path] = {}
    if name and len(given) != 1:
        problems.append(f"--name is for one bundle, but {len(given)} are given: use NAME=FOLDER")
    for item in given:
        told, folder = _pair(item)
        chosen = told or name or folder.resolve().name
        problems += _name_problems(chosen, item)
        if chosen in folders:
            problems.append(
                f"two bundles are called `{chosen}`: use NAME=FOLDER to tell them apart"
            )
        folders[chosen] = folder
    only = next(iter(folders)) if len(folders) == 1 else ""
    canaries = _beside("--canary", beside.canaries, only, folders, problems)
    shadows = _beside("--shadow", beside.shadows, only, folders, problems)
    originals = _beside("--original", beside.originals, only, folders, problems)
    problems += [
        f"`{both}` has a shadow and an original; one of them is enough"
        for both in sorted(shadows.keys() & originals.keys())
    ]
    weighed = {who: _weighed(text, problems) for who, text in canaries.items()}
    if problems:
        raise ConfigError(problems)
    return tuple(
        ServedSource(
            name=who,
            folder=folder,
            canary=weighed[who][0] if who in weighed else "",
            canary_weight=weighed[who][1] if who in weighed else 0.0,
            shadow=shadows.get(who, ""),
            original=originals.get(who, ""),
        )
        for who, folder in folders.items()
    )


def computes_on_gpu(sources: Sequence[ServedSource]) -> bool:
    """Whether a bundle ends in a runtime that computes on a GPU; whatever can't be read does not.

    Bundles are checked when they are loaded. This is asked before, to choose a meter of energy.
    """
    folders = [path for source in sources for path in (source.folder, source.canary, source.shadow)]
    return any(_on_gpu(Path(folder) / layout.MODEL) for folder in folders if folder)


def _on_gpu(path: Path) -> bool:
    try:
        name = json.loads(path.read_bytes())["runtime"]["name"]
        return bool(accelerators.computed_on(registry.get("runtimes", name)))
    except (OSError, ValueError, KeyError, TypeError, JettisonError):
        return False


def key_from_file(path: Path) -> str:
    """Reads the bearer key: the file's text, without the blank space around it.

    Raises:
        ConfigError: if it can't be read, or is too short to be a secret.
    """
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"the key file {path} can't be read: {error}"]) from error
    if len(key) < SHORTEST_KEY or not key.isascii() or any(c.isspace() for c in key):
        raise ConfigError(
            [
                f"the key in {path} must be one word of at least {SHORTEST_KEY} ASCII characters; "
                f"make one with: openssl rand -hex 32 > {path}"
            ]
        )
    return key


def _pair(item: str) -> tuple[str, Path]:
    """Splits `NAME=PATH`; a path that exists as it was typed has no name in it."""
    name, equals, path = item.partition("=")
    if not equals or Path(item).exists():
        return "", Path(item)
    return name, Path(path)


def _name_problems(name: str, item: str) -> list[str]:
    if NAME.fullmatch(name):
        return []
    return [
        f"`{item}`: `{name}` can't be a model's name (letters, digits, `.`, `_`, `-`; at most 128, "
        "the first a letter or a digit)"
    ]


def _beside(
    option: str, items: Sequence[str], only: str, known: Mapping[str, Path], problems: list[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        told, path = _pair(item)
        name = told or only
        if name not in known:
            served = ", ".join(f"`{one}`" for one in known)
            problems.append(f"{option} {item}: say for which model, NAME=PATH, of {served}")
        elif name in found:
            problems.append(f"{option} is given twice for `{name}`")
        found[name] = str(path)
    return found


def _weighed(text: str, problems: list[str]) -> tuple[str, float]:
    folder, colon, share = text.rpartition(":")
    try:
        weight = float(share) if colon else 0.0
    except ValueError:
        weight = 0.0
    if not 0.0 < weight < 1.0:
        problems.append(
            f"--canary {text}: end it with a share above 0 and below 1, like release-b:0.1"
        )
    return folder, weight
