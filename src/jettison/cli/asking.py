"""Arguments that several commands share, and the configuration that they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jettison.domain.configuration import Configuration

SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="A model (ONNX file, Hugging Face folder, skops or .pt2 file, net.py:make) or "
        "jettison.toml."
    ),
]
Weights = Annotated[str, typer.Option(help="File of weights for a PyTorch function.")]
ModelInputs = Annotated[
    list[str] | None,
    typer.Option("--model-input", help="name: dtype[batch, size] of a module; repeatable."),
]
Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="key=value of `image`, such as mean=0.5; repeatable."),
]
Data = Annotated[str, typer.Option(help="Rows: parquet, csv or npz.")]
Target = Annotated[str, typer.Option(help="Column with the right answers.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Column of groups; repeatable.")]
Inputs = Annotated[list[str] | None, typer.Option("--input", help="Input column; repeatable.")]
Unit = Annotated[str, typer.Option(help="Column that says which rows belong together.")]
Weight = Annotated[str, typer.Option(help="Column of row weights.")]
Task = Annotated[str, typer.Option(help="classification, regression or embedding.")]
Threads = Annotated[int, typer.Option(help="Computing threads of one call, as served.")]
BatchSizes = Annotated[
    list[int] | None, typer.Option("--batch-size", help="Rows per call, as served; repeatable.")
]
TrustPickle = Annotated[
    bool, typer.Option("--trust-pickle", help="Open a pickle: it can run any code.")
]
Output = Annotated[str, typer.Option(help="Folder of the run.")]


def configure(source: Path, asked: dict[str, Any]) -> Configuration:
    """A configuration from a .toml file alone, or from a model and the options."""
    from jettison import config, registry

    known = registry.all_names()
    if source.suffix == ".toml":
        return config.read_configuration(source, known)
    asked["model"]["source"] = str(source)
    return config.configuration_from(asked, known)
