"""The command line: reads arguments, prints, decides nothing. One file a family of commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import jettison
from jettison.cli import (
    assessing,
    auditing,
    bundles,
    claiming,
    explaining,
    guarding,
    installation,
    labelling,
    planning,
    privacy,
    runs,
)
from jettison.cli.asking import Command
from jettison.errors import InternalError, JettisonError
from jettison.serving.cli import serve

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

COMMANDS = (
    serve,
    runs.optimize,
    runs.demo,
    runs.init,
    runs.advise,
    runs.profile,
    runs.plan,
    planning.plan_data,
    labelling.label,
    labelling.find,
    assessing.assess,
    bundles.verify,
    bundles.reveal,
    auditing.audit,
    auditing.approve,
    privacy.privacy,
    privacy.forget,
    privacy.leak,
    bundles.export,
    bundles.monitoring,
    claiming.claims,
    claiming.explain,
    explaining.explain_changes,
    guarding.ask_rails,
    guarding.certify_guardrail,
    guarding.redteam,
    guarding.fit_guardrail,
    installation.list_,
    installation.doctor,
)
for _command in COMMANDS:
    app.command(name=_command.__name__.rstrip("_").replace("_", "-"), cls=Command)(_command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(jettison.__version__)
        raise typer.Exit


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
