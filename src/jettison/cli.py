"""The command line: reads arguments, prints, decides nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import jettison
from jettison.errors import InternalError, JettisonError, UsageError
from jettison.serving.cli import serve

if TYPE_CHECKING:
    from jettison.domain.configuration import Configuration

app = typer.Typer(
    name="jettison",
    help="Finds the fastest version of a trained model for this machine, measures it as served, "
    "and certifies that its quality has not dropped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(serve)

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


@app.command()
def optimize(
    source: SourceArgument,
    data: Data = "",
    target: Target = "",
    group: Groups = None,
    input_: Inputs = None,
    unit: Unit = "",
    weight: Weight = "",
    task: Task = "",
    weights: Weights = "",
    model_input: ModelInputs = None,
    image: Images = None,
    metric: Annotated[str, typer.Option(help="Quality metric that must hold.")] = "",
    max_drop: Annotated[float, typer.Option(help="Largest drop allowed overall.")] = 0.01,
    max_drop_group: Annotated[
        float | None, typer.Option(help="Largest drop allowed in a group (3 x max-drop).")
    ] = None,
    technique: Annotated[
        list[str] | None, typer.Option("--technique", help="Try only these; repeatable.")
    ] = None,
    minimise: Annotated[
        list[str] | None, typer.Option("--minimise", help="Costs; the first decides; repeatable.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Recipes to try at most.")] = 40,
    max_minutes: Annotated[float, typer.Option(help="Minutes to search at most.")] = 30.0,
    threads: Threads = 1,
    batch_size: BatchSizes = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 7,
    no_certify: Annotated[
        bool, typer.Option("--no-certify", help="Keep the seal closed; iterate freely.")
    ] = False,
    ship_listed: Annotated[
        bool, typer.Option("--ship-listed", help="Ship with undecided groups named.")
    ] = False,
    trust_pickle: TrustPickle = False,
    output: Output = "jettison-run",
    ledger: Annotated[str, typer.Option(help="Folder of the ledger.")] = "",
) -> None:
    """Find, measure, certify and ship the best version of a model."""
    requirement: dict[str, Any] = {"max_drop": max_drop}
    if max_drop_group is not None:
        requirement["max_drop_group"] = max_drop_group
    from jettison import config

    configuration = _configure(
        source,
        {
            "model": {
                "task": task,
                "trust_pickle": trust_pickle,
                "weights": weights,
                "inputs": model_input or [],
            },
            **config.image_table(image or ()),
            "data": {
                "source": data,
                "target": target,
                "groups": group or [],
                "inputs": input_ or [],
                "unit": unit,
                "weight": weight,
                "seed": seed,
            },
            "search": {
                "techniques": technique or [],
                "minimise": minimise or ["latency_ms", "size_bytes"],
                "trials": trials,
                "max_minutes": max_minutes,
            },
            "serving": {"threads": threads, "batch_sizes": batch_size or [1]},
            "require": [requirement | ({"metric": metric} if metric else {})],
            "on_undecided": "ship_listed" if ship_listed else "fail",
            "output": output,
            "ledger": ledger,
        },
    )
    from jettison import preparation, whole_run

    def work(progress: Any) -> Any:
        with preparation.run_folder(Path(configuration.output)):
            prepared = preparation.prepare(configuration, progress)
            return whole_run.run(prepared, progress, certify=not no_certify)

    _finish(_with_progress(work), Path(configuration.output))


@app.command()
def demo(output: Output = "jettison-demo") -> None:
    """Optimise Google's Magika on the files of this Python installation."""
    from jettison import demo as example
    from jettison import preparation

    folder = Path(output).absolute()

    def work(progress: Any) -> Any:
        with preparation.run_folder(folder):
            return example.demo(folder, progress)

    _finish(_with_progress(work), folder)


@app.command()
def init(
    source: Annotated[Path, typer.Argument(help="A model.")],
    data: Annotated[Path | None, typer.Argument(help="Rows: parquet, csv or npz.")] = None,
    target: Target = "",
    group: Groups = None,
    weights: Weights = "",
    model_input: ModelInputs = None,
    image: Images = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite jettison.toml.")] = False,
) -> None:
    """Write jettison.toml with every default spelled out."""
    from jettison import config
    from jettison.domain.files import write_atomically

    configuration = _configure(
        source,
        {
            "model": {"weights": weights, "inputs": model_input or []},
            **config.image_table(image or ()),
            "data": {"source": str(data or ""), "target": target, "groups": group or []},
        },
    )
    path = Path("jettison.toml")
    if path.exists() and not force:
        raise UsageError("jettison.toml exists already; use --force to overwrite it")
    write_atomically(path, config.render_configuration(configuration))
    print(f"wrote {path}; next: jettison optimize {path}")


@app.command()
def advise(source: SourceArgument, data: Data = "", task: Task = "", threads: Threads = 1) -> None:
    """Say what each technique could gain here at most, and why. Only the profile is run."""
    from jettison.reporting import advice

    prepared = _prepared(source, data, task, threads)
    _print(advice.advice(prepared.space, prepared.profile))


@app.command()
def profile(source: SourceArgument, data: Data = "", task: Task = "", threads: Threads = 1) -> None:
    """Show where time and bytes go in the untouched model."""
    from jettison.reporting import advice

    prepared = _prepared(source, data, task, threads)
    _print(advice.where_time_goes(prepared.profile), advice.layers_table(prepared.profile))


@app.command()
def plan(source: SourceArgument, data: Data = "", task: Task = "", threads: Threads = 1) -> None:
    """Show the recipes and ranges that a search would try."""
    from jettison.reporting import advice

    prepared = _prepared(source, data, task, threads)
    _print(advice.space_table(prepared.space), advice.refusals(prepared.space))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    expect: Annotated[str, typer.Option(help="Digest that the bundle must have.")] = "",
) -> None:
    """Check a bundle: hashes, reload, outputs, verdicts."""
    from jettison.pipeline import verify as checking

    result = checking.verify(bundle, expect)
    for check in result.checks:
        print(f"ok   {check}")
    for note in result.notes:
        print(f"note {note}")
    print(f"bundle {result.digest}: {result.status}")


@app.command()
def export(
    kind: Annotated[str, typer.Argument(help="triton, kserve, docker, ray, ...")],
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: new, or empty.")],
    name: Annotated[str, typer.Option(help="Name of the model (the bundle's folder).")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the kind; repeatable.")
    ] = None,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Export what no certificate covers.")
    ] = False,
) -> None:
    """Write a bundle for another server: Triton, KServe, a container, Ray Serve."""
    from jettison.export import exporting

    result = exporting.export(
        kind, bundle, out, name=name, given=set_ or (), allow_uncertified=allow_uncertified
    )
    print(f"wrote {result.folder} from bundle {result.digest}: {result.status}")
    for step in result.steps:
        print(f"next {step}")


@app.command()
def monitoring(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made where it is missing.")],
    target: Annotated[
        str, typer.Option(help="host:port of the server, as Prometheus reaches it.")
    ] = "127.0.0.1:8080",
) -> None:
    """Write alert rules for Prometheus and a dashboard for Grafana."""
    from jettison.serving.observability.monitoring_files import write_monitoring

    for path in write_monitoring(folder, target):
        print(f"wrote {path}")


@app.command(name="list")
def list_(
    family: Annotated[str, typer.Argument(help="techniques, runtimes, metrics, ...")] = "",
) -> None:
    """List what is installed; a family shows what each of its members needs."""
    from jettison import registry
    from jettison.reporting import catalogue

    if not family:
        _print(catalogue.overview({f: registry.packages(f) for f in registry.FAMILIES}))
    elif family in registry.FAMILIES:
        _print(catalogue.members(registry.describe(family)))
    else:
        raise UsageError(f"no family `{family}`; there are: {', '.join(registry.FAMILIES)}")


@app.command()
def doctor() -> None:
    """Show what works on this machine and what to install for the rest."""
    from jettison import machine, registry
    from jettison.reporting import catalogue

    listed = [item for family in registry.FAMILIES for item in registry.describe(family)]
    _print(catalogue.health(machine.describe_device(), listed, machine.describe_blas()))


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(jettison.__version__)
        raise typer.Exit


def _configure(source: Path, asked: dict[str, Any]) -> Configuration:
    """A configuration from a .toml file alone, or from a model and the options."""
    from jettison import config, registry

    known = registry.all_names()
    if source.suffix == ".toml":
        return config.read_configuration(source, known)
    asked["model"]["source"] = str(source)
    return config.configuration_from(asked, known)


def _prepared(source: Path, data: str, task: str, threads: int) -> Any:
    import dataclasses
    import tempfile

    from jettison import preparation

    configuration = _configure(
        source,
        {"model": {"task": task}, "data": {"source": data}, "serving": {"threads": threads}},
    )
    with tempfile.TemporaryDirectory(prefix="jettison-") as folder:
        aside = dataclasses.replace(configuration, output=folder)
        return _with_progress(lambda progress: preparation.prepare(aside, progress))


def _with_progress(work: Callable[[Any], Any]) -> Any:
    from rich.console import Console

    from jettison.reporting.live_progress import TerminalProgress

    try:
        with TerminalProgress(Console(stderr=True)) as progress:
            return work(progress)
    except KeyboardInterrupt:
        print("jettison: interrupted; what was finished is kept in the run folder", file=sys.stderr)
        raise typer.Exit(4) from None


def _finish(record: Any, folder: Path) -> None:
    from jettison.reporting import terminal

    _print(terminal.summary(record))
    print(f"report: {folder / 'report.html'}")
    if record.shipped:
        print(f"bundle: {folder / 'release'}")
    raise typer.Exit(record.exit_code)


def _print(*parts: Any) -> None:
    from rich.console import Console

    console = Console()
    for part in parts:
        console.print(part)


def main() -> None:
    """Runs the command line; every deliberate error is one message and its exit code."""
    from jettison.domain.disk_faults import explained

    try:
        with explained("jettison", Path()):
            app()
    except JettisonError as error:
        print(f"jettison: {error}", file=sys.stderr)
        if isinstance(error, InternalError):
            print("This is a fault of jettison; please report it.", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
