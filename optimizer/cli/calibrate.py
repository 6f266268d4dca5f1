"""``clusterplan calibrate``: profiles from measured training runs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import CatalogDirs

if TYPE_CHECKING:
    from catalogs.catalog import Catalog


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate")(calibrate)


def calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="YAML file to write the profiles to.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", "-r", metavar="FILE", help="CSV of measured runs; repeat it for more."),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option(
            "--alone", help="Start from general priors instead of from the catalog's profiles, as those were fitted."
        ),
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="Measure the device of this machine instead of reading runs (needs torch).")
    ] = False,
    accelerator: Annotated[
        str, typer.Option("--accelerator", metavar="NAME", help="With --device: what the device is.")
    ] = "",
    framework: Annotated[
        str, typer.Option("--framework", metavar="NAME", help="With --device: what the profile is for.")
    ] = "",
    day: Annotated[str, typer.Option("--date", metavar="DATE", help="Date to write into the profiles.")] = "",
    catalog: CatalogDirs = None,
) -> None:
    """Fit the constants of profiles to measured runs, drawn towards the profiles that hold now, or measure a device.

    Put the file into the profiles folder of a catalog directory to plan with it. The columns of runs: docs/own-runs.md.

    [bold]Examples[/bold]

      clusterplan calibrate --runs my-runs.csv --out my-catalog/profiles/mine.yaml

      clusterplan calibrate --device --accelerator h200-sxm --out my-catalog/profiles/mine.yaml
    """
    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import print_line

    opened = open_catalog(catalog)
    when = day or date.today().isoformat()
    if device == bool(runs):
        raise UsageError("calibrate needs either --runs FILE or --device")
    _make_folder(out)
    if device:
        said = _from_device(opened, accelerator, framework, when, out)
    else:
        said = _from_runs(opened, runs or [], when, out, alone=alone)
    for line in said:
        print_line(line)


def _from_runs(catalog: Catalog, paths: list[Path], when: str, out: Path, *, alone: bool) -> list[str]:
    """Write the profiles of the runs; what to tell about them."""
    from catalogs.errors import DataFileError
    from catalogs.runs import read_runs
    from optimizer.accuracy.validate import validate
    from optimizer.atomic import write_atomically
    from optimizer.calibration.profiles import calibrated, to_yaml
    from optimizer.cli.progress import progress_bar
    from optimizer.measured.reading import run_table

    read = [run for path in paths for run in read_runs(path)]
    table, skipped = run_table(catalog, read)
    if table is None:
        reasons = "; ".join(sorted({row.reason for row in skipped})) or "the file has no rows"
        raise DataFileError(f"{paths[0]}: no row can be predicted: {reasons}")
    if complaint := validate(catalog, read).in_other_units():
        raise DataFileError(f"{paths[0]}: {complaint}; correct them, or leave them out by a reason in column 'suspect'")
    with progress_bar("fitting without parts of the runs") as told:
        profiles = calibrated(catalog, table, date=when, alone=alone, progress=told)
    write_atomically(out, to_yaml(profiles))
    said = []
    for one in profiles:
        kinds = {bool(moe) for c, moe in zip(table.combinations, table.is_moe, strict=True) if c == one.combination}
        sigma = one.log_sigma if False in kinds else one.moe_log_sigma
        said.append(f"{one.name}: {one.rows} rows, residual {sigma:.1%}")
    return [*said, f"{len(table)} rows used, {len(skipped)} skipped; written to {out}"]


def _from_device(catalog: Catalog, accelerator: str, framework: str, when: str, out: Path) -> list[str]:
    """Write the profile of this machine's device; what to tell about it."""
    import os

    from catalogs.errors import UsageError
    from optimizer.atomic import write_atomically
    from optimizer.calibration.device_bench import device_profile, measure
    from optimizer.calibration.profiles import to_yaml
    from optimizer.market import usual_framework

    if not accelerator:
        raise UsageError("--device needs --accelerator NAME: rates are shares of its nominal figures")
    record = catalog.accelerators[catalog.find("accelerators", accelerator).name]
    name = catalog.find("frameworks", framework or usual_framework(record)).name
    rates = measure()
    if os.environ.get("RANK", "0") != "0":
        return []
    profile = device_profile(catalog, record, name, "bf16", rates, date=when)
    write_atomically(out, to_yaml([profile]))
    shapes = [f"matmul {m}x{n}x{k}: {rate / 1e12:.1f} TFLOP/s" for (m, n, k), rate in rates.gemm.items()]
    said = [*shapes, f"attention: {rates.attention / 1e12:.1f} TFLOP/s", f"copy: {rates.copy / 1e9:.0f} GB/s"]
    if rates.gather is not None:
        said.append(f"all-gather over {rates.ranks} ranks: {rates.gather / 1e9:.1f} GB/s")
    return [*said, f"{profile.name}; written to {out}"]


def _make_folder(out: Path) -> None:
    """Make the folder of a file before minutes are spent on what goes into it."""
    from catalogs.errors import UsageError

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: its folder cannot be made ({error.strerror})") from None
