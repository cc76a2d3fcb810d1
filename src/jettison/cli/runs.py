"""Commands about a model and its data: advise, profile, plan, init, optimize, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jettison.cli.asking import (
    BatchSizes,
    Data,
    Groups,
    Images,
    Inputs,
    ModelInputs,
    Output,
    Prediction,
    SourceArgument,
    Target,
    Task,
    Threads,
    TrustPickle,
    Unit,
    Weight,
    Weights,
    configure,
)
from jettison.cli.showing import finish, show, with_progress
from jettison.errors import UsageError


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
    prediction: Prediction = "",
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
    seed: Annotated[
        int, typer.Option(help="Of the rows' division, and of what techniques draw.")
    ] = 7,
    no_certify: Annotated[
        bool, typer.Option("--no-certify", help="Keep the seal closed; iterate freely.")
    ] = False,
    ship_listed: Annotated[
        bool, typer.Option("--ship-listed", help="Ship with undecided groups named.")
    ] = False,
    trust_pickle: TrustPickle = False,
    output: Output = "jettison-run",
    ledger: Annotated[str, typer.Option(help="Folder of the ledger.")] = "",
    sign_key: Annotated[str, typer.Option(help="Ed25519 key that signs the audit trail.")] = "",
) -> None:
    """Find, measure, certify and ship the best version of a model."""
    requirement: dict[str, Any] = {"max_drop": max_drop}
    if max_drop_group is not None:
        requirement["max_drop_group"] = max_drop_group
    from jettison import config

    configuration = configure(
        source,
        {
            "model": _model(task, weights, model_input, prediction, trust_pickle=trust_pickle),
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
            "audit": {"key": sign_key},
        },
        beside=("--no-certify",),
    )
    from jettison import preparation, whole_run

    def work(progress: Any) -> Any:
        with preparation.run_folder(Path(configuration.output)):
            prepared = preparation.prepare(configuration, progress)
            return whole_run.run(prepared, progress, certify=not no_certify)

    finish(with_progress(work), Path(configuration.output))


def demo(output: Output = "jettison-demo") -> None:
    """Optimise Google's Magika on the files of this Python installation."""
    from jettison import demo as example
    from jettison import preparation

    folder = Path(output).absolute()

    def work(progress: Any) -> Any:
        with preparation.run_folder(folder):
            return example.demo(folder, progress)

    finish(with_progress(work), folder)


def init(
    source: Annotated[Path, typer.Argument(help="A model.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Rows: a file, a folder, or a function such as rows.py:make."),
    ] = None,
    target: Target = "",
    group: Groups = None,
    weights: Weights = "",
    model_input: ModelInputs = None,
    prediction: Prediction = "",
    image: Images = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite jettison.toml.")] = False,
) -> None:
    """Write jettison.toml with every default spelled out."""
    from jettison import config
    from jettison.domain.files import write_atomically

    configuration = configure(
        source,
        {
            "model": _model("", weights, model_input, prediction, trust_pickle=False),
            **config.image_table(image or ()),
            "data": {"source": str(data or ""), "target": target, "groups": group or []},
        },
    )
    path = Path("jettison.toml")
    if path.exists() and not force:
        raise UsageError("jettison.toml exists already; use --force to overwrite it")
    write_atomically(path, config.render_configuration(configuration))
    print(f"wrote {path}; next: jettison optimize {path}")


def advise(
    source: SourceArgument,
    data: Data = "",
    target: Target = "",
    inputs: Inputs = None,
    weights: Weights = "",
    model_input: ModelInputs = None,
    prediction: Prediction = "",
    image: Images = None,
    task: Task = "",
    threads: Threads = 1,
    trust_pickle: TrustPickle = False,
) -> None:
    """Say what each technique could gain here at most, and why. Only the profile is run."""
    from jettison.reporting import advice

    model = _model(task, weights, model_input, prediction, trust_pickle=trust_pickle)
    prepared = _prepared(source, model, (data, target, inputs), image, threads)
    show(advice.advice(prepared.space, prepared.profile))


def profile(
    source: SourceArgument,
    data: Data = "",
    target: Target = "",
    inputs: Inputs = None,
    weights: Weights = "",
    model_input: ModelInputs = None,
    prediction: Prediction = "",
    image: Images = None,
    task: Task = "",
    threads: Threads = 1,
    trust_pickle: TrustPickle = False,
) -> None:
    """Show where time and bytes go in the untouched model, and what each layer loses by a change."""
    from jettison.reporting import advice, roofline, sensitivity_views

    model = _model(task, weights, model_input, prediction, trust_pickle=trust_pickle)
    found = _prepared(source, model, (data, target, inputs), image, threads).profile
    losses = sensitivity_views.sensitivity_table(found)
    roofs = roofline.layers(found)
    show(advice.where_time_goes(found), advice.layers_table(found), roofs, losses)


def plan(
    source: SourceArgument,
    data: Data = "",
    target: Target = "",
    inputs: Inputs = None,
    weights: Weights = "",
    model_input: ModelInputs = None,
    prediction: Prediction = "",
    image: Images = None,
    task: Task = "",
    threads: Threads = 1,
    trust_pickle: TrustPickle = False,
) -> None:
    """Show the recipes and ranges that a search would try."""
    from jettison.reporting import advice

    model = _model(task, weights, model_input, prediction, trust_pickle=trust_pickle)
    prepared = _prepared(source, model, (data, target, inputs), image, threads)
    show(advice.space_table(prepared.space), advice.refusals(prepared.space))


def _model(
    task: str, weights: str, inputs: list[str] | None, prediction: str, *, trust_pickle: bool
) -> dict[str, Any]:
    """The table `model`, but for its source."""
    return {
        "task": task,
        "trust_pickle": trust_pickle,
        "weights": weights,
        "inputs": inputs or [],
        "prediction": prediction,
    }


def _prepared(
    source: Path,
    model: dict[str, Any],
    rows: tuple[str, str, list[str] | None],
    image: list[str] | None,
    threads: int,
) -> Any:
    import dataclasses
    import tempfile

    from jettison import config, preparation

    data, target, inputs = rows
    configuration = configure(
        source,
        {
            "model": model,
            **config.image_table(image or ()),
            "data": {"source": data, "target": target, "inputs": inputs or []},
            "serving": {"threads": threads},
        },
    )
    with tempfile.TemporaryDirectory(prefix="jettison-") as folder:
        aside = dataclasses.replace(configuration, output=folder)
        return with_progress(lambda progress: preparation.prepare(aside, progress))
