"""The roofline in words: what bounds the layers, what would help, and nothing where it is unknown."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from jettison import machine
from jettison.domain.catalogue import Listed
from jettison.domain.profile import LayerCost
from jettison.domain.rates import Level, Rate, Rates
from jettison.domain.run import RunRecord
from jettison.reporting import catalogue, roofline
from jettison.reporting.html_report import render_report
from jettison.reporting.roofline_plot import roofline_plot
from tests.unit.reporting import records

RATES = Rates(
    1,
    (
        Level("L2", 2**20, Rate(40e9, 39e9, 9)),
        Level("memory", 2**62, Rate(10e9, 9e9, 9)),
    ),
    {"float32": Rate(20e9, 19e9, 9), "int8": Rate(60e9, 59e9, 9)},
)


@pytest.fixture
def record() -> RunRecord:
    """A run with a layer of each kind: 5 ms of products, 2 ms of reading, 1 ms of neither."""
    layers = (
        LayerCost("dense", "MatMul", 25_000, 90_000_000, 100_000, 0.5, None, 4_000),
        LayerCost("table", "MatMul", 500_000, 500_000, 2_000_000, 0.03, None, 4_000),
        LayerCost("tiny", "Add", 0, 0, 0, 0.1, None, 400),
    )
    profile = dataclasses.replace(
        records.profile(), layers=layers, rates=RATES, layer_ms=10.0, layer_batch=1
    )
    return dataclasses.replace(records.improved(), profile=profile)


def text_of(renderable: object) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(renderable)
    return console.export_text()


def test_each_layer_is_told_what_helps_it(record: RunRecord) -> None:
    """Products, bytes and overhead have different cures."""
    table = roofline.roofline(record)
    found = {row[0].text: (row[5].text, row[6].text) for row in table.rows}
    assert found["dense"][0] == "computing"
    assert "3.0x as fast here" in found["dense"][1]
    assert found["table"][0] == "reading"
    assert "fewer bytes" in found["table"][1]
    assert found["tiny"][0] == "neither"
    assert "fewer products don't help" in found["tiny"][1]


def test_the_page_and_the_terminal_show_it(record: RunRecord) -> None:
    """Sentence, table and plot stand in the page; `jettison profile` prints the same layers."""
    page = render_report(record)
    assert "is bound by computing" in page
    assert "Layers under the roofline" in page
    assert roofline_plot(record) is not None
    printed = text_of(roofline.layers(record.profile))
    assert "dense" in printed
    assert "read from memory" in printed


def test_a_busy_machine_is_told(record: RunRecord) -> None:
    """Rates beside other work are too low: the sentence says so, and no ratio is promised."""
    busy = dataclasses.replace(RATES, busy=True)
    profile = dataclasses.replace(record.profile, rates=busy)
    assert "machine was busy" in roofline.sentence(profile)
    table = roofline.roofline(dataclasses.replace(record, profile=profile))
    assert not any("as fast here" in row[6].text for row in table.rows)


def test_without_rates_there_is_no_section() -> None:
    """Runs of earlier versions, and models without layers, show nothing of it."""
    record = records.improved()
    assert roofline.roofline(record).rows == ()
    assert roofline_plot(record) is None
    assert roofline.sentence(record.profile) == ""
    assert "Layers under the roofline" not in render_report(record)


def around(*packages: str, compiler: str = "/usr/bin/g++") -> catalogue.Surroundings:
    return catalogue.Surroundings("openblas", compiler, packages, [RATES])


def test_doctor_tells_rates_and_what_they_mean() -> None:
    """Rates with threads, ratios and meanings; instruction sets that are not there, too."""
    shown = text_of(catalogue.health(records.DEVICE, [], around("onnxruntime")))
    assert "GMAC/s (upper quartile of 9" in shown
    assert "3.0x float32" in shown
    assert "what int8 can gain at most" in shown
    assert "/usr/bin/g++" in shown
    assert "overwrite each other" not in shown


def test_every_instruction_set_has_a_meaning() -> None:
    """`doctor` says of each that it looks for what it means, not only that it is there."""
    device = dataclasses.replace(records.DEVICE, features=machine.FEATURES)
    shown = text_of(catalogue.health(device, [], around("onnxruntime")))
    assert set(machine.FEATURES) == set(catalogue.FEATURES)
    assert all(meaning in shown for meaning in catalogue.FEATURES.values())


def test_doctor_names_what_is_wrong() -> None:
    """No compiler, and two packages that hold the same module: with what to do."""
    listed: list[Listed] = []
    two = around("onnxruntime", "onnxruntime-gpu", compiler="")
    shown = text_of(catalogue.health(records.DEVICE, listed, two))
    assert "torch.compile can't build kernels" in shown
    assert "onnxruntime and onnxruntime-gpu" in shown
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in shown


def test_what_to_install_is_shown_whole() -> None:
    """`jettison list` names the extra; brackets are no markup."""
    lacking = Listed("runtimes", "openvino", "jettison", install="pip install 'jettison[openvino]'")
    assert "pip install 'jettison[openvino]'" in text_of(catalogue.members([lacking]))
