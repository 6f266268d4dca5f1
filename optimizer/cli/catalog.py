"""``clusterplan catalog``: look at the data that plans are made from, and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import CatalogDirs, Json

Kind = Annotated[
    str | None,
    typer.Argument(
        help="accelerators, servers, fabrics, models, frameworks, profiles, offers, currencies, assumptions, regions, "
        "trainings, interruptions."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the ``catalog`` group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Look at the catalog: hardware, models, frameworks and prices.")
    group.command("list")(list_records)
    group.command("show")(show_record)
    group.command("check")(check_catalog)
    app.add_typer(group, name="catalog")


def list_records(kind: Kind = None, catalog: CatalogDirs = None, json: Json = False) -> None:
    """List the kinds of record, or the records of one kind.

    [bold]Examples[/bold]

      clusterplan catalog list

      clusterplan catalog list accelerators

      clusterplan catalog list offers --json --catalog ./our-prices
    """
    from optimizer.cli import catalog_view
    from optimizer.cli.layers import open_catalog

    opened = open_catalog(catalog)
    if kind is None:
        catalog_view.show_kinds(opened, as_json=json)
    else:
        catalog_view.show_list(opened, kind, as_json=json)


def show_record(
    kind: Annotated[str, typer.Argument(help="Kind of the record, such as 'accelerators' or 'accelerator'.")],
    name: Annotated[str, typer.Argument(help="Name of the record, as 'catalog list' prints it.")],
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Print every field of one record with its unit and source; estimates are marked.

    [bold]Examples[/bold]

      clusterplan catalog show models llama-2-70b

      clusterplan catalog show model llama-2-70b --json
    """
    from optimizer.cli import catalog_view
    from optimizer.cli.layers import open_catalog

    catalog_view.show_one(open_catalog(catalog), kind, name, as_json=json)


def check_catalog(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="One more directory to lay on top.")] = None,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Load everything, follow every cross-reference, and exit with 3 if anything is wrong.

    [bold]Examples[/bold]

      clusterplan catalog check

      clusterplan catalog check ./our-prices
    """
    from optimizer.cli import catalog_view
    from optimizer.cli.layers import open_catalog

    layers = [*(catalog or ()), *([directory] if directory else ())]
    sound = catalog_view.show_check(open_catalog(layers), as_json=json)
    if not sound:
        raise typer.Exit(3)
