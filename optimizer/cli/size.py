"""``clusterplan size``: the fewest accelerators on which a model fits, and on which it meets a date."""

from __future__ import annotations

import typer

from optimizer.cli.options import Deadline, Json, MaxAccelerators, Model, NamedHardware, Tokens
from optimizer.cli.question import Question, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("size")(asking(size))


def size(
    *,
    model: Model,
    hardware: NamedHardware,
    tokens: Tokens = 1e12,
    deadline: Deadline = None,
    max_accelerators: MaxAccelerators = None,
    question: Question,
    json: Json = False,
) -> None:
    """Find the fewest accelerators of each kind that hold a model, and that train it by a date.

    [bold]Examples[/bold]

      clusterplan size -m llama-2-70b -H a800-sxm-80g

      clusterplan size -m llama-2-70b -t 2T -d 90d -H a800-sxm-80g,h100-sxm-80g --json
    """
    from dataclasses import replace

    from catalogs.errors import InfeasibleError, UsageError
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.cli.plan_view import layout_text
    from optimizer.inverse.schedule import fewest
    from optimizer.planning import SCHEMA_VERSION

    if not hardware:
        raise UsageError("name the accelerators with --hardware")
    opened = question.open()
    job = question.job(
        opened,
        model,
        tokens,
        deadline_s=deadline,
        hardware=hardware,
        max_accelerators=max_accelerators,
    )
    sizes, failed = [], []
    for name in job.hardware:
        try:
            sizes.append(fewest(replace(job, hardware=(name,)), opened))
        except InfeasibleError as error:
            failed.append((name, str(error)))
    if not sizes:
        raise InfeasibleError("; ".join(reason for _, reason in failed))
    if json:
        refused = [{"what": name, "reason": reason} for name, reason in failed]
        emit_json({"schema_version": SCHEMA_VERSION, "sizes": [s.to_json() for s in sizes], "rejected": refused})
        return
    rows = []
    for one in sizes:
        found = one.configuration
        meet = "-" if one.to_meet is None else f"{one.to_meet:,}"
        days = f"{found.days:.1f} ({found.days_interval[0]:.1f} to {found.days_interval[1]:.1f})"
        rows.append([one.hardware, f"{one.to_fit:,}", meet, days, layout_text(found.layout), one.binding])
    print_table(
        ["hardware", "to fit", "to meet the date", "days (90%)", "layout", "one fewer"],
        rows,
        title=f"Fewest accelerators for {job.model.name}",
    )
    for name, reason in failed:
        print_line(f"{name}: {reason}")
    print_line("Assumptions")
    for text in dict.fromkeys(text for one in sizes for text in one.assumptions):
        print_line(f"  - {text}")
