"""Writes a configuration as jettison.toml with every default spelled out, and the reference."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from jettison.config.keys import KEYS, REQUIRED, SECTIONS, Key, keys_of
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration
from jettison.domain.recipe import Choices, Range

WIDTH = 96


def render_configuration(configuration: Configuration) -> str:
    """Gives a jettison.toml that reads back as an equal configuration.

    Raises:
        ValueError: if a number in it is not finite.
    """
    parts = [
        "# jettison.toml: what to optimise, what must hold, how it will be served.",
        "# Every key is here with its value; deleting a line gives its default.",
        *_table("", configuration),
    ]
    for section in (
        "model",
        "image",
        "arrays",
        "data",
        "search",
        "serving",
        "card",
        "audit",
        "assess",
    ):
        record = getattr(configuration, section)
        parts += ["", _comment(SECTIONS[section])]
        if record is None:
            parts += [f"# [{section}]", *_absent(section)]
            continue
        parts += [f"[{section}]", *_table(section, record)]
    parts += _contexts(configuration)
    parts += _narrowed(configuration)
    parts += ["", _comment(SECTIONS["require"])]
    if not configuration.requirements:
        parts.append(_comment("None is given: the default metric of the task, max_drop = 0.01."))
    for requirement in configuration.requirements:
        parts += ["[[require]]", *_requirement(requirement), ""]
    return "\n".join(parts).rstrip() + "\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _documented(key: Key, line: str) -> list[str]:
    return [_comment(f"{key.meaning} Must be {key.allowed}."), line]


def _table(section: str, record: Any) -> list[str]:
    lines: list[str] = []
    for key in keys_of(section).values():
        lines += _documented(key, f"{key.name} = {_value(getattr(record, key.name))}")
    return lines


def _absent(section: str) -> list[str]:
    """The keys of a table that is not given, as comments."""
    lines: list[str] = []
    for key in keys_of(section).values():
        lines += _documented(key, f"# {key.name} = {_value(key.default)}")
    return lines


def _requirement(requirement: Requirement) -> list[str]:
    lines: list[str] = []
    for key in keys_of("require").values():
        value = getattr(requirement, key.name)
        relative = requirement.max_drop_relative is not None
        unresolved = relative and key.name in ("max_drop", "max_drop_group") and not value
        if value is None or unresolved:
            lines += _documented(key, f"# {key.name} is absent")
        else:
            lines += _documented(key, f"{key.name} = {_value(value)}")
    return lines


def _contexts(configuration: Configuration) -> list[str]:
    lines = ["", _comment(SECTIONS["contexts"])]
    if not configuration.contexts:
        return [*lines, "# [[contexts]]", *_absent("contexts")]
    for context in configuration.contexts:
        lines += ["[[contexts]]", *_table("contexts", context), ""]
    return lines[:-1]


def _narrowed(configuration: Configuration) -> list[str]:
    ranges = {
        owner: {key: _range(value) for key, value in keys.items()}
        for owner, keys in configuration.ranges.items()
    }
    settings = {
        owner: {key: _value(value) for key, value in keys.items()}
        for owner, keys in configuration.settings.items()
    }
    lines: list[str] = []
    for section, owners in (("ranges", ranges), ("settings", settings)):
        lines += ["", _comment(SECTIONS[section])]
        for owner, shown in owners.items():
            lines.append(f"[{section}.{_name(owner)}]")
            lines += [f"{_name(key)} = {text}" for key, text in shown.items()]
    return lines


def _range(value: Range) -> str:
    if isinstance(value, Choices):
        listed = ", ".join(_value(v) for v in value.values)
        return f"{{ values = [{listed}], default = {_value(value.default)} }}"
    logarithmic = ", logarithmic = true" if getattr(value, "logarithmic", False) else ""
    ends = f"low = {_value(value.low)}, high = {_value(value.high)}"
    return f"{{ {ends}, default = {_value(value.default)}{logarithmic} }}"


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, Mapping):
        inside = [f"{_name(key)} = {_value(value[key])}" for key in sorted(value)]
        return f"{{ {', '.join(inside)} }}" if inside else "{}"
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"a configuration holds {value!r}, which is not a finite number")
    return repr(value)


def render_reference() -> str:
    """Gives the reference page of jettison.toml, in Markdown."""
    lines = [
        "# jettison.toml",
        "",
        "Written by `jettison init`; read by every command that takes a configuration. Unknown "
        "keys are errors, all mistakes are reported at once with their lines, and paths are "
        "relative to the folder of the file. This page is made from the table that the reader "
        "checks against (`jettison.config.KEYS`).",
    ]
    order: Mapping[str, str] = {"": "Keys at the top of the file.", **SECTIONS}
    for section, meaning in order.items():
        title = f"`{section}`" if section else "Top of the file"
        lines += ["", f"## {title}", "", meaning]
        keys = [key for key in KEYS if key.section == section]
        if keys:
            lines += ["", "| key | must be | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{k.name}` | {_cell(k.allowed)} | {_shown(k)} | {k.meaning} |" for k in keys]
    return "\n".join([*lines, *_NARROWING_NOTES, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(key: Key) -> str:
    words = (REQUIRED, "equal", "absent", "3 x max_drop", "every group")
    return str(key.default) if key.default in words else f"`{_value(key.default)}`"


_NARROWING_NOTES = (
    "",
    "## How ranges are written",
    "",
    "`[0.3, 0.9]` is a range: two numbers are always its ends, and whole numbers give a range of "
    "whole numbers. A list of texts, of true and false, or of three or more values is a choice "
    "between them, the first tried first. The long form says more: "
    "`{ low = 0.3, high = 0.9, default = 0.5, logarithmic = true }` or "
    "`{ values = [4, 8], default = 8 }`. A key under both `ranges` and `settings` is an error.",
    "",
    "## How files are read",
    "",
    "- **parquet, csv, tsv** (also `.gz`): a column is a name. In csv an empty cell of a number "
    "column is a missing value, every other text stands for itself (`NA` too); an empty cell of a "
    "text column is an empty text. tsv has no quotes: a quotation mark is a character.",
    "- **npz**: one array a name, rows first, never a pickle.",
    "- **jsonl**: one object a line, the same keys of the same types in each.",
    "- Every form of rows: [models and data](models-and-data.md).",
    "- **images**: a parquet column of bytes (or of Hugging Face's `{bytes, path}`), a column of "
    "paths from the folder of the file, or a folder with one subfolder for each class, which gives "
    "the columns `image` and `label`.",
)
