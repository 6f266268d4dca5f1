"""``clusterplan calibrate``: profiles from measured training runs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import CatalogDirs


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate")(calibrate)


def calibrate(
    runs: Annotated[
        list[Path], typer.Option("--runs", "-r", metavar="FILE", help="CSV of measured runs; repeat it for more.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="YAML file to write the profiles to.")],
    alone: Annotated[
        bool, typer.Option("--alone", help="Start from general priors instead of from the catalog's profiles.")
    ] = False,
    day: Annotated[str, typer.Option("--date", metavar="DATE", help="Date to write into the profiles.")] = "",
    catalog: CatalogDirs = None,
) -> None:
    """Fit the constants of profiles to measured runs, drawn towards the profiles that hold now.

    Put the file into the profiles folder of a catalog directory to plan with it.

    [bold]Example[/bold]

      clusterplan calibrate --runs my-runs.csv --out my-catalog/profiles/mine.yaml
    """
    from catalogs.errors import DataFileError
    from catalogs.runs import read_runs
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import print_line
    from optimizer.profiles import calibrated, to_yaml
    from optimizer.runs_prediction import run_table

    opened = open_catalog(catalog)
    table, skipped = run_table(opened, [run for path in runs for run in read_runs(path)])
    if table is None:
        reasons = "; ".join(sorted({row.reason for row in skipped})) or "the file has no rows"
        raise DataFileError(f"{runs[0]}: no row can be predicted: {reasons}")
    profiles = calibrated(opened, table, date=day or date.today().isoformat(), alone=alone)
    out.write_text(to_yaml(profiles), encoding="utf-8")
    for profile in profiles:
        print_line(f"{profile.name}: {profile.rows} rows, residual {profile.log_sigma:.1%}")
    print_line(f"{len(table)} rows used, {len(skipped)} skipped; written to {out}")
