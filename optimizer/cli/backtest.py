"""``clusterplan backtest``: what re-planning would have saved over years of price books."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import CatalogDirs, Json

if TYPE_CHECKING:
    from optimizer.replan.backtest import Backtest
    from optimizer.replan.backtest_rules import Tried


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("backtest")(backtest)


def backtest(
    jobs: Annotated[Path, typer.Option("--jobs", metavar="FILE", help="Jobs file (docs/replanning.md).")],
    prices: Annotated[
        list[str], typer.Option("--prices", metavar="SOURCE", help="Price history with dated rows; repeatable.")
    ],
    min_saving: Annotated[float | None, typer.Option("--min-saving", metavar="USD", help="Least saving.")] = None,
    min_share: Annotated[float | None, typer.Option("--min-saving-share", metavar="SHARE", help="As a share.")] = None,
    cool_down: Annotated[float | None, typer.Option("--cool-down", metavar="DAYS", help="Rest after a move.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Choose the rules from a grid, and judge the choice.")] = False,
    cache: Annotated[Path, typer.Option("--cache", metavar="DIR", help="Evaluated layouts.")] = Path(
        ".clusterplan-layouts"
    ),
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write every episode.")] = None,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Replay dated price books night by night: every job, begun on every night, planned once against re-planned.

    A job with a start date within the history begins then; any other one begins on every night, with the time from its
    start to its deadline. The rules of the run hold for jobs that have none of their own.

    [bold]Examples[/bold]

      clusterplan backtest --jobs jobs.yaml --prices history.csv

      clusterplan backtest --jobs jobs.yaml --prices history.csv --grid --csv episodes.csv
    """
    import datetime

    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json
    from optimizer.cli.progress import progress_bar
    from optimizer.replan.backtest import backtest as replayed
    from optimizer.replan.backtest_rules import chosen, try_rules, whole_grid
    from optimizer.replan.backtest_tape import read_tape
    from optimizer.replan.integrity import Limits
    from optimizer.replan.jobs import Rules, read_jobs
    from optimizer.replan.layouts_cache import LayoutCache
    from optimizer.replan.sources import Source

    asked = {"min_saving_usd": min_saving, "min_saving_share": min_share, "cool_down_days": cool_down}
    given = {name: value for name, value in asked.items() if value is not None}
    if any(value < 0 for value in given.values()) or given.get("min_saving_share", 0.0) >= 1:
        raise UsageError("--min-saving and --cool-down are at least 0, --min-saving-share below 1")
    rules = Rules(**given)
    opened = open_catalog(catalog)
    wanted = read_jobs(jobs, opened, rules).jobs
    tape, notes = read_tape(
        [Source.parse(one) for one in prices], opened, LayoutCache(cache), datetime.date.today(), Limits()
    )
    with progress_bar("episodes") as report:
        found = replayed(wanted, tape, progress=report)
    tried: list[Tried] = []
    if grid:
        rules_tried = whole_grid()
        with progress_bar("rules") as report:
            tried = try_rules(
                wanted, tape, found, [*rules_tried, *([] if rules in rules_tried else [rules])], progress=report
            )
    if csv is not None:
        _write_csv(csv, found)
    best = chosen(tried) if tried else None
    if json:
        emit_json(
            {
                "nights": [date.isoformat() for date in tape.dates],
                "rules": rules.model_dump(),
                "jobs": [one.to_json() for one in found.tallies[:-1]],
                "all": found.tallies[-1].to_json(),
                "chosen": best and best.rules.model_dump(),
                "tried": [_tried_json(one) for one in tried],
                "notes": notes,
            }
        )
        return
    _show(found, tape.dates, notes)
    if best is not None:
        _show_rules(tried, best, rules)


def _tried_json(one: Tried) -> dict[str, Any]:
    return {"rules": one.rules.model_dump(), "choosing": one.choosing.to_json(), "judging": one.judging.to_json()}


def _show(found: Backtest, dates: list[Any], notes: list[str]) -> None:
    from optimizer.cli.output import print_line, print_table

    columns = ("job", "episodes", "idle", "once", "re-planned", "hindsight", "saved", "regret", "switches", "late")
    rows = [
        (
            one.name, str(one.episodes), str(one.idle), f"${one.once_usd:,.0f}", f"${one.replanned_usd:,.0f}",
            f"${one.hindsight_usd:,.0f}", f"{one.saved:.1%}", f"{one.regret:.1%}", str(one.switches),
            f"{one.late_replanned}/{one.late_once}",
        )
        for one in found.tallies
    ]  # fmt: skip
    title = f"{len(dates)} nights from {dates[0]} to {dates[-1]}; USD per episode"
    print_table(columns, rows, title=title, right=" ".join(columns[1:]))
    print_line(
        "once: the first plan to the end. re-planned: every verdict followed. hindsight: best sequence of plans."
    )
    print_line(
        "idle: nights on which nothing could train it in time. late: episodes re-planned/once after the deadline."
    )
    for note in notes:
        print_line(f"note: {note}")


def _show_rules(tried: list[Tried], best: Tried, given: Any) -> None:
    from optimizer.cli.output import print_table

    columns = ("", "saving", "share", "cool-down", "regret", "switches", "judged regret", "judged switches")
    ranked = sorted(tried, key=lambda one: (one.choosing.regret, one.choosing.switches))
    rows = [
        (
            ("chosen" if one is best else "") + (" given" if one.rules == given else ""),
            f"${one.rules.min_saving_usd:,.0f}", f"{one.rules.min_saving_share:.0%}",
            f"{one.rules.cool_down_days:g} d", f"{one.choosing.regret:.2%}", str(one.choosing.switches),
            f"{one.judging.regret:.2%}", str(one.judging.switches),
        )
        for one in ranked
    ]  # fmt: skip
    title = f"rules, chosen on {best.choosing.episodes} episodes, judged on {best.judging.episodes} others"
    print_table(columns, rows, title=title, right=" ".join(columns[1:]))


def _write_csv(path: Path, found: Backtest) -> None:
    """One row per episode, written whole or not at all."""
    import csv
    import io

    from optimizer.atomic import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("once_usd", "replanned_usd", "hindsight_usd", "once_days", "replanned_days", "switches", "late")
    writer.writerow(("job", "begin", *names, "first_plan", "last_plan"))
    for one in found.episodes:
        plans = [f"{plan.accelerators} x {plan.key}" for plan in (m.plan for m in one.replanned.moves)]
        money = (f"{usd:.2f}" for usd in (one.once.usd, one.replanned.usd, one.hindsight_usd))
        days = (f"{days:.2f}" for days in (one.once.days, one.replanned.days))
        writer.writerow((one.job, one.begin, *money, *days, one.switches, int(one.replanned.late), plans[0], plans[-1]))
    write_atomically(path, text.getvalue())
