"""``clusterplan sweep``: the best plan of every combination of models, tokens, deadlines, prices and fabrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.options import CatalogDirs, Json


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("sweep")(sweep)


def sweep(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Sweep file (docs/sweeps.md); flags may stand in its place.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", metavar="NAME", help="Model; repeatable.")] = None,
    tokens: Annotated[
        list[str] | None, typer.Option("--tokens", "-t", metavar="COUNT", help="Training tokens: 2T; repeatable.")
    ] = None,
    deadline: Annotated[
        list[str] | None, typer.Option("--deadline", "-d", metavar="DURATION", help="Limit: 90d; repeatable.")
    ] = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option("--hardware", "-H", metavar="NAMES", help="Accelerators, with commas competing; repeatable."),
    ] = None,
    prices: Annotated[
        list[str] | None,
        typer.Option("--prices", metavar="SOURCE", help="Price book as for replan, or 'catalog'; repeatable."),
    ] = None,
    fabric: Annotated[
        list[str] | None,
        typer.Option("--fabric", metavar="NAME", help="Network between all servers, or 'own'; repeatable."),
    ] = None,
    offers: Annotated[
        list[str] | None, typer.Option("--offers", metavar="NAMES", help="As for plan; repeatable.")
    ] = None,
    max_accelerators: Annotated[
        list[str] | None, typer.Option("--max-accelerators", metavar="COUNT", help="Largest cluster; repeatable.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler: tcp://host:8786.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Local worker processes; default: one per core.")
    ] = None,
    in_order: Annotated[bool, typer.Option("--serial", help="No workers: plan in this process, in order.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Plan every combination of models, token budgets, deadlines, hardware, price books and fabrics.

    Scenarios run on the processes of a Dask cluster; the result is the same, byte for byte, however many there are,
    and losing one loses no scenario. Exit code 4: not one scenario has a plan.

    [bold]Examples[/bold]

      clusterplan sweep sweep.yaml --csv > sweep.csv

      clusterplan sweep -m llama-2-70b -t 1T -t 2T -d 60d -d 90d -H a800-sxm-80g -H ascend-910b

      clusterplan sweep -m llama-3-8b -t 1T -d 30d --fabric own --fabric roce-200 --prices catalog --prices gcp.csv

      clusterplan sweep sweep.yaml --scheduler tcp://head:8786 --json
    """
    from catalogs.errors import UsageError
    from optimizer.cli import INTERRUPTED
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json
    from optimizer.cli.progress import progress_bar
    from optimizer.sweep.grid import read_grid
    from optimizer.sweep.outcome import PLANNED
    from optimizer.sweep.report import sweep_csv, sweep_json

    if sum((scheduler is not None, workers is not None, in_order)) > 1:
        raise UsageError("--scheduler, --workers and --serial exclude each other")
    if json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    flags = {
        "model": model,
        "tokens": tokens,
        "deadline": deadline,
        "hardware": hardware,
        "prices": prices,
        "fabric": fabric,
        "offers": offers,
        "max_accelerators": max_accelerators,
    }
    grid = read_grid(open_catalog(catalog), file, {name: values for name, values in flags.items() if values})
    for note in grid.market.notes:
        typer.echo(note, err=True)
    with progress_bar("planning scenarios") as report:
        outcomes, interrupted = _outcomes(grid, scheduler, workers or os.cpu_count() or 1, report, in_order=in_order)
    if json:
        emit_json(sweep_json(grid, outcomes, interrupted=interrupted))
    elif as_csv:
        typer.echo(sweep_csv(grid, outcomes), nl=False)
    else:
        _show(grid, outcomes)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if not any(one["status"] == PLANNED for one in outcomes):
        raise typer.Exit(4)


def _outcomes(
    grid: Any, scheduler: str | None, workers: int, report: Any, *, in_order: bool
) -> tuple[list[dict[str, Any]], bool]:
    from catalogs.errors import UsageError
    from optimizer.sweep.run import serial, sweep

    if in_order:
        return sweep(grid, serial(grid), report)
    try:
        from optimizer.sweep.cluster import client_of, distributed
    except ImportError:
        raise UsageError("workers need Dask: pip install 'clusterplan[sweep]', or use --serial") from None
    with client_of(scheduler, min(workers, len(grid.scenarios))) as client:
        return sweep(grid, distributed(grid, client), report)


def _show(grid: Any, outcomes: list[dict[str, Any]]) -> None:
    """Print one line per scenario: what varies, then the best plan or why there is none."""
    from optimizer.cli.output import print_line, print_table
    from optimizer.cli.plan_view import layout_text, money
    from optimizer.layout import Layout
    from optimizer.sweep.report import counted, written

    rows = []
    for one in outcomes:
        varied = [written(one["scenario"][name]) for name in grid.varied]
        best = one["best"]
        if best is None:
            rows.append([*varied, one["status"], "", "", "", "", one["reason"]])
            continue
        figures = [best["hardware"], f"{best['accelerators']:,}", f"{best['days']:.1f}", money(best["cost_usd"])]
        rows.append([*varied, *figures, f"{best['mfu']:.1%}", layout_text(Layout(**best["layout"]))])
    columns = [*grid.varied, "best", "accel.", "days", "cost", "MFU", "layout"]
    print_table(columns, rows, title="The cheapest plan of every scenario", right="accel. days cost MFU")
    print_line(counted(outcomes))
