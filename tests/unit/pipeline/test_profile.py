"""The profile: stages, layers, the bound, the noise floor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.raw_examples import write_raw
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Rows
from jettison.pipeline.profile import LOWEST_FLOOR, layers, profile


def test_a_profile_says_where_time_and_bytes_go(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Stages share the whole; layers know their weights; the bound follows from the shares."""
    found = profile(network, rows, serving, tmp_path / "profile")
    stages = {stage.name: stage for stage in found.stages}
    assert list(stages) == ["encode", "model", "decode"]
    assert sum(stage.share for stage in found.stages) == pytest.approx(1.0)
    assert stages["encode"].milliseconds == 0.0
    assert any("Encoding was not timed" in note for note in found.notes)
    assert stages["decode"].milliseconds > 0
    assert found.bound == pytest.approx(1.0 / (1.0 - stages["model"].share))
    assert {layer.name for layer in found.layers} >= {"first", "second"}
    assert found.bytes_share_of("MatMul") > 0.9
    assert found.noise_floor >= LOWEST_FLOOR
    assert from_json(type(found), to_json(found)) == found


def test_encoding_is_timed_on_raw_examples(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """With raw examples at hand, the encoder has its share of the time."""
    write_raw(Example({"x": np.array(rows.column("x"))}, rows.n), tmp_path / "raw")
    encoder = registry.get("encoders", "arrays").bind(network.encoder, network, ("x",))
    bound = dataclasses.replace(network, encoder=encoder)
    found = profile(bound, rows, serving, tmp_path / "profile", tmp_path / "raw")
    assert found.stages[0].name == "encode"
    assert found.stages[0].milliseconds > 0


def test_layers_alone_are_those_of_the_profile(
    network: Model, rows: Rows, serving: ServingProfile
) -> None:
    """The layers can be had without timing stages against each other."""
    found = {layer.name: layer for layer in layers(network, rows, serving)}
    assert found["first"].parameters == 16 * 32
    assert sum(layer.time_share or 0.0 for layer in found.values()) == pytest.approx(1.0)
