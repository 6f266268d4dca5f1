"""``clusterplan when``: the date at which a run on a given cluster ends, with its interval."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from optimizer.cli.fit import Accelerators
from optimizer.cli.options import Json, Model, OneHardware, Tokens
from optimizer.cli.question import Question, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("when")(asking(when))


def parse_start(text: str) -> date:
    """A calendar day.

    Raises:
        UsageError: it is none.

    >>> parse_start("2026-01-31")
    datetime.date(2026, 1, 31)
    """
    from catalogs.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--start: {text!r} is not a date; write for example 2026-01-31") from None


def when(
    *,
    model: Model,
    tokens: Tokens,
    hardware: OneHardware,
    accelerators: Accelerators,
    start: Annotated[
        date | None, typer.Option("--start", parser=parse_start, metavar="DATE", help="First day: 2026-01-31.")
    ] = None,
    question: Question,
    json: Json = False,
) -> None:
    """Say when a run ends on at most so many accelerators, laid out as fast as they can be.

    [bold]Examples[/bold]

      clusterplan when -m 70B -t 15T -H h100-sxm-80g -a 1024

      clusterplan when -m llama-3-8b -t 1T -H a100-sxm-80g -a 64 --start 2026-01-31 --json
    """
    from optimizer.cli.output import emit_json, print_line
    from optimizer.cli.plan_view import show_configuration
    from optimizer.inverse.schedule import when as find_when

    opened = question.open()
    job = question.job_on(opened, model, tokens, hardware, accelerators)
    found = find_when(job, opened, start=start)
    if json:
        emit_json(found.to_json())
        return
    one = found.configuration
    days = f"{one.days:.1f} days (90%: {one.days_interval[0]:.1f} to {one.days_interval[1]:.1f})"
    ends = f"Ends on {found.end} (90%: {' to '.join(str(day) for day in found.end_interval)}), after " if start else ""
    print_line(f"{ends}{days}; bound by {found.binding}")
    print_line()
    show_configuration(one)
    print_line("Assumptions")
    for text in found.assumptions:
        print_line(f"  - {text}")
