"""Nights are recorded whole or not at all, one at a time, and can be replayed."""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from catalogs.errors import ClusterplanError, DataFileError, UsageError
from optimizer.replan.book import Book
from optimizer.replan.database import database_url, open_engine, writing
from optimizer.replan.history import MIGRATIONS, History, Night, SourceBook, proposed_plans, standing_plans
from optimizer.replan.lock import exclusive
from optimizer.replan.standing import Standing
from optimizer.replan.verdict import Verdict
from tests.cli.conftest import Cli
from tests.replan.conftest import FreshHistory
from tests.replan.nights import Nights
from tests.replan.postgresql import Server
from tests.replan.test_reprice import BOOK

# The children touch nothing that another thread of this process may hold.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

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


def killed_while_recording(url: str, number: int, after_s: float) -> None:
    """Record a night in another process and kill it after a while."""
    child = os.fork()
    if child == 0:
        try:
            history = History(url)
            with exclusive(history.engine):
                history.record(night(number), {"channel": "body"})
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def crash_trials(fresh_history: FreshHistory, trials: int) -> None:
    rng = random.Random(6)
    url = fresh_history()
    count = 0
    for _ in range(trials):
        killed_while_recording(url, count, rng.uniform(0.0, 0.06))
        history = History(url)
        with exclusive(history.engine, wait_s=30.0):  # a server takes a moment to notice that its client is gone
            found = check_whole(history)
        assert found in (count, count + 1)
        count = found
        if count >= 8:  # keep the checks short
            url = fresh_history()
            count = 0
        history.close()
    history = History(url)
    history.record(night(count), {"channel": "body"})
    assert check_whole(history) == count + 1
    history.close()


def test_a_kill_leaves_no_half_written_night(fresh_history: FreshHistory) -> None:
    crash_trials(fresh_history, 25)


@pytest.mark.slow
def test_200_kills_leave_no_half_written_night(fresh_history: FreshHistory) -> None:
    crash_trials(fresh_history, 200)


def test_a_night_comes_back_as_it_was_recorded(history_url: str) -> None:
    history = History(history_url)
    for number in range(3):
        history.record(night(number), {"channel": "body"})
    assert check_whole(history) == 3
    assert standing_plans(history.last())["job00"].accelerators == 8
    assert proposed_plans(history.last())["job00"].accelerators == 10
    history.forget([one[0] for one in history.numbers()[:2]])
    last = history.last()
    assert last is not None
    assert replace(last, id=0) == night(2)
    (waiting,) = history.waiting()
    history.sent(waiting.number, "refused")
    assert len(history.waiting()) == 1
    history.sent(waiting.number)
    assert history.waiting() == []
    history.close()


def test_a_source_left_out_for_a_night_keeps_its_last_book(history_url: str) -> None:
    history = History(history_url)
    for number, source in enumerate(("s", "t", "t")):
        renamed = tuple(replace(one, source=source) for one in night(number).sources)
        history.record(replace(night(number), sources=renamed))
    assert {name: (day, kept.book) for name, (day, kept) in history.books().items()} == {
        "s": (night(0).as_of, night(0).sources[0].book),
        "t": (night(2).as_of, night(2).sources[0].book),
    }


def test_an_old_schema_is_migrated_and_a_newer_one_refused(history_url: str) -> None:
    engine = open_engine(database_url(history_url))
    with writing(engine) as connection:
        MIGRATIONS[0](connection)
        connection.execute(sa.text("update clusterplan_schema set version = 1"))
    history = History(history_url)
    history.record(night(0), {"channel": "body"})
    assert check_whole(history) == 1
    history.close()
    with writing(engine) as connection:
        connection.execute(sa.text("update clusterplan_schema set version = 99"))
    with pytest.raises(DataFileError, match="newer"):
        History(history_url)


def in_processes(count: int, act: Callable[[], None]) -> None:
    """The same in several processes at once; each must end well."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                act()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


def test_processes_that_open_a_new_history_at_once_make_its_schema_once(history_url: str) -> None:
    in_processes(6, lambda: History(history_url).close())
    history = History(history_url)
    history.record(night(0), {"channel": "body"})
    assert check_whole(history) == 1


def test_processes_that_record_at_once_wait_for_each_other(history_url: str) -> None:
    def act() -> None:
        history = History(history_url)
        with exclusive(history.engine, wait_s=60.0):
            last = history.last()
            number = len(history.numbers())
            history.record(night(number), {"channel": "body"}, after=last.id if last else 0)

    History(history_url).close()
    in_processes(6, act)
    assert check_whole(History(history_url)) == 6


def test_a_night_decided_from_an_old_state_is_not_recorded(history_url: str) -> None:
    one, other = History(history_url), History(history_url)
    one.record(night(0), {"channel": "body"}, after=0)
    with pytest.raises(ClusterplanError, match="meanwhile"):
        other.record(night(0), {"channel": "body"}, after=0)
    assert check_whole(other) == 1


def test_two_runs_exclude_each_other(history_url: str) -> None:
    history = History(history_url)
    with exclusive(history.engine), pytest.raises(ClusterplanError, match="another replan"), exclusive(history.engine):
        pass
    with exclusive(history.engine):
        pass
    history.close()


def test_two_names_of_a_file_have_one_lock(tmp_path: Path) -> None:
    history = History(str(tmp_path / "history.db"))
    (tmp_path / "link.db").symlink_to(tmp_path / "history.db")
    other = History(f"sqlite:///file:{tmp_path}/link.db?uri=true")
    with exclusive(history.engine), pytest.raises(ClusterplanError, match="another replan"), exclusive(other.engine):
        pass


def no_room(history: History) -> None:
    """From now on the disk of a history is full (as its own errors say it)."""
    if history.engine.dialect.name == "postgresql":
        with writing(history.engine) as connection:
            connection.exec_driver_sql(
                "create function no_room() returns trigger language plpgsql as "
                "$$ begin raise 'could not extend file: No space left on device (disk full)' using errcode = '53100'; "
                "end $$; create trigger no_room before insert on outbox execute function no_room()"
            )
        return
    with history.engine.connect() as connection:
        pages = connection.execute(sa.text("pragma page_count")).scalar()

    @sa.event.listens_for(history.engine, "begin")
    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")


def read_only(url: str) -> str:
    """A URL of the same history by which nothing can be written."""
    if url.startswith("postgresql"):
        return f"{url}&options=-cdefault_transaction_read_only%3Don"
    return f"sqlite:///file:{url}?mode=ro&uri=true"


def test_a_history_that_cannot_be_written_is_reported_and_kept(history_url: str) -> None:
    History(history_url).record(night(0), {"channel": "body"})
    full = History(history_url)
    no_room(full)
    with pytest.raises(ClusterplanError, match="full"):
        full.record(night(1), {"channel": "body" * 10_000})
    assert check_whole(full) == 1
    locked = History(read_only(history_url))
    with pytest.raises(ClusterplanError, match=r"read-?only"):
        locked.record(night(1))
    assert check_whole(locked) == 1


@pytest.mark.parametrize(
    ("url", "error", "reason"),
    [
        ("nowhere/history.db", DataFileError, "cannot be opened"),
        ("postgresql://planner:secret@/nights?host=/nowhere", DataFileError, "cannot be opened"),
        ("postgresql://planner@/nights?host=/nowhere&password=secret", DataFileError, "cannot be opened"),
        ("postgresql://planner:secret@:x/nights", UsageError, "no database URL"),
        ("mysql://planner:secret@host/nights", UsageError, "SQLite file or a PostgreSQL"),
        ("sqlite://", UsageError, "name a file"),
    ],
)
def test_no_history_there_is_told_without_its_password(url: str, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason) as told:
        History(url)
    assert "secret" not in str(told.value)


def test_a_server_that_goes_away_loses_nothing(server: Server) -> None:
    url = server.create()
    history = History(url)
    history.record(night(0), {"channel": "body"})
    try:
        with exclusive(history.engine):
            server.stop()
            with pytest.raises(ClusterplanError, match="cannot be written"):
                history.record(night(1), {"channel": "body"})
        with pytest.raises(ClusterplanError, match="cannot be locked"), exclusive(history.engine):
            pass
    finally:
        server.start()
    with exclusive(history.engine):
        history.record(night(1), {"channel": "body"})
    assert check_whole(history) == 2


def test_nights_at_the_command_line(tmp_path: Path, nights: Nights, warm_cli: Cli) -> None:
    cli, history_url = warm_cli, nights.history
    assert nights.run("2026-10-02", "--dry-run").code == 10
    first = nights.run("2026-10-02")
    assert (first.code, first.out["news"], first.out["repeated"]) == (10, ["small"], False)
    again = nights.run("2026-10-02")
    assert (again.code, again.out["news"], again.out["repeated"]) == (10, [], True)
    calm = nights.run("2026-10-03")
    assert (calm.code, calm.out["news"]) == (10, [])  # what was advised still waits
    assert nights.run("2026-10-03", "--accept", "large").code == 2
    accepted = nights.run("2026-10-03", "--accept", "small")
    assert (accepted.code, accepted.out["news"], accepted.out["repeated"]) == (0, [], False)
    for more in (("--accept", "small"), ()):
        assert nights.run("2026-10-03", *more).out["repeated"]
    nights.prices(a100=1.5, h100=0.1)
    held = nights.run("2026-10-20")
    assert held.code == 0
    assert "held back" in str(held.out["notes"])
    assert nights.run("2026-10-20").out["repeated"]  # the same book is no confirmation of itself
    switched = nights.run("2026-10-21")
    assert (switched.code, switched.out["news"]) == (10, ["small"])
    (tmp_path / "prices.csv").write_text("broken\n", "utf-8")
    kept = nights.run("2026-10-22")
    assert (kept.code, kept.out["news"]) == (10, [])
    assert "last good prices" in str(kept.out["notes"])
    assert nights.run("2026-10-25", "--prices", str(tmp_path / "prices.csv")).code == 2  # twice
    back = nights.run("2026-10-10")
    assert "earlier than the last recorded one (2026-10-22): is the clock right?" in str(back.out["notes"])
    replayed = cli(
        "replan", "--history", history_url, "--as-of", "2026-10-21", "--cache", str(tmp_path / "l"), "--json"
    )
    assert json.loads(replayed.out)["verdicts"] == switched.out["verdicts"]
    assert cli("replan", "--history", history_url, "--as-of", "soon").code == 2
    nights.history = str(tmp_path / "new.db")
    assert nights.run("2026-10-23").code == 3
