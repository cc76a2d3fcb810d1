"""Reads jettison.toml, or the same tables given in Python, into a `Configuration`."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jettison.config.checking import (
    Known,
    Mistakes,
    called,
    checked_sections,
    checked_table,
    plain,
)
from jettison.config.contexts import read_contexts
from jettison.config.governance import check_governance
from jettison.config.looks import check_spending
from jettison.config.narrowing import read_ranges, read_settings
from jettison.config.requirements import GROUP_FACTOR
from jettison.config.toml_lines import KeyPath, key_lines
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import (
    ArraysSection,
    AssessSection,
    AuditSection,
    CardSection,
    Configuration,
    DataSection,
    ImageSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.contexts import CONTEXT
from jettison.domain.device import ServingProfile
from jettison.domain.function_source import ENDING, split_function
from jettison.errors import ConfigError

_TASKS = {"text-classification": "classification", "image-classification": "classification"}


def read_configuration(path: Path, known: Known) -> Configuration:
    """Reads a configuration file.

    Paths in it are relative to the folder of the file.

    Args:
        path: of a TOML file.
        known: plug-in family -> registered names.

    Raises:
        ConfigError: with every mistake in the file and its line.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax(path, text, str(error))]) from error
    mistakes = Mistakes(known, path.name, key_lines(text))
    return _against_folder(_configuration(values, mistakes), path.parent)


def configuration_from(values: Mapping[str, Any], known: Known) -> Configuration:
    """Reads the tables of a configuration given in Python or by command-line options.

    Args:
        values: as `tomllib` would give them; tuples and paths are welcome too.
        known: plug-in family -> registered names.

    Raises:
        ConfigError: with every mistake.
    """
    return _configuration(plain(values), Mistakes(known))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            [f"there is no file {path}; write one with `jettison init MODEL DATA`"]
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            [f"the file must be UTF-8 text; a byte of line {line} is not ({path.name})"]
        ) from error
    except OSError as error:
        raise ConfigError([f"{path} can't be read: {error.strerror or error}"]) from error


def _syntax(path: Path, text: str, message: str) -> str:
    found = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
    line = found.group(1) if found and found.group(1) else str(len(text.splitlines()) or 1)
    what = message[: found.start()] if found else message
    shown = text.splitlines()[int(line) - 1].strip() if text.splitlines() else ""
    return f"not valid TOML: {what}; the line reads `{shown}` ({path.name}, line {line})"


def _configuration(values: Mapping[str, Any], mistakes: Mistakes) -> Configuration:
    checked_sections(values, mistakes)
    top = checked_table("", {k: v for k, v in values.items() if k in _TOP_NAMES}, (), mistakes)
    model = checked_table("model", values.get("model", {}), ("model",), mistakes)
    image = _image(values["image"], mistakes) if "image" in values else None
    arrays = None
    if "arrays" in values:
        arrays = ArraysSection(**checked_table("arrays", values["arrays"], ("arrays",), mistakes))
    data = checked_table("data", values.get("data", {}), ("data",), mistakes)
    search = checked_table("search", values.get("search", {}), ("search",), mistakes)
    audit = checked_table("audit", values.get("audit", {}), ("audit",), mistakes)
    serving = _serving(values.get("serving", {}), mistakes)
    card = checked_table("card", values.get("card", {}), ("card",), mistakes)
    assess = checked_table("assess", values.get("assess", {}), ("assess",), mistakes)
    ranges = read_ranges(values.get("ranges", {}), values.get("settings", {}), mistakes)
    settings = read_settings(values.get("settings", {}), mistakes)
    check_spending(top, mistakes)
    _check_data(data, mistakes)
    check_governance(data, mistakes)
    contexts = read_contexts(values.get("contexts", []), data["groups"], mistakes)
    columns = [*data["groups"], CONTEXT] if contexts else data["groups"]
    requirements = _requirements(values.get("require", []), columns, mistakes)
    if mistakes.problems:
        raise ConfigError(mistakes.sentences())
    model["task"] = _TASKS.get(model["task"], model["task"])
    return Configuration(
        model=ModelSection(**_frozen(model)),
        data=DataSection(**_frozen(data)),
        search=SearchSection(**_frozen(search)),
        serving=serving,
        requirements=requirements,
        ranges=ranges,
        settings=settings,
        image=image,
        arrays=arrays,
        audit=AuditSection(**audit),
        contexts=contexts,
        card=CardSection(**card),
        assess=AssessSection(**_frozen(assess)),
        **_frozen(top),
    )


_TOP_NAMES = ("on_undecided", "report", "looks", "spending", "output", "ledger")


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def _image(given: Any, mistakes: Mistakes) -> ImageSection:
    table = checked_table("image", given, ("image",), mistakes)
    channels = 1 if table["channels"] == "grey" else 3
    for name, allowed in (
        ("size", (0, 1, 2)),
        ("mean", (0, 1, channels)),
        ("std", (0, 1, channels)),
    ):
        if len(table[name]) not in allowed:
            mistakes.add(
                ("image", name),
                f"`{name}` in `image` holds {len(table[name])} numbers; allowed: "
                f"{', '.join(str(count) for count in allowed)}",
            )
    return ImageSection(**_frozen(table))


def _serving(given: Any, mistakes: Mistakes) -> ServingProfile:
    table = checked_table("serving", given, ("serving",), mistakes)
    sizes, weights = table["batch_sizes"], table["weights"]
    if weights == "equal":
        shares = tuple(1.0 / len(sizes) for _ in sizes)
    elif len(weights) != len(sizes) or not sum(weights):
        mistakes.add(
            ("serving", "weights"),
            f"`weights` in `serving` must hold one number for each of the {len(sizes)} batch "
            f"sizes, not all 0; got {weights}",
        )
        shares = ()
    else:
        whole = float(sum(weights))
        exact = abs(whole - 1.0) <= 1e-9
        shares = tuple(float(w) if exact else w / whole for w in weights)
    lengths = tuple(table["lengths"])
    return ServingProfile(tuple(sizes), shares, table["threads"], table["spinning"], lengths)


def _check_data(data: Mapping[str, Any], mistakes: Mistakes) -> None:
    parts = [use for use in ("fitting", "selection", "certification") if data[use]]
    if data["source"] and parts:
        mistakes.add(
            ("data", parts[0]),
            f"`source` and `{parts[0]}` in `data` exclude each other: give one file that is "
            "divided, or one file per use",
        )
    elif parts and not (data["fitting"] and data["selection"]):
        lacking = "fitting" if not data["fitting"] else "selection"
        mistakes.add(
            ("data", parts[0]),
            f"`data` names a file for {' and '.join(f'`{p}`' for p in parts)}, but none for "
            f"`{lacking}`; give `fitting` and `selection` (and `certification` to certify), or "
            "one `source`",
        )
    for role in ("target", "unit", "weight"):
        if data[role] and data[role] in data["inputs"]:
            mistakes.add(
                ("data", role),
                f"`{role}` in `data` names `{data[role]}`, which also stands in `inputs`; "
                "take it out of one of them",
            )
    named = [data[role] for role in ("target", "unit", "weight") if data[role]]
    for name in {n for n in named if named.count(n) > 1}:
        mistakes.add(
            ("data",), f"the column `{name}` can't be two of target, unit and weight; name others"
        )


def _requirements(given: Any, groups: list[str], mistakes: Mistakes) -> tuple[Requirement, ...]:
    if not isinstance(given, list):
        mistakes.add(
            ("require",), "`require` must be a list of tables; write `[[require]]` above its keys"
        )
        return ()
    made = [_requirement(table, str(i), groups, mistakes) for i, table in enumerate(given)]
    seen: set[str] = set()
    for place, requirement in enumerate(made):
        if requirement is not None and requirement.metric in seen:
            mistakes.add(
                ("require", str(place), "metric"),
                f"`require` {place + 1} asks for `{requirement.metric or 'the default metric'}` "
                "a second time; one table a metric",
            )
        seen |= {requirement.metric} if requirement is not None else set()
    return tuple(requirement for requirement in made if requirement is not None)


def _requirement(
    given: Any, place: str, groups: list[str], mistakes: Mistakes
) -> Requirement | None:
    path: KeyPath = ("require", place)
    before = len(mistakes.problems)
    table = checked_table("require", given, path, mistakes)
    relative = None if table["max_drop_relative"] == "absent" else table["max_drop_relative"]
    stated = isinstance(given, dict) and "max_drop" in given
    if stated and relative is not None:
        mistakes.add(
            (*path, "max_drop_relative"),
            f"{called((*path, 'max_drop'))} and `max_drop_relative` exclude each other; keep one",
        )
    elif isinstance(given, dict) and not {"max_drop", "max_drop_relative"} & set(given):
        mistakes.add(
            path,
            f"{called((*path, 'max_drop'))} is missing; it must be a number above 0: the "
            "largest drop that you allow",
        )
    gated = None if table["gated_groups"] == "every group" else tuple(table["gated_groups"])
    for group in gated or ():
        if not any(group.startswith(f"{column}=") for column in groups):
            mistakes.add(
                (*path, "gated_groups"),
                f"{called((*path, 'gated_groups'))} names `{group}`; a group is written "
                f"`column=value` with a column of data.groups ({', '.join(groups) or 'none'})",
            )
    if len(mistakes.problems) > before:
        return None
    margin = 0.0 if relative is not None else float(table["max_drop"])
    group_margin = table["max_drop_group"]
    return Requirement(
        metric=table["metric"],
        max_drop=margin,
        max_drop_group=(
            round(GROUP_FACTOR * margin, 12)
            if group_margin == "3 x max_drop"
            else float(group_margin)
        ),
        confidence=float(table["confidence"]),
        require_grade=table["require_grade"],
        gated_groups=gated,
        max_drop_relative=relative,
    )


def seen_from(configuration: Configuration, folder: Path) -> Configuration:
    """A configuration as a file in a folder must say it, to be read as this one.

    The ledger hangs on it: read from another place it would be a new one, that knows of no look.

    Args:
        configuration: whose paths are relative to where jettison runs.
        folder: of the file.
    """
    # Where the folder is a link, `..` leads out of what it points to.
    base = folder.resolve()
    return _with_paths(configuration, lambda name: os.path.relpath(name, base))


def _against_folder(configuration: Configuration, folder: Path) -> Configuration:
    """Makes the paths of a file in another folder relative to where jettison runs."""
    if folder == Path():
        return configuration
    return _with_paths(configuration, lambda name: str(folder / name))


def _with_paths(configuration: Configuration, moved: Callable[[str], str]) -> Configuration:
    """The same with other relative paths."""

    def there(name: str) -> str:
        function = split_function(name)
        # A module is found by Python, wherever the configuration lies.
        elsewhere = function is not None and not _is_file(function)
        kept = not name or elsewhere or Path(name).is_absolute()
        return name if kept else moved(name)

    data = configuration.data
    return dataclasses.replace(
        configuration,
        model=dataclasses.replace(
            configuration.model,
            source=there(configuration.model.source),
            weights=there(configuration.model.weights),
        ),
        data=dataclasses.replace(
            data,
            source=there(data.source),
            fitting=there(data.fitting),
            selection=there(data.selection),
            certification=there(data.certification),
        ),
        output=there(configuration.output),
        ledger=there(configuration.ledger),
        audit=dataclasses.replace(configuration.audit, key=there(configuration.audit.key)),
    )


def _is_file(function: tuple[str, str]) -> bool:
    return function[0].endswith(ENDING)
