"""The whole command: killed, run twice at once, out of disk, read-only, and fed with broken price files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.replan.history import History, Night
from optimizer.replan.lock import exclusive
from tests.replan import books
from tests.replan.conftest import FreshHistory
from tests.replan.crash import COMMAND, trials
from tests.replan.nights import PRICES, Nights
from tests.replan.test_history import read_only


def recorded(nights: Nights) -> list[Night]:
    history = History(nights.history)
    return [history.night(number) for number, *_ in history.numbers()]


@pytest.mark.slow
def test_killed_runs_leave_whole_nights_and_the_next_run_completes_them(
    tmp_path: Path, fresh_history: FreshHistory
) -> None:
    figures = trials(40, tmp_path, fresh_history)
    assert figures.where["killed"] == 40
    assert 0 < figures.recorded < figures.where.total()


def test_two_runs_at_once_record_one_night(nights: Nights) -> None:
    runs = [
        subprocess.Popen([*COMMAND, *nights.arguments("2026-10-02", "--wait", "60")], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [10, 10]
    assert sorted(b'"repeated": true' in one for one in said) == [False, True]
    assert len(recorded(nights)) == 1


def test_a_run_beside_another_exits_clearly_and_a_dry_one_need_not(nights: Nights) -> None:
    with exclusive(History(nights.history).engine):
        beside = nights.run("2026-10-02")
        dry = nights.run("2026-10-02", "--dry-run")
    assert (beside.code, dry.code) == (1, 10)
    assert "another replan holds the history's lock; wait for it, or give --wait" in beside.err
    assert recorded(nights) == []


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, file_nights: Nights) -> None:
    nights = file_nights
    assert nights.run("2026-10-02").code == 10
    before = recorded(nights)
    nights.prices(a100=3.0, h100=8.0)
    (tmp_path / "layouts").rename(tmp_path / "elsewhere")  # so that the layouts are to be written as well
    full = subprocess.run(
        # No file may grow beyond 1 KiB: what a disk does that is full.
        ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *COMMAND, *nights.arguments("2026-10-03")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (full.returncode, full.stdout) == (1, "")
    assert "what was recorded before stands" in full.stderr
    assert "layouts cannot be kept" in full.stderr
    assert "Traceback" not in full.stderr
    assert recorded(nights) == before
    assert nights.run("2026-10-03").out["repeated"] is False
    assert recorded(nights)[:1] == before
    assert len(recorded(nights)) == 2


def test_a_read_only_history_is_told_and_can_still_be_asked(nights: Nights) -> None:
    assert nights.run("2026-10-02").code == 10
    before = recorded(nights)
    nights.history = read_only(nights.history)
    refused = nights.run("2026-10-03")
    assert (refused.code, refused.out) == (1, {})
    assert "what was recorded before stands" in refused.err
    assert nights.run("2026-10-03", "--dry-run").code in (0, 10)
    assert recorded(nights) == before


def gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**9)


GOOD = PRICES.format(a100=1.5, h100=9.0)

HOSTILE: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "truncated": (GOOD[:-30].encode(), "cut off"),
    "UTF-16": (GOOD.encode("utf-16"), "not UTF-8"),
    "formula": (GOOD.replace("Acme", "=cmd()").encode(), "formula"),
    "not a number": (GOOD.replace("1.5", "nan").replace("9.0", "-inf").encode(), "above zero"),
    "zero": (GOOD.replace("1.5", "0").encode(), "above zero"),
    "two currencies": ((GOOD + GOOD.split("\n", 1)[1].replace("USD", "CNY")).encode(), "another currency"),
    "from the future": (GOOD.replace("2026-10-01", "2999-10-01").encode(), "future"),
    "a gigabyte": (gigabyte, "larger than 64 MiB"),
    "nothing": (b"", "no rows"),
    "another table": (books.SKYPILOT.replace("Price", "Prise").encode(), "missing column"),
}


def test_a_hostile_price_file_leaves_books_and_plans_as_they_were(tmp_path: Path, file_nights: Nights) -> None:
    nights = file_nights
    assert nights.run("2026-10-02").code == 10
    nights.run("2026-10-03")
    (_, calm) = recorded(nights)
    for day, (name, (content, reason)) in enumerate(HOSTILE.items(), 4):
        path = tmp_path / "prices.csv"
        path.unlink()
        content(path) if callable(content) else path.write_bytes(content)
        outcome = nights.run(f"2026-10-{day:02d}")
        (note,) = outcome.out["notes"]
        assert note.startswith(f"{path}:"), name
        assert reason in note, name
        assert "the last good prices are used" in note
        assert (outcome.code, outcome.out["news"]) == (calm.exit_code, [])
        (night,) = recorded(nights)[-1:]
        assert [one.book for one in night.sources] == [one.book for one in calm.sources]
        assert [one.standing for one in night.verdicts] == [one.standing for one in calm.verdicts]
