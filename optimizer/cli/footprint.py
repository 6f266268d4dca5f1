"""``clusterplan footprint``: checkpoint bytes and seconds, dataset bytes, tokens per day, energy per token."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.fit import Accelerators
from optimizer.cli.options import Json, Model, OneHardware, Tokens
from optimizer.cli.question import Question, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("footprint")(asking(footprint))


def _rate(text: str) -> float:
    from catalogs.quantity import BYTE_RATE_UNITS, parse_positive

    return parse_positive(text, BYTE_RATE_UNITS, "--server-write and --store-write", bare=False)


def footprint(
    *,
    model: Model,
    tokens: Tokens,
    hardware: OneHardware,
    accelerators: Accelerators,
    server_write: Annotated[
        float | None,
        typer.Option("--server-write", parser=_rate, metavar="RATE", help="One server to storage; default 5GB/s."),
    ] = None,
    store_write: Annotated[
        float | None,
        typer.Option("--store-write", parser=_rate, metavar="RATE", help="Storage in all; default 100GB/s."),
    ] = None,
    question: Question,
    json: Json = False,
) -> None:
    """Say what a run writes, reads and draws: checkpoints, data and energy.

    [bold]Examples[/bold]

      clusterplan footprint -m 70B -t 15T -H h100-sxm-80g -a 1024

      clusterplan footprint -m llama-3-8b -t 1T -H a100-sxm-80g -a 64 --store-write 20GB/s --json
    """
    from optimizer.cli.output import emit_json, print_table
    from optimizer.footprint import footprint as find_footprint

    opened = question.open()
    job = question.job_on(opened, model, tokens, hardware, accelerators)
    found = find_footprint(job, opened, server_bytes_per_s=server_write or 5e9, store_bytes_per_s=store_write or 1e11)
    if json:
        emit_json(found)
        return
    print_table(
        ["", "value"],
        [
            ["checkpoint", f"{found['checkpoint_bytes'] / 1e9:,.1f} GB"],
            ["written in", f"{found['checkpoint_s']:,.1f} s"],
            ["tokenised data", f"{found['dataset_bytes'] / 1e12:,.3g} TB"],
            ["data loading", f"{found['loading_bytes_per_s'] / 1e6:,.3g} MB/s"],
            ["tokens per day", f"{found['tokens_per_day'] / 1e9:,.1f}B"],
            ["energy per token", f"{found['joules_per_token']:.3g} J"],
            ["energy of the run", f"{found['energy_kwh'] / 1e3:,.1f} MWh"],
        ],
        title=f"{job.model.name} on {found['configuration']['accelerators']} {job.hardware[0]}",
        right="value",
    )
