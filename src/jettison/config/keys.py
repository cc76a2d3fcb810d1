"""Every key of jettison.toml once: what it may be, what it is by default, what it means.

The reader checks against this table, `jettison init` writes it, and the reference page shows it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

from jettison.domain.certificate import Requirement
from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.device import ServingProfile

REQUIRED = "required"
"""Stands for the default of a key that must be given."""

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        section: the table that it stands in; empty at the top of the file.
        name: as written.
        check: the annotated type that a value must have.
        allowed: the same in words, after «must be».
        default: the value when it is absent, or `REQUIRED`.
        meaning: one or two sentences.
        family: the plug-in family that its names must belong to, or empty.
    """

    section: str
    name: str
    check: Any
    allowed: str
    default: Any
    meaning: str
    family: str = ""


def _defaults(record: type[Any]) -> dict[str, Any]:
    """The defaults that the frozen type declares, so that no default is written twice."""
    return {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in dataclasses.fields(record)
        if field.default is not dataclasses.MISSING
    }


_MODEL = _defaults(ModelSection)
_DATA = _defaults(DataSection)
_SEARCH = _defaults(SearchSection)
_SERVING = _defaults(ServingProfile)
_REQUIRE = _defaults(Requirement)
_TOP = _defaults(Configuration)

_Text = Annotated[str, MinLen(1)]
_Names = list[_Text]
_Seed = Annotated[int, Ge(0), Le(LARGEST_SEED)]
_SEED = f"a whole number from 0 to {LARGEST_SEED}"
_COLUMN = "a column name, or an empty text"
_FILE = "the path of a .parquet, .csv, .tsv (also .gz) or .npz file, or an empty text"

MODEL_KEYS = (
    Key(
        "model",
        "source",
        _Text,
        "a path",
        REQUIRED,
        "An ONNX file, a Hugging Face folder, or a scikit-learn file (.skops).",
    ),
    Key(
        "model",
        "task",
        Literal["", "classification", "regression", "embedding", "text-classification"],
        '"classification", "regression", "embedding", or empty to find out',
        _MODEL["task"],
        "What the model does. Empty: found out from its files.",
    ),
    Key(
        "model",
        "trust_pickle",
        bool,
        "true or false",
        _MODEL["trust_pickle"],
        "Allow a pickle to be loaded. A pickle runs code: only for files that you made yourself.",
    ),
    Key(
        "model",
        "max_length",
        Annotated[int, Ge(0), Le(1_000_000)],
        "a whole number from 0 to 1000000",
        _MODEL["max_length"],
        "Tokens kept of a text. 0: what the model's own files say.",
    ),
)

DATA_KEYS = (
    Key(
        "data",
        "source",
        str,
        _FILE,
        _DATA["source"],
        "One file, divided by unit: 5 % fitting (at most `fitting_rows`), 15 % selection, the rest "
        "sealed for certification. Empty: one file per use below, or a run without data.",
    ),
    Key(
        "data",
        "fitting",
        str,
        _FILE,
        _DATA["fitting"],
        "Calibration rows; targets are used where they are there.",
    ),
    Key("data", "selection", str, _FILE, _DATA["selection"], "Rows that the search looks at."),
    Key(
        "data",
        "certification",
        str,
        _FILE,
        _DATA["certification"],
        "Rows that are sealed and seen once. Empty: the run ends uncertified.",
    ),
    Key(
        "data",
        "inputs",
        _Names,
        "a list of column names",
        _DATA["inputs"],
        "Columns that feed the model. Empty: found out from the model's own names.",
    ),
    Key(
        "data",
        "target",
        str,
        _COLUMN,
        _DATA["target"],
        "The right answer of each row. Empty: no labels; quality is agreement with the original.",
    ),
    Key(
        "data",
        "groups",
        _Names,
        "a list of column names",
        _DATA["groups"],
        "Columns whose values are groups that must each stay within max_drop_group.",
    ),
    Key(
        "data",
        "unit",
        str,
        _COLUMN,
        _DATA["unit"],
        "Whom a row comes from (author, patient): one unit never stands on two sides.",
    ),
    Key(
        "data",
        "weight",
        str,
        _COLUMN,
        _DATA["weight"],
        "How much a row counts. Empty: all rows count the same.",
    ),
    Key("data", "seed", _Seed, _SEED, _DATA["seed"], "Of the division into the three uses."),
    Key(
        "data",
        "fitting_rows",
        Annotated[int, Ge(1), Le(10_000_000)],
        "a whole number from 1 to 10000000",
        _DATA["fitting_rows"],
        "Most rows that techniques fit on. Calibration needs no more than the default; pruning "
        "and fine-tuning gain from thousands. The surplus of one source is sealed.",
    ),
)

SEARCH_KEYS = (
    Key(
        "search",
        "techniques",
        _Names,
        "a list of technique names",
        _SEARCH["techniques"],
        "Techniques to try (`jettison list techniques`). Empty: all that are usable here.",
        "techniques",
    ),
    Key(
        "search",
        "runtimes",
        _Names,
        "a list of runtime names",
        _SEARCH["runtimes"],
        "Runtimes to try (`jettison list runtimes`). Empty: all that are usable here.",
        "runtimes",
    ),
    Key(
        "search",
        "minimise",
        Annotated[_Names, MinLen(1)],
        "a list of at least one cost name",
        _SEARCH["minimise"],
        "The first is the cost that decides; the others only shape the front that is shown.",
        "costs",
    ),
    Key(
        "search",
        "trials",
        Annotated[int, Ge(1), Le(10_000)],
        "a whole number from 1 to 10000",
        _SEARCH["trials"],
        "Recipes to try at most.",
    ),
    Key(
        "search",
        "max_minutes",
        Annotated[float, Gt(0), Le(100_000)],
        "a number above 0, at most 100000",
        _SEARCH["max_minutes"],
        "Minutes to search at most; the search ends at whichever comes first.",
    ),
    Key(
        "search",
        "shortlist",
        Annotated[int, Ge(1), Le(6)],
        "a whole number from 1 to 6",
        _SEARCH["shortlist"],
        "Candidates that certification may test.",
    ),
    Key("search", "seed", _Seed, _SEED, _SEARCH["seed"], "Of the sampler and every technique."),
)

SERVING_KEYS = (
    Key(
        "serving",
        "batch_sizes",
        Annotated[list[Annotated[int, Ge(1), Le(65_536)]], MinLen(1)],
        "a list of whole numbers from 1 to 65536",
        _SERVING["batch_sizes"],
        "Rows per call, as the model will be served; each size is measured.",
    ),
    Key(
        "serving",
        "weights",
        list[Annotated[float, Ge(0), Le(1e9)]],
        "a list of numbers from 0 up, one for each batch size, not all 0",
        "equal",
        "Share of the served rows at each batch size; scaled to add up to 1.",
    ),
    Key(
        "serving",
        "threads",
        Annotated[int, Ge(1), Le(1024)],
        "a whole number from 1 to 1024",
        _SERVING["threads"],
        "Computing threads of one call; the same for the original and every candidate.",
    ),
    Key(
        "serving",
        "spinning",
        bool,
        "true or false",
        _SERVING["spinning"],
        "Whether idle threads of the runtime spin (quicker calls, a busy processor).",
    ),
)

REQUIRE_KEYS = (
    Key(
        "require",
        "metric",
        str,
        "the name of a quality metric, or an empty text",
        "",
        "What must not drop (`jettison list metrics`). Empty: accuracy where there are labels, "
        "otherwise agreement with the original (cosine for embeddings).",
        "metrics",
    ),
    Key(
        "require",
        "max_drop",
        Annotated[float, Gt(0), Le(1e6)],
        "a number above 0",
        REQUIRED,
        "Largest drop allowed overall, absolute (0.01 of accuracy is one point in a hundred).",
    ),
    Key(
        "require",
        "max_drop_relative",
        Annotated[float, Gt(0), Le(1)],
        "a number above 0, at most 1",
        "absent",
        "Instead of max_drop: the largest drop as a share of the original's value on the "
        "selection rows; an error where that value is zero or negative.",
    ),
    Key(
        "require",
        "max_drop_group",
        Annotated[float, Gt(0), Le(1e6)],
        "a number above 0",
        "3 x max_drop",
        "Largest drop allowed in each group, absolute.",
    ),
    Key(
        "require",
        "confidence",
        Annotated[float, Ge(0.5), Le(0.9999)],
        "a number from 0.5 to 0.9999",
        _REQUIRE["confidence"],
        "1 minus the chance that a model beyond the margin ships.",
    ),
    Key(
        "require",
        "require_grade",
        Literal["A", "B"],
        '"A" (finite-sample tests only) or "B" (asymptotic tests too)',
        _REQUIRE["require_grade"],
        "The weakest grade of evidence that may let a model ship.",
    ),
    Key(
        "require",
        "gated_groups",
        _Names,
        'a list of groups such as "sex=Female", of the columns in data.groups',
        "every group",
        "Groups that must hold for the model to ship; the others are listed as not certified.",
    ),
)

TOP_KEYS = (
    Key(
        "",
        "on_undecided",
        Literal["fail", "ship_listed"],
        '"fail" or "ship_listed"',
        _TOP["on_undecided"],
        "When rows are too few to decide about a group: ship nothing, or ship with that group "
        "named as not certified.",
    ),
    Key("", "output", _Text, "a path", _TOP["output"], "Folder of the run and of its bundle."),
    Key(
        "",
        "ledger",
        str,
        "a path, or an empty text",
        _TOP["ledger"],
        "Folder of the ledger of looks. Empty: the one of your user account.",
    ),
)

KEYS: tuple[Key, ...] = (
    *TOP_KEYS,
    *MODEL_KEYS,
    *DATA_KEYS,
    *SEARCH_KEYS,
    *SERVING_KEYS,
    *REQUIRE_KEYS,
)

SECTIONS: dict[str, str] = {
    "model": "What is optimised.",
    "data": "Rows to calibrate on, to search with, and to certify on.",
    "search": "What is tried, for how long, and what must get smaller.",
    "serving": "How the model will be served. Never searched.",
    "require": "What must not get worse; one table `[[require]]` for each metric.",
    "ranges": "Narrowed ranges of a technique or runtime, searched: "
    "`ranges.NAME.SETTING = [low, high]`, or a list of other values to choose from.",
    "settings": "Fixed values of a technique or runtime, not searched: "
    "`settings.NAME.SETTING = value`.",
}


def keys_of(section: str) -> dict[str, Key]:
    """The keys of one table by name."""
    return {key.name: key for key in KEYS if key.section == section}
