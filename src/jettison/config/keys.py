"""Every key of jettison.toml once: what it may be, what it is by default, what it means.

The reader checks against this table, `jettison init` writes it, and the reference page shows it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from jettison.config.assess_keys import ASSESS_KEYS
from jettison.config.card_keys import CARD_KEYS
from jettison.config.context_keys import CONTEXT_KEYS
from jettison.config.governance_keys import AUDIT_KEYS, GOVERNANCE_KEYS
from jettison.config.input_keys import ARRAYS_KEYS, DATA_KEYS, IMAGE_KEYS, MODEL_KEYS
from jettison.config.key import LARGEST_SEED, REQUIRED, SEED, Key, Names, Seed, Text, defaults_of
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import Configuration, SearchSection
from jettison.domain.device import ServingProfile

__all__ = ["KEYS", "LARGEST_SEED", "REQUIRED", "SECTIONS", "Key", "keys_of"]

_SEARCH = defaults_of(SearchSection)
_SERVING = defaults_of(ServingProfile)
_REQUIRE = defaults_of(Requirement)
_TOP = defaults_of(Configuration)

SEARCH_KEYS = (
    Key(
        "search",
        "techniques",
        Names,
        "a list of technique names",
        _SEARCH["techniques"],
        "Techniques to try (`jettison list techniques`). Empty: all that are usable here.",
        "techniques",
    ),
    Key(
        "search",
        "runtimes",
        Names,
        "a list of runtime names",
        _SEARCH["runtimes"],
        "Runtimes to try (`jettison list runtimes`). Empty: all that are usable here.",
        "runtimes",
    ),
    Key(
        "search",
        "minimise",
        Annotated[Names, MinLen(1)],
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
    Key(
        "search",
        "seed",
        Seed,
        SEED,
        _SEARCH["seed"],
        "Of the sampler that chooses recipes; techniques draw by `data.seed`.",
    ),
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
    Key(
        "serving",
        "lengths",
        list[Annotated[int, Ge(1), Le(1_048_576)]],
        "a list of whole numbers from 1 to 1048576",
        _SERVING["lengths"],
        "Lengths of texts (tokens) or other ragged rows at which the report shows the cost of the "
        "finalists besides; none: those that a tenth, half and nine tenths of the rows reach.",
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
        Names,
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
        "When rows are too few to decide about a group: certify nothing (the bundle is marked "
        "`uncertified`), or ship with that group named as not certified.",
    ),
    Key(
        "",
        "report",
        Names,
        "a list of quality metric names",
        _TOP["report"],
        "Metrics that are shown in the certificate beside the claims and never gate: any metric, "
        "and the only way to see those of grade C (`correlation`, `r2`, `absolute_error`, "
        "`macro_f1`, `weighted_f1`).",
        "metrics",
    ),
    Key(
        "",
        "looks",
        Annotated[int, Ge(1), Le(50)],
        "a whole number from 1 to 50",
        _TOP["looks"],
        "Looks at the sealed rows, declared before the first. With more than 1 a failed look "
        "answers only «no» until `jettison reveal` retires the rows, and look i may spend "
        "6 / (pi^2 i^2) of the error rate.",
    ),
    Key(
        "",
        "spending",
        list[Annotated[float, Gt(0), Le(1)]],
        "a list of numbers above 0, one for each look, together at most 1",
        _TOP["spending"],
        "Shares of the error rate declared instead, for a plan that adds rows after a look that "
        "says no ([0.2, 0.8] with looks = 2). Empty: 6 / (pi^2 i^2).",
    ),
    Key("", "output", Text, "a path", _TOP["output"], "Folder of the run and of its bundle."),
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
    *IMAGE_KEYS,
    *ARRAYS_KEYS,
    *DATA_KEYS,
    *GOVERNANCE_KEYS,
    *CONTEXT_KEYS,
    *SEARCH_KEYS,
    *SERVING_KEYS,
    *REQUIRE_KEYS,
    *AUDIT_KEYS,
    *CARD_KEYS,
    *ASSESS_KEYS,
)

SECTIONS: dict[str, str] = {
    "model": "What is optimised.",
    "image": "How images become the model's input; give this table only for a model of images.",
    "arrays": "How arrays feed the model; give this table where rows differ in length and are not "
    "filled with 0, or to feed token ids to a model of texts.",
    "data": "Rows to calibrate on, to search with, and to certify on.",
    "contexts": "Conditions of use beside the rows as they are: copies of selection and sealed "
    "rows, changed as declared; one table `[[contexts]]` for each (docs/contexts.md).",
    "search": "What is tried, for how long, and what must get smaller.",
    "serving": "How the model will be served. Never searched.",
    "audit": "Who answers for the run, and the key that signs its audit trail.",
    "require": "What must not get worse; one table `[[require]]` for each metric.",
    "card": "What you say about the model on its card; empty texts are shown as not stated.",
    "assess": "How `jettison assess` looks at the model by group; options that are typed go before it.",
    "ranges": "Narrowed ranges of a technique or runtime, searched: "
    "`ranges.NAME.SETTING = [low, high]`, or a list of other values to choose from.",
    "settings": "Fixed values of a technique or runtime, not searched: "
    "`settings.NAME.SETTING = value`.",
}


def keys_of(section: str) -> dict[str, Key]:
    """The keys of one table by name."""
    return {key.name: key for key in KEYS if key.section == section}
