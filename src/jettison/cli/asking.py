"""Arguments that several commands share, and the configuration that they ask for."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from jettison.errors import UsageError

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
Prediction = Annotated[
    str, typer.Option(help="Output that quality is read from, where there are several.")
]
Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="key=value of `image`, such as mean=0.5; repeatable."),
]
Data = Annotated[
    str, typer.Option(help="Rows: a file, a folder, or a function such as rows.py:make.")
]
Target = Annotated[str, typer.Option(help="Column with the right answers.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Column of groups; repeatable.")]
Inputs = Annotated[list[str] | None, typer.Option("--input", help="Input column; repeatable.")]
Unit = Annotated[str, typer.Option(help="Column that says which rows belong together.")]
Weight = Annotated[str, typer.Option(help="Column of row weights.")]
Task = Annotated[str, typer.Option(help="What the model does; empty to find out.")]
Threads = Annotated[int, typer.Option(help="Computing threads of one call, as served.")]
BatchSizes = Annotated[
    list[int] | None, typer.Option("--batch-size", help="Rows per call, as served; repeatable.")
]
TrustPickle = Annotated[
    bool, typer.Option("--trust-pickle", help="Open a pickle: it can run any code.")
]
Output = Annotated[str, typer.Option(help="Folder of the run.")]


GIVEN: ContextVar[tuple[str, ...]] = ContextVar("GIVEN", default=())
"""Options of the running command that were typed, as `--help` shows them."""


class Command(TyperCommand):
    """A command that remembers which options were typed, even where a value is the default."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; Ctrl-C is no fault of ours, so its exit code is that of an interruption."""
        typed = (
            max(parameter.opts, key=len)
            for parameter in self.params
            if parameter.param_type_name == "option"
            and parameter.name is not None
            and _typed(ctx.get_parameter_source(parameter.name))
        )
        token = GIVEN.set(tuple(typed))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("jettison: interrupted", file=sys.stderr)
            raise typer.Exit(4) from None
        finally:
            GIVEN.reset(token)


def _typed(source: Any) -> bool:
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def configure(source: Path, asked: dict[str, Any], beside: tuple[str, ...] = ()) -> Configuration:
    """A configuration from a .toml file alone, or from a model and the options.

    Args:
        source: the file or the model.
        asked: tables that the options stand for; a .toml file says all of it itself.
        beside: options that say nothing that stands in a file, so that they go with one.

    Raises:
        UsageError: if options were typed that a .toml file leaves no place for.
        ConfigError: with every mistake in the file or the options.
    """
    given = [option for option in GIVEN.get() if option not in beside]
    if source.suffix == ".toml" and given:
        listed = ", ".join(f"`{option}`" for option in given)
        raise UsageError(
            f"{listed} can't be given with {source}, which says it itself: change the file, or leave "
            f"it out and name the model{_also(beside)}"
        )
    return configured(source, asked)


def _also(beside: tuple[str, ...]) -> str:
    """Which options go with a file."""
    return f" (only {', '.join(f'`{option}`' for option in beside)} goes with a file)" * bool(
        beside
    )


def configured(source: Path, asked: dict[str, Any]) -> Configuration:
    """As `configure`, for a command that lays what was typed over the file by itself."""
    from jettison import config, registry

    known = registry.all_names()
    if source.suffix == ".toml":
        return config.read_configuration(source, known)
    asked["model"]["source"] = str(source)
    return config.configuration_from(asked, known)


def check_file_to_write(path: Path | None) -> None:
    """Refuses a file that can't be written, before minutes are spent on what goes into it.

    Raises:
        UsageError: if its folder is not there, or it is a folder itself.
    """
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist; make it, or choose another file")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
