"""``clusterplan levers``: what each lever does to days, cost, memory and MFU of a run, re-planned each time."""

from __future__ import annotations

from typing import Any

import typer

from optimizer.cli.fit import Accelerators
from optimizer.cli.options import Json, Model, OneHardware, Tokens
from optimizer.cli.question import Question, asking

GIB = 2.0**30


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("levers")(asking(levers))


def levers(
    *,
    model: Model,
    tokens: Tokens,
    hardware: OneHardware,
    accelerators: Accelerators,
    question: Question,
    json: Json = False,
) -> None:
    """Show what fp8, recomputation, overlap, interleaving, network and size each do, and all that help together.

    [bold]Examples[/bold]

      clusterplan levers -m llama-2-70b -t 2T -H h100-sxm-80g -a 512

      clusterplan levers -m llama-3-8b -t 1T -H a100-sxm-80g -a 64 --json
    """
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.cli.plan_view import layout_text, money
    from optimizer.levers import levers as find_levers

    opened = question.open()
    job = question.job_on(opened, model, tokens, hardware, accelerators)
    found = find_levers(job, opened)
    if json:
        emit_json(found.to_json())
        return

    def row(name: str, change: str, one: Any) -> list[str]:
        held = f"{one.memory_bytes / GIB:.1f}"
        mfu = f"{one.mfu:.1%}"
        return [name, f"{one.days:.1f}", change, money(one.cost_usd), held, mfu, layout_text(one.layout)]

    rows = [row("as it is", "", found.base)]
    rows += [row(one.name, f"{one.days - 1:+.1%}", one.configuration) for one in found.single]
    if found.combined is not None:
        change = f"{found.combined.days - 1:+.1%}"
        rows.append(row("all that help", change, found.combined.configuration))
    print_table(
        ["lever", "days", "change", "cost", "GiB", "MFU", "layout"],
        rows,
        title=f"{job.model.name} on at most {accelerators} {job.hardware[0]}, the fastest layout each time",
        right="days change cost GiB MFU",
    )
    if found.combined is not None:
        print_line(f"All that help: {found.combined.name}; single effects multiplied would be {found.product - 1:+.1%}")
    for name, note in found.notes.items():
        print_line(f"{name}: {note}")
    for name, reason in found.refused.items():
        print_line(f"{name}: {reason}")
