"""The command about fairness: assess."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jettison.cli.asking import (
    GIVEN,
    Data,
    Groups,
    Images,
    Inputs,
    ModelInputs,
    Prediction,
    Target,
    Task,
    Threads,
    TrustPickle,
    Unit,
    Weight,
    Weights,
    configured,
)
from jettison.cli.showing import show
from jettison.errors import UsageError

if TYPE_CHECKING:
    from jettison.assessment.subjects import Request
    from jettison.domain.assessment import Assessment
    from jettison.domain.configuration import AssessSection, DataSection


ROLES = ("source", "inputs", "target", "groups", "unit", "weight")


def assess(
    source: Annotated[
        Path | None,
        typer.Argument(help="A model, jettison.toml, the folder of a run or of a bundle."),
    ] = None,
    data: Data = "",
    target: Target = "",
    group: Groups = None,
    cross: Annotated[
        list[str] | None, typer.Option("--cross", help="sex*race: their crossing; repeatable.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Rows with answers, in place of a model.")
    ] = None,
    score: Annotated[str, typer.Option(help="Column of probabilities in --predictions.")] = "",
    decision: Annotated[str, typer.Option(help="Column of decisions in --predictions.")] = "",
    positive: Annotated[str, typer.Option(help="Class that is the selection.")] = "",
    adverse: Annotated[
        bool, typer.Option("--adverse", help="Being selected is a disadvantage.")
    ] = False,
    max_gap: Annotated[
        list[str] | None, typer.Option(help="NAME=0.05: largest gap allowed; repeatable.")
    ] = None,
    population: Annotated[
        list[str] | None, typer.Option(help="sex=Female:0.51: its share; repeatable.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Of the disparate-impact ratio.")] = 0.8,
    smallest: Annotated[int, typer.Option(help="Rows a group needs to be compared.")] = 20,
    input_: Inputs = None,
    unit: Unit = "",
    weight: Weight = "",
    task: Task = "",
    weights: Weights = "",
    model_input: ModelInputs = None,
    prediction: Prediction = "",
    image: Images = None,
    threads: Threads = 1,
    trust_pickle: TrustPickle = False,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A run whose sealed rows are left out; repeatable."),
    ] = None,
    output: Annotated[str, typer.Option(help="Folder of the report.")] = "jettison-assessment",
) -> None:
    """Show by group what a model does: rates, errors, calibration. No seal is opened."""
    from jettison.assessment import subjects
    from jettison.assessment.figures import Wishes
    from jettison.domain.configuration import AssessSection, DataSection
    from jettison.domain.files import check_folder_place

    check_folder_place(Path(output), "`--output`")
    if (source is None) == (predictions is None):
        raise UsageError("give a model, run or bundle to assess, or --predictions FILE; not both")
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"`--threshold` must be above 0 and at most 1; got {threshold:g}")
    if smallest < 1:
        raise UsageError(f"`--smallest` must be at least 1; got {smallest}")
    typed = AssessSection(
        tuple(cross or ()),
        positive,
        adverse,
        _pairs(max_gap or (), "=", "--max-gap"),
        _pairs(population or (), ":", "--population"),
        threshold,
        smallest,
    )
    asked = _laid_over(_section_of(source), typed)
    request = subjects.Request(
        Wishes(asked.adverse, asked.threshold, asked.smallest, asked.max_gap),
        tuple(tuple(part.strip() for part in one.split("*")) for one in asked.cross),
        asked.positive,
        asked.population,
        shlex.join(["jettison", *sys.argv[1:]]),
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tuple(run or ()),
    )
    roles = DataSection(
        source=data,
        inputs=tuple(input_ or ()),
        target=target,
        groups=tuple(group or ()),
        unit=unit,
        weight=weight,
    )
    of_model = {
        "--weights": weights,
        "--model-input": model_input,
        "--prediction": prediction,
        "--image": image,
        "--threads": threads != 1,
        "--trust-pickle": trust_pickle,
    }
    of_rows = {"--target": target, "--group": group, "--unit": unit, "--weight": weight}
    if predictions is None:
        _refuse("without --predictions", {"--score": score, "--decision": decision})
    if predictions is not None:
        refused = {"--data": data, "--input": input_, "--run": run, **of_model}
        _refuse("with --predictions, which holds rows and answers", refused)
        record = _predictions(predictions, roles, (score, decision, task), request)
    elif source is not None and source.is_dir() and _holds_run(source):
        _refuse("for a run or a bundle, which says it itself", {"--task": task, **of_model})
        if not data:
            refused = {**of_rows, "--input": input_, "--run": run}
            _refuse("for the selection rows of a run; name own rows with --data", refused)
        record = subjects.assess_run(source, roles if data else None, request)
    else:
        if source is not None and source.suffix == ".toml":
            _refuse(f"with {source}, which says it itself", {"--task": task, **of_model})
        model = {
            "task": task,
            "trust_pickle": trust_pickle,
            "weights": weights,
            "inputs": model_input or [],
            "prediction": prediction,
        }
        record = _model(source or Path(), (model, image or ()), (roles, threads, output), request)
    _finish(record, Path(output))


def _section_of(source: Path | None) -> AssessSection | None:
    """The table `assess` of a configuration file, or of the one in the folder of a run."""
    from jettison import config, registry

    file = source
    if source is not None and source.is_dir():
        file = source / "jettison.toml"
        if not (file.is_file() and _holds_run(source)):
            return None
    if file is None or file.suffix != ".toml":
        return None
    return config.read_configuration(file, registry.all_names()).assess


def _laid_over(section: AssessSection | None, typed: AssessSection) -> AssessSection:
    """What was typed goes before the file, one setting at a time; also a typed default."""
    if section is None:
        return typed
    plain = type(typed)()
    given = {
        field.name: getattr(typed, field.name)
        for field in dataclasses.fields(typed)
        if f"--{field.name.replace('_', '-')}" in GIVEN.get()
        or getattr(typed, field.name) != getattr(plain, field.name)
    }
    return dataclasses.replace(section, **given)


def _refuse(where: str, asked: Mapping[str, object]) -> None:
    """Refuses options that would be dropped without a word.

    Raises:
        UsageError: naming them.
    """
    given = [option for option, value in asked.items() if value]
    if given:
        raise UsageError(f"{', '.join(f'`{option}`' for option in given)} can't be given {where}")


def _predictions(
    path: Path, roles: DataSection, named: tuple[str, str, str], request: Request
) -> Assessment:
    from jettison.assessment import subjects
    from jettison.assessment.predictions_file import PredictionColumns

    score, decision, task = named
    if task not in ("", "classification", "regression"):
        raise UsageError(f"`--task` must be classification or regression; got `{task}`")
    columns = PredictionColumns(
        roles, score, decision, request.positive, task == "regression", request.crossings
    )
    return subjects.assess_predictions(path, columns, request)


def _model(
    source: Path,
    asked: tuple[dict[str, Any], Sequence[str]],
    where: tuple[DataSection, int, str],
    request: Request,
) -> Assessment:
    from jettison import config
    from jettison.assessment import subjects

    (model, image), (roles, threads, output) = asked, where
    table = {
        "source": roles.source,
        "target": roles.target,
        "groups": list(roles.groups),
        "inputs": list(roles.inputs),
        "unit": roles.unit,
        "weight": roles.weight,
    }
    configuration = configured(
        source,
        {
            "model": model,
            **config.image_table(image),
            "data": table,
            "serving": {"threads": threads},
            "output": output,
        },
    )
    if source.suffix == ".toml":
        # The file says what is what; roles given here, and other rows, go before it.
        given = {name: value for name in ROLES if (value := getattr(roles, name))}
        own = dataclasses.replace(configuration.data, **given)
        configuration = dataclasses.replace(configuration, data=own)
    return subjects.assess_model(configuration, request)


def _holds_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("manifest.json", "release", "work"))


def _pairs(given: Sequence[str], sign: str, option: str) -> Mapping[str, float]:
    """Reads `name=0.05` (the last sign counts: names of groups hold `=`)."""
    found: dict[str, float] = {}
    for one in given:
        name, found_sign, number = one.rpartition(sign)
        try:
            value = float(number) if found_sign and name else float("nan")
        except ValueError:
            value = float("nan")
        if not 0.0 <= value <= 1.0:
            raise UsageError(f"`{option}` needs a name{sign}number from 0 to 1; got `{one}`")
        found[name] = value
    return found


def _finish(record: Assessment, folder: Path) -> None:
    """Shows the assessment, writes both files, and ends with a code where limits were asked for."""
    from jettison.assessment.writing import write_assessment
    from jettison.reporting.assessment_terminal import assessment_summary

    show(assessment_summary(record))
    for path in write_assessment(record, folder):
        print(f"wrote {path}")
    if record.broken:
        raise typer.Exit(5)
    if record.undecided:
        raise typer.Exit(4)
