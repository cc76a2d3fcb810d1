"""Reading jettison.toml: what it gives, and every mistake at once with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jettison.config import configuration_from, image_table, read_configuration
from jettison.domain.configuration import ImageSection
from jettison.domain.recipe import Choices, FloatRange, IntegerRange
from jettison.errors import ConfigError, UsageError

KNOWN = {
    "techniques": ("int8_static", "int8_dynamic", "half_precision"),
    "runtimes": ("onnx_runtime",),
    "metrics": ("accuracy", "agreement", "nll"),
    "costs": ("latency_ms", "size_bytes"),
}

WHOLE = """\
model  = { source = "reviews-bert/", task = "text-classification" }
data   = { source = "reviews.parquet", target = "label", groups = ["dialect"], unit = "author" }
search = { techniques = ["int8_static"], minimise = ["latency_ms", "size_bytes"], trials = 60, max_minutes = 30 }
serving = { batch_sizes = [1, 8, 32], threads = 1 }
ranges.int8_static.percentile = [0.3, 0.9]
settings.int8_static.reduce_range = true
on_undecided = "ship_listed"
[[require]]
metric = "accuracy"
max_drop = 0.01
gated_groups = ["dialect=north"]
"""


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "jettison.toml"
    path.write_text(text, encoding="utf-8")
    return read_configuration(path, KNOWN)


def mistakes(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return caught.value.problems


MODEL = 'model = { source = "m.onnx" }\n'


def test_the_file_of_the_design_page_reads_as_written(tmp_path: Path) -> None:
    """Every key of the design page is understood, and absent ones have their defaults."""
    made = read(tmp_path, WHOLE)
    assert made.model.task == "classification"
    assert made.data.groups == ("dialect",)
    assert made.data.seed == 7
    assert made.search.max_minutes == 30.0
    assert isinstance(made.search.max_minutes, float)
    assert made.search.runtimes == ()
    assert sum(made.serving.weights) == pytest.approx(1)
    assert len(made.serving.weights) == 3
    assert made.ranges["int8_static"]["percentile"] == FloatRange(0.3, 0.9, 0.3)
    assert made.settings == {"int8_static": {"reduce_range": True}}
    assert made.on_undecided == "ship_listed"
    assert made.requirements[0].max_drop_group == 0.03
    assert made.requirements[0].gated_groups == ("dialect=north",)


def test_all_mistakes_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    """Thirteen mistakes give thirteen sentences in the order of the file, each with its line."""
    found = mistakes(
        tmp_path,
        """\
modle = { source = "m.onnx" }
on_undecided = "perhaps"

[search]
trials = 0
trails = 3
minimise = [
  "latency_ms",
  "energy_j",
]
max_minutes = "long"
[serving]
threads = 1.5
weights = [0.5, 0.5]
[[require]]
metric = "acuracy"
max_drop = -1
[[require]]
confidence = 2
""",
    )
    lines = [int(problem.rsplit("line ", 1)[-1].rstrip(")")) for problem in found[1:]]
    assert (
        found[0]
        == "`source` in `model` is missing; it must be a path, or a Python function such as net.py:make (jettison.toml)"
    )
    assert lines == [1, 2, 5, 6, 9, 11, 13, 14, 16, 17, 18, 19]
    text = "\n".join(found)
    assert "did you mean `model`?" in text
    assert (
        "`trials` in `search` must be a whole number from 1 to 10000; got 0 "
        "(jettison.toml, line 5)" in found
    )
    assert "did you mean `trials`?" in text
    assert "`energy_j`, which is no installed cost" in text
    assert "did you mean `accuracy`?" in text
    assert "`max_drop` in `require` 1 must be a number above 0; got -1" in text
    assert "`max_drop` in `require` 2 is missing" in text


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = [1,\n2\n", 2, "not valid TOML"),
        ("model = 3\nmodel = 4\n", 2, "overwrite"),
        ("[model]\nsource = m.onnx\n", 2, "Invalid value"),
        ("[model\nsource = 1\n", 1, "not valid TOML"),
    ],
)
def test_broken_toml_gives_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    """A file that is no TOML is refused with the line and what stands there."""
    (problem,) = mistakes(tmp_path, text)
    assert problem.endswith(f"(jettison.toml, line {line})")
    assert words in problem


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    """The message names `jettison init`."""
    with pytest.raises(ConfigError, match="jettison init"):
        read_configuration(tmp_path / "none.toml", KNOWN)


def test_bytes_that_are_no_text_give_their_line(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with the line of the first bad byte."""
    path = tmp_path / "jettison.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_configuration(path, KNOWN)


def test_a_folder_in_place_of_the_file_is_a_config_error(tmp_path: Path) -> None:
    """What can't be opened is refused as a mistake in what was asked."""
    with pytest.raises(ConfigError, match="can't be read"):
        read_configuration(tmp_path, KNOWN)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("[model]\nsource = ''\n", "`source` in `model` must be a path"),
        (MODEL + "data = 3\n", "`data` must be a table of keys"),
        (MODEL + "data = { source = 'a.csv', fitting = 'b.csv' }\n", "exclude each other"),
        (MODEL + "data = { selection = 'b.csv' }\n", "but none for `fitting`"),
        (
            MODEL + "data = { source = 'a.csv', target = 'y', inputs = ['x', 'y'] }\n",
            "also stands in `inputs`",
        ),
        (
            MODEL + "data = { source = 'a.csv', target = 'y', unit = 'y' }\n",
            "can't be two of target, unit and weight",
        ),
        (MODEL + "data = { groups = ['a', 'a'] }\n", "names something twice"),
        (MODEL + "data = { seed = -1 }\n", "must be a whole number from 0"),
        (MODEL + "search = { minimise = [] }\n", "at least one cost name"),
        (MODEL + "search = { trials = true }\n", "got true"),
        (MODEL + "search = { shortlist = 7 }\n", "from 1 to 6"),
        (MODEL + "search = { max_minutes = nan }\n", "above 0"),
        (MODEL + "serving = { batch_sizes = [] }\n", "whole numbers from 1"),
        (MODEL + "serving = { batch_sizes = [8, 8] }\n", "names something twice"),
        (MODEL + "serving = { weights = [0.0] }\n", "not all 0"),
        (MODEL + "require = { max_drop = 0.1 }\n", "[[require]]"),
        (MODEL + "[[require]]\nmax_drop = 0.1\nmax_drop_relative = 0.1\n", "exclude each other"),
        (MODEL + "[[require]]\nmax_drop = 0.1\nrequire_grade = 'C'\n", '"A"'),
        (MODEL + "[[require]]\nmax_drop = 0.1\ngated_groups = ['a=b']\n", "column of data.groups"),
        (MODEL + "[[require]]\nmax_drop = 0.1\n[[require]]\nmax_drop = 0.1\n", "a second time"),
        (
            MODEL + "ranges.int8_static.x = [0, 1]\nsettings.int8_static.x = 1\n",
            "`ranges.int8_static.x` and `settings.int8_static.x` exclude each other",
        ),
        (MODEL + "ranges.int8_sttic.x = [0, 1]\n", "did you mean `int8_static`"),
        (MODEL + "ranges.int8_static.x = [1, 0]\n", "low below high"),
        (MODEL + "ranges.int8_static.x = ['a']\n", "at least two different values"),
        (MODEL + "ranges.int8_static = 3\n", "must be a table of settings"),
        (MODEL + "settings.int8_static.x = [1, 2]\n", "use `ranges.int8_static.x`"),
        (MODEL + "settings = 1\n", "must be a table of techniques"),
    ],
)
def test_each_mistake_says_what_is_allowed(tmp_path: Path, tables: str, words: str) -> None:
    """One mistake gives one sentence with the file and a line."""
    found = mistakes(tmp_path, tables)
    assert len(found) == 1, found
    assert words in found[0]
    assert "(jettison.toml, line " in found[0]


def test_the_name_of_a_group_column_may_hold_an_equals_sign(tmp_path: Path) -> None:
    """`sex=f=1` is a value of the column `sex=f`, for what gates and for a context."""
    path = tmp_path / "jettison.toml"
    path.write_text(
        MODEL + "data = { groups = ['sex=f'] }\n[[require]]\nmax_drop = 0.1\n"
        "gated_groups = ['sex=f=1']\n[[contexts]]\nname = 'loud'\ntransform = 'gain'\n"
        "of = 'sex=f=1'\n"
    )
    made = read_configuration(path, {**KNOWN, "transformations": ("gain",)})
    assert made.requirements[0].gated_groups == ("sex=f=1",)
    assert made.contexts[0].of == "sex=f=1"


def test_ranges_are_read_by_their_form(tmp_path: Path) -> None:
    """Two numbers are ends; other lists are choices; a table spells out which."""
    made = read(
        tmp_path,
        MODEL
        + """\
[ranges.int8_static]
ends = [1, 4]
real = [0.5, 2]
words = ["a", "b"]
flags = [true, false]
three = [1, 2, 4]
long = { low = 1e-4, high = 1.0, default = 0.01, logarithmic = true }
pair = { values = [4, 8], default = 8 }
""",
    ).ranges["int8_static"]
    assert made["ends"] == IntegerRange(1, 4, 1)
    assert made["real"] == FloatRange(0.5, 2.0, 0.5)
    assert made["words"] == Choices(("a", "b"), "a")
    assert made["flags"] == Choices((True, False), default=True)
    assert made["three"] == Choices((1, 2, 4), 1)
    assert made["long"] == FloatRange(1e-4, 1.0, 0.01, logarithmic=True)
    assert made["pair"] == Choices((4, 8), 8)


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    """A file in another folder names files beside itself; a function is no path."""
    made = read(tmp_path, MODEL + "data = { source = '/abs/a.csv' }\noutput = 'run'\n")
    assert made.model.source == str(tmp_path / "m.onnx")
    assert made.data.source == "/abs/a.csv"
    assert made.output == str(tmp_path / "run")
    assert made.ledger == ""
    assert read(tmp_path, "model = { source = 'pkg.mod:make' }\n").model.source == "pkg.mod:make"


def test_python_callers_may_pass_tuples_and_paths() -> None:
    """The same tables given in Python are read; their mistakes name no file."""
    made = configuration_from(
        {"model": {"source": Path("m.onnx")}, "serving": {"batch_sizes": (1, 2)}}, KNOWN
    )
    assert made.model.source == "m.onnx"
    assert made.serving.weights == (0.5, 0.5)
    with pytest.raises(ConfigError) as caught:
        configuration_from({"model": {"source": "m"}, "search": {"trials": "many"}}, KNOWN)
    assert caught.value.problems == (
        "`trials` in `search` must be a whole number from 1 to 10000; got 'many'",
    )


def test_a_metric_may_be_left_to_the_task() -> None:
    """A requirement without a metric keeps the name open, to be filled in by the task."""
    made = configuration_from({"model": {"source": "m"}, "require": [{"max_drop": 0.02}]}, KNOWN)
    assert made.requirements[0].metric == ""
    assert made.requirements[0].max_drop_group == 0.06


def test_shares_of_batch_sizes_are_scaled_to_one() -> None:
    """Weights 3 and 1 are shares of 75 and 25 %."""
    made = configuration_from(
        {"model": {"source": "m"}, "serving": {"batch_sizes": [1, 8], "weights": [3, 1]}}, KNOWN
    )
    assert made.serving.weights == (0.75, 0.25)


def test_a_relative_margin_stays_unresolved() -> None:
    """`max_drop_relative` leaves `max_drop` at 0, which nothing can hold, until it is resolved."""
    made = configuration_from(
        {"model": {"source": "m"}, "require": [{"metric": "nll", "max_drop_relative": 0.1}]}, KNOWN
    )
    assert made.requirements[0].max_drop == 0
    assert made.requirements[0].max_drop_relative == 0.1


def test_functions_and_weights_are_found_from_the_file(tmp_path: Path) -> None:
    """A Python file and weights are relative to the configuration; a module is Python's to find."""
    for source, found in (
        ("nets/resnet.py:make", str(tmp_path / "nets/resnet.py:make")),
        ("nets.resnet:make", "nets.resnet:make"),
    ):
        made = read(
            tmp_path,
            f"""
[model]
source = "{source}"
weights = "w.safetensors"
inputs = ["image: float32[batch, 3, 32, 32]"]
""",
        )
        assert made.model.source == found
        assert made.model.weights == str(tmp_path / "w.safetensors")
        assert made.model.inputs == ("image: float32[batch, 3, 32, 32]",)
        assert made.image is None


def test_the_table_of_images(tmp_path: Path) -> None:
    """Its presence makes the model one of images; lists of the wrong length are refused."""
    made = read(
        tmp_path,
        """model = { source = "m.onnx" }
image = { mean = [0.5], std = [0.1, 0.2, 0.3] }""",
    )
    assert made.image == ImageSection(mean=(0.5,), std=(0.1, 0.2, 0.3))
    with pytest.raises(ConfigError) as caught:
        read(
            tmp_path,
            """
model = { source = "m.onnx" }
image = { mean = [0.5, 0.5], size = [32, 32, 3], channels = "blue", std = [0.0] }
""",
        )
    text = str(caught.value)
    for part in ("`mean` in `image` holds 2", "`size` in `image` holds 3", "`channels`", "`std`"):
        assert part in text


def test_images_on_the_command_line() -> None:
    """key=value texts give the same table; a text without an equals sign is refused."""
    table = image_table(["mean=0.5,0.4,0.3", "std=0.5", "size=32", "scale=1", "fit=crop"])
    assert table == {
        "image": {
            "mean": [0.5, 0.4, 0.3],
            "std": [0.5],
            "size": [32],
            "scale": 1,
            "fit": "crop",
        }
    }
    values = {"model": {"source": "m.onnx"}, "data": {}, **table}
    assert configuration_from(values, KNOWN).image == ImageSection(
        (32,), "crop", "bilinear", 1.0, (0.5, 0.4, 0.3), (0.5,)
    )
    assert image_table([]) == {}
    with pytest.raises(UsageError, match="key=value"):
        image_table(["mean"])
