"""What is written as jettison.toml reads back as the same configuration."""

from __future__ import annotations

import dataclasses
import string
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.config import read_configuration, render_configuration
from jettison.config.toml_lines import key_lines
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import (
    Configuration,
    DataSection,
    ImageSection,
    ModelSection,
    SearchSection,
)
from jettison.domain.device import ServingProfile
from jettison.domain.recipe import Choices, FloatRange, IntegerRange

KNOWN = {
    "techniques": ("int8_static", "chita"),
    "runtimes": ("onnx_runtime",),
    "metrics": ("accuracy", "nll"),
    "costs": ("latency_ms", "size_bytes"),
}

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
paths = st.text(string.ascii_letters + " é'\"\\#]", min_size=1, max_size=12)
columns = st.lists(text, unique=True, max_size=3).map(tuple)
margins = st.floats(1e-6, 100, allow_nan=False)
seeds = st.integers(0, 2**31 - 1)
setting_names = st.text(string.ascii_letters + string.digits + "_- .é", min_size=1, max_size=8)


@st.composite
def requirements(draw: Any, groups: tuple[str, ...]) -> tuple[Requirement, ...]:
    made = []
    for metric in draw(st.lists(st.sampled_from(["accuracy", "nll", ""]), unique=True)):
        named = [g for g in groups if "=" not in g]
        gated = [f"{group}={draw(text)}" for group in named]
        made.append(
            Requirement(
                metric,
                draw(margins),
                draw(margins),
                draw(st.floats(0.5, 0.9999)),
                draw(st.sampled_from(["A", "B"])),
                draw(st.sampled_from([None, tuple(gated)])),
            )
        )
    return tuple(made)


@st.composite
def ranges(draw: Any) -> Any:
    kind = draw(st.integers(0, 2))
    if kind == 0:
        low, middle, high = sorted(draw(st.sets(st.integers(-99, 99), min_size=3, max_size=3)))
        return IntegerRange(low, high, middle)
    if kind == 1:
        low, middle, high = sorted(draw(st.sets(st.floats(0.01, 9), min_size=3, max_size=3)))
        return FloatRange(low, high, middle, logarithmic=draw(st.booleans()))
    values = draw(st.lists(text, unique=True, min_size=2, max_size=4))
    return Choices(tuple(values), draw(st.sampled_from(values)))


scalars = st.booleans() | st.integers(-9, 9) | st.floats(-9, 9, allow_nan=False) | text


@st.composite
def images(draw: Any) -> ImageSection:
    numbers = st.lists(st.floats(-1e3, 1e3, allow_nan=False), min_size=1, max_size=1).map(tuple)
    return ImageSection(
        size=draw(st.sampled_from([(), (32,), (32, 32)])),
        fit=draw(st.sampled_from(["stretch", "crop"])),
        scale=draw(st.floats(1e-6, 9)),
        mean=draw(numbers),
        std=draw(st.sampled_from([(), (0.5,), (0.5, 0.5, 0.5)])),
    )


@st.composite
def configurations(draw: Any) -> Configuration:
    groups = draw(columns)
    sizes = draw(st.lists(st.integers(1, 512), unique=True, min_size=1, max_size=4))
    return Configuration(
        model=ModelSection(
            draw(paths),
            draw(st.sampled_from(["", "regression"])),
            draw(st.booleans()),
            weights=draw(paths),
            inputs=draw(columns),
        ),
        image=draw(st.none() | images()),
        data=DataSection(source=draw(paths), groups=groups, seed=draw(seeds)),
        search=SearchSection(
            techniques=draw(st.sampled_from([(), ("chita",)])),
            trials=draw(st.integers(1, 10_000)),
            max_minutes=draw(st.floats(0.01, 9999)),
            shortlist=draw(st.integers(1, 6)),
        ),
        serving=ServingProfile(
            tuple(sizes), tuple(1 / len(sizes) for _ in sizes), draw(st.integers(1, 64))
        ),
        requirements=draw(requirements(groups)),
        ranges=draw(
            st.dictionaries(
                st.just("chita"),
                st.dictionaries(setting_names, ranges(), min_size=1, max_size=3),
            )
        ),
        settings=draw(
            st.dictionaries(
                st.sampled_from(["int8_static", "onnx_runtime"]),
                st.dictionaries(setting_names, scalars, min_size=1, max_size=3),
            )
        ),
        on_undecided=draw(st.sampled_from(["fail", "ship_listed"])),
        output=draw(paths),
    )


@given(configurations())
@settings(deadline=None, max_examples=60)
def test_what_is_written_reads_back_equal(made: Configuration) -> None:
    """Every value survives, whatever characters it holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jettison.toml"
        path.write_text(render_configuration(made), encoding="utf-8")
        again = read_configuration(path, KNOWN)
    there = dataclasses.replace(
        made,
        model=dataclasses.replace(
            made.model,
            source=str(Path(folder) / made.model.source),
            weights=str(Path(folder) / made.model.weights),
        ),
        data=dataclasses.replace(made.data, source=str(Path(folder) / made.data.source)),
        output=str(Path(folder) / made.output),
    )
    assert again == there


keys = st.text(string.ascii_letters + "_-", min_size=1, max_size=5)
values = st.sampled_from(
    ["1", '"a # ] } = [x]"', "'''\n[no]\nb = 1'''", "[1, [2, '}'], # c\n 3]", "{ a = [1], b = '' }"]
)


@given(st.lists(st.tuples(keys, keys, values), unique_by=lambda t: t[:2], max_size=12))
def test_keys_are_found_on_their_lines(entries: list[tuple[str, str, str]]) -> None:
    """Whatever stands between them, each key of each table is found where it was written."""
    written = ""
    expected: dict[tuple[str, ...], int] = {}
    for table in dict.fromkeys(t for t, _, _ in entries):
        written += f"\n# [{table}.no] = 1\n[{table}]\n"
        for key, value in ((k, v) for t, k, v in entries if t == table):
            expected[(table, key)] = written.count("\n") + 1
            written += f"{key} = {value}\n"
    found = key_lines(written)
    assert {path: found[path] for path in expected} == expected
