"""``clusterplan validate``: predictions against measured training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from optimizer.cli.options import CatalogDirs

FITTING = "fitting without parts of the runs"
"""What a progress bar says."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("validate")(validate)


def validate(
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs", "-r", metavar="FILE", help="CSV of measured runs; repeat it for more. Default: the catalog's."
        ),
    ] = None,
    held_apart: Annotated[
        bool, typer.Option("--cv", help="Predict each group of runs by a fit that has not seen it (needs scipy).")
    ] = False,
    by_model: Annotated[
        bool, typer.Option("--new-models", help="Predict each architecture by a fit to the others (needs scipy).")
    ] = False,
    by_source: Annotated[
        bool, typer.Option("--loso", help="Predict each source by a fit to the other sources (needs scipy; minutes).")
    ] = False,
    out: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write rows and scores here.")] = None,
    scoreboard: Annotated[
        Path | None,
        typer.Option(
            "--scoreboard",
            metavar="DIR",
            help="Write accuracy.md and images/accuracy.svg there (needs scipy; half an hour).",
        ),
    ] = None,
    catalog: CatalogDirs = None,
) -> None:
    """Predict measured runs and say how far off the predictions are.

    A row without a measured time but with measured memory counts for memory alone. docs/own-runs.md has the columns.

    [bold]Examples[/bold]

      clusterplan validate --runs my-runs.csv --json report.json

      clusterplan validate --runs a.csv --runs b.csv --cv
    """
    import json

    from catalogs.errors import UsageError
    from catalogs.runs import read_runs
    from optimizer.accuracy import validate as validation
    from optimizer.atomic import write_atomically
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import print_line
    from optimizer.cli.progress import progress_bar

    opened = open_catalog(catalog)
    rows = [run for path in runs for run in read_runs(path)] if runs else opened.runs
    if scoreboard is not None:
        from optimizer.accuracy.scoreboard import Scoreboard

        with progress_bar(FITTING) as told:
            board = Scoreboard.of(opened, rows, progress=told)
        for path in board.write(scoreboard):
            print_line(f"written {path}")
        return
    if held_apart + by_model + by_source > 1:
        raise UsageError(
            "--cv holds groups of runs apart, --new-models architectures and --loso whole sources; give one of them"
        )
    by: Literal["group", "model", "source"] = "source" if by_source else "model" if by_model else "group"
    if held_apart or by != "group":
        with progress_bar(FITTING) as told:
            found = validation.cross_validate(opened, rows, by=by, progress=told)
    else:
        found = validation.validate(opened, rows)
    print_line(found.to_text())
    if out is not None:
        text = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(out, text + "\n")
