"""The typer application: the list of commands, ``--version``, and usage errors as exit code 2."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from optimizer.cli import (
    afford,
    backtest,
    calibrate,
    catalog,
    compare,
    doctor,
    envelope,
    estimate,
    finetune,
    fit,
    footprint,
    history,
    levers,
    mfu,
    plan,
    refine,
    replan,
    size,
    sweep,
    validate,
    when,
)

NAME = "clusterplan"

COMMANDS = (
    plan.register,
    refine.register,
    sweep.register,
    compare.register,
    estimate.register,
    mfu.register,
    fit.register,
    size.register,
    when.register,
    afford.register,
    doctor.register,
    finetune.register,
    levers.register,
    footprint.register,
    replan.register,
    history.register,
    backtest.register,
    envelope.register,
    validate.register,
    calibrate.register,
    catalog.register,
)
"""One ``register(app)`` per command file, in the order of ``--help``."""


def build() -> typer.Typer:
    """The application with every command registered."""
    app = typer.Typer(
        name=NAME,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_top)
    for register in COMMANDS:
        register(app)
    return app


def run(arguments: list[str]) -> int:
    """Run the application and return the exit code; a usage error is printed here."""
    from optimizer.cli.output import complain

    try:
        result = get_command(build()).main(args=arguments, prog_name=NAME, standalone_mode=False)
    except TyperException as error:
        if message := error.format_message():  # a group without a command has printed its help and says nothing
            complain(message, hint=_hint(error))
        return error.exit_code
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else int(finished.code is not None)
    return result if isinstance(result, int) else 0


def _hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"try '{context.command_path} --help'" if context is not None else ""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{NAME} {version(NAME)}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find the cheapest cluster and parallel configuration that trains a language model by a deadline."""
