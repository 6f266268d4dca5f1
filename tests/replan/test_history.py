"""Nights are recorded whole or not at all, one at a time, and can be replayed."""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from catalogs.errors import ClusterplanError, DataFileError
from optimizer.replan.book import Book
from optimizer.replan.decide import Standing, Verdict
from optimizer.replan.history import MIGRATIONS, History, Night, SourceBook, standing_plans
from optimizer.replan.lock import exclusive
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.replan.test_reprice import BOOK

PLAN = Standing(BOOK.quotes[0].key, "a100-sxm-80g", 8, 1.0, "2026-10-01")


def night(number: int) -> Night:
    book = Book.of([replace(q, price=q.price + number) for q in BOOK.quotes])
    verdicts = tuple(
        Verdict(f"job{n:02d}", "switch", "cheaper", PLAN, replace(PLAN, accelerators=8 + number)) for n in range(20)
    )
    day = datetime.date(2026, 10, 1) + datetime.timedelta(days=number)
    return Night(day, f"{number:064d}", "0.1", 10, [{"name": "x"}], {}, ("note",), (SourceBook("s", book),), verdicts)


def check_whole(history: History) -> int:
    """Every recorded night is exactly the night that was meant; returns how many there are."""
    numbers = [one[0] for one in history.numbers()]
    for place, number in enumerate(numbers):
        assert replace(history.night(number), id=0) == night(place)
    with history.engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from books")).scalar() == len(numbers)
        assert connection.execute(sa.text("select count(*) from outbox")).scalar() == len(numbers)
    return len(numbers)


def killed_while_recording(path: Path, number: int, after_s: float) -> None:
    """Record a night in another process and kill it after a while."""
    child = os.fork()
    if child == 0:
        try:
            history = History(str(path))
            with exclusive(history.engine):
                history.record(night(number), {"channel": "body"})
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def crash_trials(path: Path, trials: int) -> None:
    rng = random.Random(6)
    count = 0
    before = 0
    for _ in range(trials):
        killed_while_recording(path, count, rng.uniform(0.0, 0.06))
        history = History(str(path))
        count = check_whole(history)
        assert count in (before, before + 1)
        before = count
        if count >= 8:  # keep the checks short
            history.close()
            path.unlink()
            count = before = 0
        history.close()
    history = History(str(path))
    history.record(night(count), {"channel": "body"})
    assert check_whole(history) == count + 1
    history.close()


def test_a_kill_leaves_no_half_written_night(tmp_path: Path) -> None:
    crash_trials(tmp_path / "history.db", 25)


@pytest.mark.slow
def test_200_kills_leave_no_half_written_night(tmp_path: Path) -> None:
    crash_trials(tmp_path / "history.db", 200)


def test_a_night_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    history = History(str(tmp_path / "history.db"))
    for number in range(3):
        history.record(night(number), {"channel": "body"})
    assert check_whole(history) == 3
    assert standing_plans(history.last())["job00"].accelerators == 10
    assert history.forget(keep=1) == 2
    last = history.last()
    assert last is not None
    assert replace(last, id=0) == night(2)
    (waiting,) = history.waiting()
    history.sent(waiting[0], "refused")
    assert len(history.waiting()) == 1
    history.sent(waiting[0])
    assert history.waiting() == []
    history.close()


def test_an_old_schema_is_migrated_and_a_newer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        MIGRATIONS[0](connection)
        connection.execute(sa.text("update clusterplan_schema set version = 1"))
    history = History(str(path))
    history.record(night(0), {"channel": "body"})
    assert check_whole(history) == 1
    history.close()
    with engine.begin() as connection:
        connection.execute(sa.text("update clusterplan_schema set version = 99"))
    engine.dispose()
    with pytest.raises(DataFileError, match="newer"):
        History(str(path))


def test_two_runs_exclude_each_other(tmp_path: Path) -> None:
    history = History(str(tmp_path / "history.db"))
    with exclusive(history.engine), pytest.raises(ClusterplanError, match="another replan"), exclusive(history.engine):
        pass
    with exclusive(history.engine):
        pass
    history.close()


def test_a_history_that_cannot_be_written_is_reported_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = History(str(path))
    history.record(night(0), {"channel": "body"})
    history.close()
    full = History(str(path))
    with full.engine.connect() as connection:
        pages = connection.execute(sa.text("pragma page_count")).scalar()

    @sa.event.listens_for(full.engine, "begin")
    def no_room(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")

    with pytest.raises(ClusterplanError, match="full"):
        full.record(night(1), {"channel": "body" * 10_000})
    full.close()
    read_only = History(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(ClusterplanError, match="readonly"):
        read_only.record(night(1))
    assert check_whole(read_only) == 1
    read_only.close()


def test_no_history_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="cannot be opened"):
        History(str(tmp_path / "nowhere" / "history.db"))


JOBS = """- name: small
  model: llama-3.2-1b
  tokens: 50B
  hardware: [a100-sxm-80g, h100-sxm-80g]
  max_accelerators: 32
  global_batch: 64
  deadline: 2027-06-01
"""
PRICES = """provider,region,instance,accelerator,accelerators_per_server,tenure,price,currency,unit,date
Acme,r1,box,a100-sxm-80g,8,on_demand,1.5,USD,accelerator_hour,2026-10-01
Acme,r2,box,h100-sxm-80g,8,on_demand,9.0,USD,accelerator_hour,2026-10-01
"""


def test_nights_at_the_command_line(tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    jobs, prices, history = tmp_path / "jobs.yaml", tmp_path / "prices.csv", tmp_path / "history.db"
    report = tmp_path / "report.html"
    jobs.write_text(JOBS, "utf-8")
    prices.write_text(PRICES, "utf-8")

    def run(day: str, *more: str) -> dict[str, object]:
        outcome = cli(
            "replan", "--jobs", str(jobs), "--prices", str(prices), "--history", str(history), "--as-of", day,
            "--cache", str(tmp_path / "layouts"), "--report", str(report), "--min-saving", "10", "--json", *more,
        )  # fmt: skip
        return {"code": outcome.code, "err": outcome.err} | (json.loads(outcome.out) if outcome.out else {})

    assert run("2026-10-02", "--dry-run")["code"] == 10
    first = run("2026-10-02")
    assert (first["code"], first["news"], first["repeated"]) == (10, ["small"], False)
    assert report.is_file()
    report.unlink()
    again = run("2026-10-02")
    assert (again["code"], again["news"], again["repeated"]) == (10, [], True)
    calm = run("2026-10-03")
    assert (calm["code"], calm["news"]) == (0, [])
    assert not report.exists()
    prices.write_text(PRICES.replace("9.0", "0.1"), "utf-8")
    held = run("2026-10-20")
    assert held["code"] == 0
    assert "held back" in str(held["notes"])
    switched = run("2026-10-21")
    assert (switched["code"], switched["news"]) == (10, ["small"])
    assert report.read_text("utf-8").count("switch") >= 1
    prices.write_text("broken\n", "utf-8")
    kept = run("2026-10-22")
    assert kept["code"] == 0
    assert "last good prices" in str(kept["notes"])
    replayed = cli(
        "replan", "--history", str(history), "--as-of", "2026-10-21", "--cache", str(tmp_path / "l"), "--json"
    )
    assert json.loads(replayed.out)["verdicts"] == switched["verdicts"]
    assert cli("replan", "--history", str(history), "--as-of", "soon").code == 2
    fresh = cli("replan", "--jobs", str(jobs), "--prices", str(prices), "--history", str(tmp_path / "new.db"))
    assert fresh.code == 3
