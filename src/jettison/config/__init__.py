"""jettison.toml -> frozen types, and back. Every mistake is reported at once, with its line."""

from jettison.config.checking import Known
from jettison.config.keys import KEYS, Key
from jettison.config.options import image_table
from jettison.config.reading import configuration_from, read_configuration, seen_from
from jettison.config.rendering import render_configuration, render_reference
from jettison.config.requirements import (
    check_gated_groups,
    complete_requirements,
    default_requirements,
    resolve_relative,
)

__all__ = [
    "KEYS",
    "Key",
    "Known",
    "check_gated_groups",
    "complete_requirements",
    "configuration_from",
    "default_requirements",
    "image_table",
    "read_configuration",
    "render_configuration",
    "render_reference",
    "resolve_relative",
    "seen_from",
]
