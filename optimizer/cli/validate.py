"""``clusterplan validate``: predictions against measured training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import CatalogDirs


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("validate")(validate)


def validate(
    runs: Annotated[
        list[Path], typer.Option("--runs", "-r", metavar="FILE", help="CSV of measured runs; repeat it for more.")
    ],
    held_apart: Annotated[
        bool, typer.Option("--cv", help="Predict each group of runs by a fit that has not seen it (needs scipy).")
    ] = False,
    out: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write rows and scores here.")] = None,
    catalog: CatalogDirs = None,
) -> None:
    """Predict measured runs and say how far off the predictions are.

    [bold]Example[/bold]

      clusterplan validate --runs my-runs.csv --json report.json
    """
    import json

    from catalogs.runs import read_runs
    from optimizer import validate as validation
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import print_line

    rows = [run for path in runs for run in read_runs(path)]
    opened = open_catalog(catalog)
    judge = validation.cross_validate if held_apart else validation.validate
    found = judge(opened, rows)
    print_line(found.to_text())
    if out is not None:
        text = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        out.write_text(text + "\n", encoding="utf-8")
