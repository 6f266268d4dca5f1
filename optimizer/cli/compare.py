"""``clusterplan compare``: hardware against hardware, rent against buying, and what would flip the decision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.options import Json, NamedHardware, parse_share
from optimizer.cli.question import Demand, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(asking(compare, without=("offers", "hardware")))


def parse_range(text: str) -> tuple[str, tuple[float, float]]:
    """An uncertain input, ``NAME=LOW:HIGH``.

    Raises:
        UsageError: it has another form, or its ends are no numbers.

    >>> parse_range("fx:cny=0.13:0.15")
    ('fx:cny', (0.13, 0.15))
    """
    from catalogs.errors import UsageError

    name, _, ends = text.partition("=")
    low, _, high = ends.partition(":")
    try:
        return name.strip(), (float(low), float(high))
    except ValueError:
        raise UsageError(f"--range {text!r}: write NAME=LOW:HIGH, for example fx:cny=0.13:0.15") from None


def compare(
    *,
    demand: Demand,
    hardware: NamedHardware,
    charge: Annotated[
        str, typer.Option("--charge", help="Charge a purchase to the job pro-rata (hours of use) or full.")
    ] = "pro-rata",
    utilisation: Annotated[
        str, typer.Option("--utilisation", metavar="SHARE", help="Share of the time in which bought servers are used.")
    ] = "100%",
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW:HIGH",
            help="Uncertain input, repeatable: price:OFFER, fx:CODE, mfu (relative), or an assumption's name.",
        ),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Draws of the Monte Carlo.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the Monte Carlo.")] = 0,
    thumb_params: Annotated[
        str | None,
        typer.Option("--thumb-params", metavar="COUNT", help="Parameters for sizing by hand: 70B."),
    ] = None,
    currency: Annotated[
        str, typer.Option("--currency", metavar="CODE", help="Currency of tables and memo, at the catalog's rate.")
    ] = "USD",
    region: Annotated[
        str | None,
        typer.Option(
            "--region", metavar="NAME", help="Where bought servers stand; `clusterplan catalog list regions`."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a decision memo: FILE.html or FILE.md.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language of the memo: en or zh.")] = "en",
    json: Json = False,
) -> None:
    """Compare hardware, rented, reserved and bought: the whole bill, the odds, and what would flip the decision.

    [bold]Examples[/bold]

      clusterplan compare -m llama-2-70b -t 2T -d 90d -H a800-sxm-80g,ascend-910b --thumb-params 70B

      clusterplan compare -m llama-2-70b -t 2T -d 90d -H a800-sxm-80g,ascend-910b --report memo.html --lang zh

      clusterplan compare -m llama-3-8b -t 1T -d 30d -H h100-sxm-80g --range electricity-usd-per-kwh=0.06:0.17 --json
    """
    from catalogs.errors import UsageError
    from catalogs.quantity import COUNT_UNITS, parse_positive
    from optimizer.atomic import write_atomically
    from optimizer.cli.compare_view import show_comparison
    from optimizer.cli.output import emit_json
    from optimizer.compare import compare as find
    from optimizer.comparison.ownership import Terms
    from optimizer.memo.memo import memo

    if lang not in {"en", "zh"}:
        raise UsageError(f"--lang {lang!r} is none of en, zh")
    form = None if report is None else report.suffix.lower().removeprefix(".")
    if form not in {None, "html", "md"}:
        raise UsageError(f"--report {report}: the name must end in .html or .md")
    opened = demand.open()
    job = demand.demanded(opened, hardware=hardware or ())
    found = find(
        job,
        opened,
        terms=Terms(_typed(charge), parse_share(utilisation, "--utilisation")),
        ranges=dict(parse_range(text) for text in ranges or ()),
        draws=draws,
        seed=seed,
        thumb_parameters=None if thumb_params is None else parse_positive(thumb_params, COUNT_UNITS, "--thumb-params"),
        currency=currency,
        region=region,
    )
    if report is not None:
        write_atomically(report, memo(found, form=_typed(form), language=_typed(lang)))
    if json:
        emit_json(found.to_json())
    else:
        show_comparison(found)


def _typed(checked: str | None) -> Any:
    """A text that has been checked to be one of the known words."""
    return checked
