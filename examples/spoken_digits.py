"""Spoken digits, recognised by a small model that takes sound, certified by speaker and microphone.

    python examples/spoken_digits.py ../shared/data/speech digits-run

The recogniser of the data folder takes log-mel features. A microphone changes sound, not features,
so the features are put into the graph in front of it. An utterance is one clip, padded to one
length: strings made of the same clips again and again would be more rows, but not more evidence.

Of the 600 clips, the model never heard 300 (recordings 0 to 4 of each digit and speaker): these are
sealed. Fifty clips a speaker are too few for any claim on word errors: that is said before the seal
opens, and `on_undecided` decides whether the model then ships with the speakers listed as not
certified, or in a bundle marked `uncertified`, with the seal still closed.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

RATE, LENGTH = 8_000, 10_800
"""Samples a second; samples of an utterance (1.35 s, the longest clip has 1.31 s)."""

MELS, TAPS, WINDOW, HOP = 40, 256, 200, 80
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = ("<blank>", *(f"{word}|" for word in WORDS))
"""Of the eleven scores a moment; a label that ends with `|` ends a word."""

CONTEXTS = [
    {
        "name": "telephone",
        "transform": "microphone",
        "settings": {"sample_rate": RATE, "low_hz": 300.0, "high_hz": 3400.0},
    },
    {"name": "noise20", "transform": "signal_noise", "settings": {"snr_db": 20.0}},
    {"name": "quiet", "transform": "gain", "settings": {"decibels": -12.0}},
]


def mel_filters() -> np.ndarray[Any, Any]:
    """The filter bank that the recogniser was trained with, shape (bins, mels)."""
    mel_ends = 2595 * np.log10(1 + np.array([60.0, RATE / 2]) / 700)
    points = 700 * (10 ** (np.linspace(*mel_ends, MELS + 2) / 2595) - 1)
    edges = np.floor((TAPS + 1) * points / RATE).astype(int)
    filters = np.zeros((TAPS // 2 + 1, MELS), np.float32)
    for place in range(MELS):
        left, middle, right = edges[place : place + 3]
        for k in range(left, max(middle, left + 1)):
            filters[k, place] = (k - left + 1) / max(middle - left + 1, 1)
        for k in range(middle, min(max(right, middle + 1), TAPS // 2 + 1)):
            filters[k, place] = (right - k) / max(right - middle + 1, 1)
    return filters


def features() -> onnx.ModelProto:
    """Sound (1, samples) to normalised log-mel features (1, frames, 40), in ONNX operators."""
    window = np.zeros(TAPS, np.float32)
    start = (TAPS - WINDOW) // 2
    window[start : start + WINDOW] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    constants = {
        "pads": np.array([0, TAPS // 2, 0, TAPS // 2], np.int64),
        "hop": np.array(HOP, np.int64),
        "window": window,
        "parts": np.array([-1], np.int64),
        "mel": mel_filters(),
        "least": np.array(1e-6, np.float32),
        "tiny": np.array(1e-5, np.float32),
        "last": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Pad", ["sound", "pads"], ["padded"], mode="reflect"),
        node("Unsqueeze", ["padded", "last"], ["columns"]),
        node("STFT", ["columns", "hop", "window"], ["spectrum"]),
        node("ReduceSumSquare", ["spectrum", "parts"], ["power"], keepdims=0),
        node("MatMul", ["power", "mel"], ["energy"]),
        node("Add", ["energy", "least"], ["floored"]),
        node("Log", ["floored"], ["logs"]),
        node("ReduceMean", ["logs"], ["mean"]),
        node("Sub", ["logs", "mean"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"]),
        node("Sqrt", ["variance"], ["deviation"]),
        node("Add", ["deviation", "tiny"], ["scale"]),
        node("Div", ["centred", "scale"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, LENGTH])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, None, MELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def recogniser(data: Path, folder: Path) -> Path:
    """Writes the recogniser with its features in front, and the names of its scores beside it."""
    letters = onnx.load(data / "fsdd-digits-ctc.onnx")
    whole = compose.merge_models(features(), letters, io_map=[("features", "logmel")])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "digits.onnx"
    onnx.save(whole, path)
    path.with_suffix(".labels.json").write_text(json.dumps(LABELS))
    return path


def utterances(data: Path) -> dict[str, dict[str, Any]]:
    """The clips in one length: recordings 5 to 9 for search, 0 to 4 (never heard) to certify."""
    clips = np.load(data / "fsdd.npz")
    random, offsets = np.random.default_rng(0), clips["offsets"]
    # The silence of its training: noise of a thousandth of full scale, 60 ms before the clip.
    sound = random.normal(0.0, 1e-3, (len(clips["digit"]), LENGTH)).astype(np.float32)
    for row, (begin, end) in enumerate(itertools.pairwise(offsets)):
        clip = clips["pcm"][begin:end].astype(np.float32)
        clip = clip / (np.abs(clip).max() + 1e-6) * 0.6
        sound[row, 480 : 480 + len(clip)][: LENGTH - 480] = clip[: LENGTH - 480]
    columns: Mapping[str, Any] = {
        "sound": sound,
        "spoken": np.array([WORDS[digit] for digit in clips["digit"]]),
        "speaker": clips["speaker"],
        "accent": clips["accent"],
    }
    parts = np.where(clips["index"] < 5, 2, clips["index"] % 2)
    uses = ("fitting", "selection", "certification")
    return {
        use: {name: values[parts == part] for name, values in columns.items()}
        for part, use in enumerate(uses)
    }


def configuration(output: str) -> str:
    """jettison.toml: word errors overall, by speaker, by accent, and in each context."""
    contexts = "\n".join(
        f'[[contexts]]\nname = "{one["name"]}"\ntransform = "{one["transform"]}"\n'
        + "settings = { "
        + ", ".join(f"{key} = {value}" for key, value in one["settings"].items())
        + " }\n"
        for one in CONTEXTS
    )
    return f"""\
output = "{output}"
on_undecided = "ship_listed"    # "fail": uncertified and unopened; no speaker has rows enough

[model]
source = "digits.onnx"
task = "transcription"

[data]
fitting = "fitting.npz"
selection = "selection.npz"
certification = "certification.npz"
inputs = ["sound"]
target = "spoken"
groups = ["speaker", "accent"]

[search]
techniques = ["int8_dynamic", "int8_static", "half_precision"]
runtimes = ["onnx_runtime"]
minimise = ["size_bytes", "latency_ms"]
trials = 12

[[require]]
metric = "wer"
max_drop = 0.03
max_drop_group = 0.06

{contexts}"""


def main(data: Path, folder: Path) -> int:
    """Writes the model, its rows and jettison.toml; says what to type."""
    recogniser(data, folder)
    for use, columns in utterances(data).items():
        np.savez(folder / f"{use}.npz", **columns)
    path = folder / "jettison.toml"
    path.write_text(configuration("run"))
    print(f"jettison plan-data {path}\njettison optimize {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
