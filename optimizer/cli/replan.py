"""``clusterplan replan``: which plans still stand tonight, which should change, what that saves, and why."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import CatalogDirs, Json, names_option


class Notify(StrEnum):
    """When news goes out."""

    changes = "changes"
    always = "always"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("replan")(replan)


def replan(
    history: Annotated[
        str,
        typer.Option("--history", metavar="URL", envvar="CLUSTERPLAN_HISTORY", help="SQLite file, or postgresql://…"),
    ],
    jobs: Annotated[Path | None, typer.Option("--jobs", metavar="FILE", help="Jobs file (docs/replanning.md).")] = None,
    prices: Annotated[
        list[str] | None,
        typer.Option("--prices", metavar="SOURCE", help="File, https://… or cmd:…, with #key=value&…; repeatable."),
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="DATE", help="The night; alone: replay it.")] = None,
    accept: Annotated[
        list[str] | None,
        names_option(
            "--accept",
            metavar="JOB",
            help="The plan last advised for this job stands from now on; repeatable, or all.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and print; record and send nothing.")] = False,
    min_saving: Annotated[float, typer.Option("--min-saving", metavar="USD", help="Least saving to act on.")] = 300.0,
    min_share: Annotated[float, typer.Option("--min-saving-share", metavar="SHARE", help="And as a share.")] = 0.05,
    cool_down: Annotated[float, typer.Option("--cool-down", metavar="DAYS", help="Rest after a move.")] = 7.0,
    jump: Annotated[float, typer.Option("--jump", metavar="FACTOR", help="Change that is held back.")] = 3.0,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for another run.")] = 0.0,
    cache: Annotated[Path, typer.Option("--cache", metavar="DIR", help="Evaluated layouts.")] = Path(
        ".clusterplan-layouts"
    ),
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", metavar="FILE", help="Write news to .txt, .json or .html."),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option("--webhook", metavar="VARIABLE", help="POST news as JSON to the address in this variable."),
    ] = None,
    slack: Annotated[
        list[str] | None,
        typer.Option("--slack", metavar="VARIABLE", help="The same, as a message for Slack and its likes."),
    ] = None,
    email: Annotated[
        list[str] | None, typer.Option("--email", metavar="ADDRESS", help="Mail news by the local server.")
    ] = None,
    smtp: Annotated[str, typer.Option("--smtp", metavar="HOST:PORT", help="The mail server.")] = "localhost:25",
    sender: Annotated[str, typer.Option("--sender", metavar="ADDRESS", help="From.")] = "clusterplan@localhost",
    notify: Annotated[Notify, typer.Option("--notify", help="When to report, post and mail.")] = Notify.changes,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Re-plan every job with tonight's prices and say what should change.

    Exit codes: 0 nothing to do, 10 action advised, 11 a job is infeasible, 3 input rejected, 2 usage, 1 the history is
    held by another run or cannot be written. News that could not be delivered is sent by the next run.

    [bold]Examples[/bold]

      clusterplan replan --jobs jobs.yaml --prices gcp.csv --history history.db

      clusterplan replan --jobs jobs.yaml --prices gcp.csv --history history.db --report night.html --slack SLACK_URL

      clusterplan replan --jobs jobs.yaml --prices gcp.csv --history history.db --accept chat-70b

      clusterplan replan --history history.db --as-of 2026-07-02
    """
    import datetime
    import os
    from contextlib import nullcontext
    from importlib.metadata import version

    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import warn
    from optimizer.cli.progress import progress_bar
    from optimizer.replan.history import History
    from optimizer.replan.integrity import Limits
    from optimizer.replan.jobs import Rules, read_jobs
    from optimizer.replan.layouts_cache import LayoutCache
    from optimizer.replan.lock import exclusive
    from optimizer.replan.night import accept as accept_advice
    from optimizer.replan.night import changed, plan_night, read_books, replay
    from optimizer.replan.notify import channels, deliver, messages
    from optimizer.replan.notify_send import MailServer
    from optimizer.replan.report import print_deliveries, print_night
    from optimizer.replan.sources import Source

    today = datetime.date.today()
    try:
        night_of = datetime.date.fromisoformat(as_of) if as_of else today
    except ValueError:
        raise UsageError(f"--as-of {as_of!r} is not a date; write YYYY-MM-DD") from None
    if not (min_saving >= 0 and 0 <= min_share < 1 and cool_down >= 0 and jump > 1):
        raise UsageError("--min-saving and --cool-down are at least 0, --min-saving-share below 1, --jump above 1")
    told = channels(report or (), webhook or (), slack or (), email or ())
    mail = MailServer.parse(smtp, sender)
    opened = open_catalog(catalog)
    recorded = History(history)
    layouts = LayoutCache(cache)
    try:
        if not prices:
            if as_of is None:
                raise UsageError("--prices is missing (only --as-of replays a past night without it)")
            dated = [one for one in recorded.numbers() if one[1] <= night_of.isoformat()]
            if not dated:
                raise UsageError(f"history has no night up to {night_of}")
            old = recorded.night(max(dated, key=lambda one: (one[1], one[0]))[0])
            night = replay(old, recorded.last(before=old.id), opened, layouts)
            print_night(night, changed(night, recorded.last(before=old.id)), as_json=json)
            raise typer.Exit(night.exit_code)
        if jobs is None:
            raise UsageError("--jobs is missing")
        rules = Rules(min_saving_usd=min_saving, min_saving_share=min_share, cool_down_days=cool_down)
        wanted = read_jobs(jobs, opened, rules)
        with nullcontext() if dry_run else exclusive(recorded.engine, wait):
            last = recorded.last()
            books, notes = read_books(
                [Source.parse(one) for one in prices], recorded.books(), opened, night_of, today, Limits(jump=jump)
            )
            if last is not None and night_of < last.as_of:
                notes = (
                    *notes,
                    f"this night is earlier than the last recorded one ({last.as_of}): is the clock right?",
                )
            plans, accepted = accept_advice(accept or (), wanted, last, night_of)
            with progress_bar("deciding") as told_progress:
                night = plan_night(
                    wanted, books, notes, last, opened, layouts, rules, night_of, version("clusterplan"),
                    plans=plans, progress=told_progress,
                )  # fmt: skip
            repeated = last is not None and last.inputs == night.inputs and not accepted
            news = [] if repeated else changed(night, last)
            if repeated and last is not None:
                night = last
            elif not dry_run:
                wanted_messages = messages(told, night, news) if news or notify is Notify.always else {}
                recorded.record(night, wanted_messages, after=last.id if last else 0)
            deliveries = [] if dry_run else deliver(recorded, os.environ, mail)
        print_night(night, news, as_json=json, repeated=repeated, deliveries=deliveries)
        print_deliveries(deliveries)
        raise typer.Exit(night.exit_code)
    finally:
        recorded.close()
        if layouts.unkept:
            warn(layouts.unkept)
