"""``clusterplan fit``: the largest model, the longest sequence or the largest micro-batch on given hardware."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import Json, Model, OneHardware, parse_whole
from optimizer.cli.question import Question, asking

if TYPE_CHECKING:
    from catalogs.catalog import Catalog
    from optimizer.inverse.fit import Fit
    from optimizer.job import Job


def parse_accelerators(text: str) -> int:
    """How many accelerators there are.

    Raises:
        UsageError: it is no whole number above zero.

    >>> parse_accelerators("1k")
    1000
    """
    return parse_whole(text, "--accelerators")


def _step(text: str) -> float:
    return float(parse_whole(text, "--step"))


Accelerators = Annotated[
    int,
    typer.Option("--accelerators", "-a", parser=parse_accelerators, metavar="COUNT", help="How many there are: 8."),
]
RUN = ("global_batch_tokens", "goodput", "recovery")
"""Options of a run that do not change what fits."""

NoOffload = Annotated[bool, typer.Option("--no-offload", help="Keep all state on the accelerators.")]


def register(app: typer.Typer) -> None:
    """Add the ``fit`` group to the application."""
    group = typer.Typer(no_args_is_help=True, help="The largest model, longest sequence or micro-batch that fits.")
    group.command("model")(asking(model, without=RUN))
    group.command("seq")(asking(of_a_model(longest), without=(*RUN, "seq")))
    group.command("micro-batch")(asking(of_a_model(micro_batch), without=(*RUN, "global_batch")))
    app.add_typer(group, name="fit")


def model(
    *,
    hardware: OneHardware,
    accelerators: Accelerators,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", metavar="NAME", help="Vary the layers of this dense model instead of a Llama-style size."
        ),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option("--step", parser=_step, metavar="COUNT", help="Parameters between two sizes: 100M; default: 1%."),
    ] = None,
    no_offload: NoOffload = False,
    question: Question,
    json: Json = False,
) -> None:
    """Find the largest model that trains on given hardware, activations and all.

    [bold]Examples[/bold]

      clusterplan fit model -H h100-sxm-80g -a 8

      clusterplan fit model -H h100-sxm-80g -a 8 --like llama-3-8b --no-offload --json
    """
    from optimizer.inverse.fit import largest_model

    opened = question.open()
    job = _job(question, opened, like or "7B", hardware, accelerators, no_offload)
    _show(largest_model(job, opened, deepen=like is not None, step=step), json=json)


def of_a_model(find: Callable[[Job, Catalog], Fit]) -> Callable[..., None]:
    """The command that asks ``find`` about a given model; its help is what ``find`` says."""

    def command(
        *,
        model: Model,
        hardware: OneHardware,
        accelerators: Accelerators,
        no_offload: NoOffload = False,
        question: Question,
        json: Json = False,
    ) -> None:
        opened = question.open()
        _show(find(_job(question, opened, model, hardware, accelerators, no_offload), opened), json=json)

    command.__doc__ = find.__doc__
    return command


def longest(job: Job, catalog: Catalog) -> Fit:
    """Find the longest sequence, in multiples of 1024 tokens, that a model trains on.

    [bold]Examples[/bold]

      clusterplan fit seq -m llama-3-8b -H h100-sxm-80g -a 8

      clusterplan fit seq -m llama-2-70b -H a800-sxm-80g -a 64 --global-batch 64 --json
    """
    from optimizer.inverse.fit import longest_sequence

    return longest_sequence(job, catalog)


def micro_batch(job: Job, catalog: Catalog) -> Fit:
    """Find the largest micro-batch, in sequences, that any layout holds.

    [bold]Examples[/bold]

      clusterplan fit micro-batch -m llama-3-8b -H h100-sxm-80g -a 8

      clusterplan fit micro-batch -m llama-3-8b -H h100-sxm-80g -a 8 --seq 8192 --json
    """
    from optimizer.inverse.fit import largest_micro_batch

    return largest_micro_batch(job, catalog)


def _job(
    question: Question, opened: Catalog, model: str, hardware: list[str] | None, accelerators: int, no_offload: bool
) -> Job:
    from dataclasses import replace

    # Any number of tokens: what fits does not depend on it.
    job = question.job_on(opened, model, 1e15, hardware, accelerators)
    return replace(job, offload=("none",)) if no_offload else job


def _show(found: Fit, *, json: bool) -> None:
    from optimizer.cli.output import emit_json, print_line
    from optimizer.cli.plan_view import show_configuration
    from optimizer.cli.units import exact

    if json:
        emit_json(found.to_json())
        return
    print_line(f"{found.question}: {exact(found.value)} {found.unit} ({found.model.name})")
    print_line(f"In steps of {exact(found.step)}; bound by {found.binding}")
    print_line()
    show_configuration(found.configuration)
    print_line("Assumptions")
    for text in found.assumptions:
        print_line(f"  - {text}")
