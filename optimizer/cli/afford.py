"""``clusterplan afford``: the most tokens or the largest compute-optimal model for a budget and a date, per offer."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.options import Budget, Deadline, Json, MaxAccelerators, NamedHardware, Offers, parse_whole
from optimizer.cli.question import Question, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("afford")(asking(afford))


def _step(text: str) -> float:
    return float(parse_whole(text, "--step"))


def afford(
    *,
    hardware: NamedHardware,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Train this on as many tokens as possible; or leave it out."
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", min=0.001, help="Tokens per parameter of the largest model; default: 20 (Chinchilla)."),
    ] = None,
    step: Annotated[
        float, typer.Option("--step", parser=_step, metavar="COUNT", help="Parameters between two model sizes.")
    ] = 1e9,
    budget: Budget = None,
    deadline: Deadline = None,
    max_accelerators: MaxAccelerators = None,
    question: Question,
    offers: Offers = None,
    json: Json = False,
) -> None:
    """Find the most tokens, or without a model the largest compute-optimal one, that each offer affords.

    [bold]Examples[/bold]

      clusterplan afford -m llama-3-8b --budget $500k -d 60d -H h100-sxm-80g --max-accelerators 256

      clusterplan afford --ratio 20 --budget $2M -d 90d -H a800-sxm-80g --max-accelerators 512 --json
    """
    from catalogs.errors import UsageError
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.cli.plan_view import layout_text, money
    from optimizer.inverse.afford import CHINCHILLA, largest_optimal, most_tokens
    from optimizer.planning import SCHEMA_VERSION

    if not hardware:
        raise UsageError("name the accelerators with --hardware: every offer is searched on its own")
    if model is not None and ratio is not None:
        raise UsageError("give --model for the most tokens, or --ratio for the largest model, not both")
    opened = question.open()
    job = question.job(
        opened,
        model or "7B",
        1e15,  # any: it is what is asked for
        deadline_s=deadline,
        hardware=hardware,
        budget_usd=None if budget is None else budget.usd({name: c.usd for name, c in opened.currencies.items()}),
        max_accelerators=max_accelerators,
        offers=offers or (),
    )
    if model is not None:
        found, refused = most_tokens(job, opened)
    else:
        found, refused = largest_optimal(job, opened, ratio=ratio or CHINCHILLA, step=step)
    if json:
        emit_json(
            {
                "schema_version": SCHEMA_VERSION,
                "affordable": [one.to_json() for one in found],
                "rejected": [{"what": one.what, "reason": one.reason} for one in refused],
                "assumptions": list(job.assumptions),
            }
        )
        return
    rows = []
    for one in found:
        plan = one.configuration
        rows.append(
            [
                one.offer,
                f"{one.tokens / 1e9:,.2f}B",
                f"{one.params / 1e9:,.2f}B",
                money(plan.cost_usd),
                f"{plan.days:.1f}",
                f"{plan.accelerators:,}",
                layout_text(plan.layout),
                one.binding,
            ]
        )
    print_table(
        ["offer", "tokens", "parameters", "cost", "days", "accel.", "layout", "bound by"],
        rows,
        title=f"Most tokens of {job.model.name}" if model else f"Largest model at {ratio or CHINCHILLA:g} tokens each",
        right="tokens parameters cost days accel.",
    )
    print_line(f"{len(refused)} offers are not listed; --json says why")
    print_line("Assumptions")
    for text in job.assumptions:
        print_line(f"  - {text}")
