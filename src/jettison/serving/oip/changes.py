"""Loading and unloading as a caller over the network may ask for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import RequestRefused
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


async def load_version(
    repository: Repository, name: str, parameters: Mapping[str, object]
) -> ServedVersion:
    """Loads a bundle beside what is served, and swaps it in.

    A caller over the network names no paths: only the folder that the name was started with, or,
    by `folder`, one that lies beside the bundle that is served.

    Args:
        repository: what is served.
        name: of the model.
        parameters: `folder`, and `weight` for a canary (its share of the requests).

    Raises:
        RequestRefused: `malformed` for other parameters or values; and what `Repository.load` says.
    """
    _refuse_unknown(parameters, ("folder", "weight"))
    weight = parameters.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        raise RequestRefused("malformed", "`weight` must be a number above 0, at most 1")
    place = None
    if "folder" in parameters:
        place = beside(Path(repository.get(name).folder), parameters["folder"])
    return await repository.load(name, place, float(weight))


async def unload_version(
    repository: Repository, name: str, parameters: Mapping[str, object]
) -> None:
    """Takes a model, or only its canary, out of service.

    Args:
        repository: what is served.
        name: of the model.
        parameters: `version` of the canary; `unload_dependents` is known and changes nothing.

    Raises:
        RequestRefused: `malformed` for other parameters or values; and what `Repository.unload`
            says.
    """
    _refuse_unknown(parameters, ("version", "unload_dependents"))
    version = parameters.get("version", "")
    if not isinstance(version, str):
        raise RequestRefused("malformed", "`version` must be a text")
    await repository.unload(name, version)


def beside(served: Path, folder: object) -> Path:
    """The folder of that name beside the one that is served.

    Raises:
        RequestRefused: `malformed`, for a path, or a link that leads elsewhere.
    """
    if not isinstance(folder, str) or not FOLDER.fullmatch(folder):
        raise RequestRefused(
            "malformed",
            "`folder` must be the name of a folder beside the bundle that is served (letters, "
            "digits, `.`, `_`, `-`), not a path",
        )
    place = (served.parent / folder).resolve()
    if place.parent != served.parent.resolve():
        raise RequestRefused("malformed", f"`folder`: {folder} leads out of the folder of bundles")
    return place


def _refuse_unknown(parameters: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = sorted(parameters.keys() - set(known))
    if unknown:
        raise RequestRefused(
            "malformed",
            f"there is no parameter `{unknown[0][:60]}` here; allowed: "
            f"{', '.join(f'`{name}`' for name in known)} (a bundle is loaded as it is)",
        )
