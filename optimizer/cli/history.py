"""``clusterplan history``: look at the nights that ``replan`` recorded, compare, plot, export and prune them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json, names_option

if TYPE_CHECKING:
    from optimizer.replan.history import History
    from optimizer.replan.history_view import Difference, Point

Where = Annotated[
    str,
    typer.Option("--history", metavar="URL", envvar="CLUSTERPLAN_HISTORY", help="SQLite file, or postgresql://…"),
]
Jobs = Annotated[
    list[str] | None,
    names_option("--job", help="Only these jobs; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the ``history`` group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Look at the nights that replan recorded.")
    group.command("list")(list_nights)
    group.command("show")(show_night)
    group.command("diff")(diff_nights)
    group.command("plot")(plot)
    group.command("export")(export)
    group.command("prune")(prune)
    app.add_typer(group, name="history")


@contextmanager
def _opened(url: str) -> Iterator[History]:
    """The history, which must be there already."""
    from catalogs.errors import DataFileError
    from optimizer.replan.database import database_file, database_url
    from optimizer.replan.history import History

    where = database_url(url)
    if where.get_backend_name() == "sqlite" and not database_file(where).exists():
        raise DataFileError(f"history {where.database}: there is none; clusterplan replan makes it")
    history = History(url)
    try:
        yield history
    finally:
        history.close()


def list_nights(
    history: Where,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the latest nights.")] = 30,
    json: Json = False,
) -> None:
    """List the recorded nights, latest last.

    [bold]Examples[/bold]

      clusterplan history list --history history.db

      clusterplan history list --history history.db --last 365 --json
    """
    from dataclasses import asdict

    from optimizer.cli.output import emit_json, print_table
    from optimizer.replan.history_view import entries

    with _opened(history) as opened:
        found = entries(opened)[-last:]
    if json:
        emit_json([asdict(one) for one in found])
        return
    rows = [
        (
            str(one.night), one.as_of, str(one.exit_code), ", ".join(f"{n} {kind}" for kind, n in one.kinds.items()),
            one.tool, one.inputs[:12],
        )
        for one in found
    ]  # fmt: skip
    print_table(("night", "date", "exit", "verdicts", "version", "inputs"), rows, right="night exit")


def show_night(
    history: Where,
    night: Annotated[str | None, typer.Argument(help="Number or date; default: the last one.")] = None,
    json: Json = False,
) -> None:
    """Show a night as it was reported: every verdict with its numbers, what was news, the sources.

    [bold]Examples[/bold]

      clusterplan history show --history history.db

      clusterplan history show 2026-07-02 --history history.db --json
    """
    from catalogs.errors import DataFileError
    from optimizer.replan.history_view import find
    from optimizer.replan.night import changed
    from optimizer.replan.report import print_night

    with _opened(history) as opened:
        one = find(opened, night) if night else opened.last()
        if one is None:
            raise DataFileError("history has no night yet")
        before = opened.last(before=one.id)
    print_night(one, changed(one, before), as_json=json)


def diff_nights(
    before: Annotated[str, typer.Argument(help="Number or date of a night.")],
    after: Annotated[str, typer.Argument(help="Number or date of another.")],
    history: Where,
    json: Json = False,
) -> None:
    """Show what changed from one night to another: verdicts, plans, costs, prices, rules.

    [bold]Examples[/bold]

      clusterplan history diff 2026-07-01 2026-07-02 --history history.db
    """
    from optimizer.cli.output import emit_json
    from optimizer.replan.history_view import diff, find

    with _opened(history) as opened:
        found = diff(find(opened, before), find(opened, after))
    if json:
        emit_json(found.to_json())
    else:
        _show_difference(found)


def plot(
    history: Where,
    job: Jobs = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG image instead.")] = None,
) -> None:
    """Plot the price of every job's plan, and what is left of the job costs on it, over the nights.

    [bold]Examples[/bold]

      clusterplan history plot --history history.db --job chat-70b

      clusterplan history plot --history history.db --svg history.svg
    """
    from catalogs.errors import DataFileError
    from optimizer.cli.output import print_line
    from optimizer.replan.chart import svg_page, text_chart
    from optimizer.replan.history_view import points

    with _opened(history) as opened:
        charts = _series(points(opened, job or ()))
    if not charts:
        raise DataFileError("history has no plan to plot yet")
    if svg is not None:
        part = svg.with_name(f".{svg.name}.part")
        part.write_text(svg_page(charts), "utf-8")
        part.replace(svg)
        return
    for title, series in charts:
        for line in text_chart(title, series):
            print_line(line)


def export(
    history: Where,
    job: Jobs = None,
    prices: Annotated[bool, typer.Option("--prices", help="The price books instead of the verdicts.")] = False,
    json: Json = False,
) -> None:
    """Print every night's verdicts (or prices) as CSV, or with --json as JSON.

    [bold]Examples[/bold]

      clusterplan history export --history history.db > verdicts.csv

      clusterplan history export --history history.db --prices --json > prices.json
    """
    import csv
    import io

    from catalogs.errors import UsageError
    from optimizer.cli.output import emit_json
    from optimizer.replan.history_view import points, price_rows

    if prices and job:
        raise UsageError("--prices are those of the books, not of a --job; give one of the two")
    with _opened(history) as opened:
        rows = price_rows(opened) if prices else [one.to_json() for one in points(opened, job or ())]
    if json:
        emit_json(rows)
        return
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    typer.echo(text.getvalue(), nl=False)


def prune(
    history: Where,
    keep_days: Annotated[int, typer.Option("--keep-days", metavar="DAYS", min=0, help="Nights to keep, by age.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted.")] = False,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for another run.")] = 0.0,
    json: Json = False,
) -> None:
    """Delete old nights, and price books that no other night uses.

    What the next night needs stays: the last night, the latest book of every source, messages still to be sent.

    [bold]Examples[/bold]

      clusterplan history prune --history history.db --keep-days 730
    """
    import datetime

    from optimizer.cli.output import emit_json, print_line
    from optimizer.replan.history_view import forgettable
    from optimizer.replan.lock import exclusive

    before = datetime.date.today() - datetime.timedelta(days=min(keep_days, datetime.date.today().toordinal() - 1))
    with _opened(history) as opened, exclusive(opened.engine, wait):
        nights = forgettable(opened, before)
        if not dry_run:
            opened.forget(nights)
        kept = len(opened.numbers()) - (len(nights) if dry_run else 0)
    if json:
        emit_json({"before": before.isoformat(), "deleted": nights, "kept": kept, "dry_run": dry_run})
        return
    print_line(f"{'would delete' if dry_run else 'deleted'} {len(nights)} nights before {before}, {kept} kept")


def _series(found: list[Point]) -> list[tuple[str, list[tuple[Any, float]]]]:
    """Price and planned cost of every job by date, of a date the last night."""
    import datetime

    from optimizer.replan.offer_key import offer_words

    charts = []
    for job in dict.fromkeys(one.job for one in found):
        mine = [one for one in found if one.job == job]
        last = next((one for one in reversed(mine) if one.offer), None)
        if last is None:
            continue
        now = f"{last.accelerators} at {offer_words(last.offer)}"
        for title, name in (
            (f"{job}: USD per unit and hour, now {now}", "usd"),
            (f"{job}: USD still to pay", "planned_usd"),
        ):
            by_date = {one.as_of: getattr(one, name) for one in mine if getattr(one, name) is not None}
            if by_date:
                charts.append((title, [(datetime.date.fromisoformat(d), v) for d, v in sorted(by_date.items())]))
    return charts


_COMPARED = {
    "kind": "verdict",
    "offer": "plan",
    "usd": "price",
    "planned_usd": "still to pay",
    "ends": "ends",
    "advised": "advised",
}
"""Fields of a job that a difference shows, with their headings."""


def _show_difference(found: Difference) -> None:
    from optimizer.cli.output import print_line, print_table
    from optimizer.replan.offer_key import offer_words

    if not (found.jobs or found.prices or found.rules or found.tools):
        print_line("nothing differs")
        return
    if found.tools:
        print_line(f"version: {found.tools[0]} -> {found.tools[1]}")
    for name, (old, new) in found.rules.items():
        print_line(f"rule {name}: {old} -> {new}")
    if found.jobs:
        rows = []
        for old, new in found.jobs:
            one = new or old
            cells = [[_cell(point, name) for point in (old, new)] for name in _COMPARED]
            rows.append((one.job if one else "", *(a if a == b else f"{a} -> {b}" for a, b in cells)))
        print_table(("job", *_COMPARED.values()), rows)
    if found.prices:
        rows = []
        for key, was, now in found.prices:
            change = f"{now / was - 1:+.1%}" if was and now else "gone" if was else "new"
            rows.append((offer_words(key), f"{was:g}" if was else "", f"{now:g}" if now else "", change))
        print_table(("offer", "before", "after", "change"), rows, right="before after change")


def _cell(point: Point | None, name: str) -> str:
    from optimizer.replan.offer_key import offer_words

    value = getattr(point, name) if point else None
    if point is None or value in (None, ""):
        return "none"
    if name == "offer":
        return f"{point.accelerators} at {offer_words(point.offer)}"
    if name == "advised":
        return f"{point.advised_accelerators} at {offer_words(point.advised)}"
    return f"{value:,.4g}" if name == "usd" else f"{value:,.0f}" if name == "planned_usd" else str(value)
