"""The keys of `model`, `image` and `data`: what goes in."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from jettison.config.key import REQUIRED, SEED, Key, Names, Numbers, Seed, Text, defaults_of
from jettison.domain.configuration import ArraysSection, DataSection, ImageSection, ModelSection

_MODEL = defaults_of(ModelSection)
_IMAGE = defaults_of(ImageSection)
_DATA = defaults_of(DataSection)

_COLUMN = "a column name, or an empty text"
_FILE = (
    "the path of a .parquet, .csv, .tsv (also .gz), .jsonl, .arrow or .npz file, of a folder of files "
    "or of a saved dataset, a function such as rows.py:make, or an empty text"
)

MODEL_KEYS = (
    Key(
        "model",
        "source",
        Text,
        "a path, or a Python function such as net.py:make",
        REQUIRED,
        "An ONNX file, a Hugging Face folder, a scikit-learn file (.skops), an exported PyTorch "
        "program (.pt2), or a function that gives a PyTorch module (package.module:function or "
        "file.py:function).",
    ),
    Key(
        "model",
        "task",
        Literal[
            "",
            "classification",
            "regression",
            "embedding",
            "transcription",
            "token-classification",
            "feature-extraction",
            "text-classification",
            "image-classification",
        ],
        '"classification", "regression", "embedding", "transcription", "token-classification", '
        '"feature-extraction", or empty to find out',
        _MODEL["task"],
        "What the model does. Empty: found out from its files (not: transcription, texts or scores of "
        "letters over time).",
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
        "Tokens kept of a text, by the original too. 0: what the model's own files say, at most 256.",
    ),
    Key(
        "model",
        "weights",
        str,
        "the path of a .safetensors file (a .pt or .pth file with trust_pickle), or an empty text",
        _MODEL["weights"],
        "Weights for the module that a function gives. Empty: the function loads its own.",
    ),
    Key(
        "model",
        "inputs",
        Names,
        'a list of inputs such as "image: float32[batch, 3, 32, 32]"',
        _MODEL["inputs"],
        "What the `forward` of a PyTorch module takes, in its order. A number is a fixed size, a "
        "word a free one; the first is the batch.",
    ),
    Key(
        "model",
        "prediction",
        str,
        "the name of an output, or an empty text",
        _MODEL["prediction"],
        "The output that quality is read from, where an ONNX graph or a PyTorch module has several. "
        "Empty: the only one, or the only float output of two dimensions.",
    ),
)

IMAGE_KEYS = (
    Key(
        "image",
        "size",
        list[Annotated[int, Ge(1), Le(16_384)]],
        "[height, width], one number for both in a list, or an empty list",
        _IMAGE["size"],
        "Pixels that the model takes. Empty: what the shape of its input says.",
    ),
    Key(
        "image",
        "fit",
        Literal["stretch", "crop"],
        '"stretch" or "crop"',
        _IMAGE["fit"],
        "How an image of another shape is brought to the size: stretched, or its shorter side "
        "resized and the middle cut out.",
    ),
    Key(
        "image",
        "filter",
        Literal["nearest", "bilinear", "bicubic", "lanczos"],
        '"nearest", "bilinear", "bicubic" or "lanczos"',
        _IMAGE["filter"],
        "Filter of the resizing, as Pillow names it.",
    ),
    Key(
        "image",
        "scale",
        Annotated[float, Gt(0), Le(1e6)],
        "a number above 0",
        _IMAGE["scale"],
        "Pixels (0 to 255) are multiplied by it. The default gives 0 to 1.",
    ),
    Key(
        "image",
        "mean",
        Numbers,
        "a list of numbers, one for each channel or one for all, or an empty list",
        _IMAGE["mean"],
        "Subtracted after scaling. Empty: 0.",
    ),
    Key(
        "image",
        "std",
        list[Annotated[float, Gt(0), Le(1e6)]],
        "a list of numbers above 0, one for each channel or one for all, or an empty list",
        _IMAGE["std"],
        "Divided by after the mean was subtracted. Empty: 1.",
    ),
    Key(
        "image",
        "channels",
        Literal["rgb", "bgr", "grey"],
        '"rgb", "bgr" or "grey"',
        _IMAGE["channels"],
        "Order of the colours, or one channel of brightness.",
    ),
)

ARRAYS_KEYS = (
    Key(
        "arrays",
        "padding",
        Annotated[float, Ge(-1e9), Le(1e9)],
        "a number from -1e9 to 1e9",
        defaults_of(ArraysSection)["padding"],
        "Fills rows that are shorter than the longest of their batch, on the right.",
    ),
)

DATA_KEYS = (
    Key(
        "data",
        "source",
        str,
        _FILE,
        _DATA["source"],
        "One file, divided by unit: 5 % fitting (at most `fitting_rows`), 15 % selection, 80 % "
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
        Names,
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
        Names,
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
    Key(
        "data",
        "near_duplicates",
        Literal["report", "drop"],
        '"report" or "drop"',
        _DATA["near_duplicates"],
        "What is done with fitting rows that a sealed row nearly repeats: told, or left out too.",
    ),
    Key(
        "data",
        "seed",
        Seed,
        SEED,
        _DATA["seed"],
        "Of the division into the three uses, and of whatever techniques and contexts draw.",
    ),
    Key(
        "data",
        "fitting_rows",
        Annotated[int, Ge(1), Le(10_000_000)],
        "a whole number from 1 to 10000000",
        _DATA["fitting_rows"],
        "Most rows that techniques fit on. Calibration needs no more than the default; pruning "
        "and fine-tuning gain from thousands. The surplus is left out: a lower cap seals no row that "
        "was fitted on.",
    ),
)
