"""Recorded nights are listed, shown, compared, plotted, exported and pruned, on either database."""

from __future__ import annotations

import csv
import datetime
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from optimizer.replan.chart import svg_page, text_chart
from optimizer.replan.history import History, Night
from optimizer.replan.history_view import diff, forgettable
from optimizer.replan.verdict import Verdict
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.replan.test_history import PLAN, night


def priced(number: int) -> Night:
    """A night of two jobs; the plan of the first gets dearer every night, the second is there from night 1 on."""
    plan = replace(PLAN, usd=1.0 + number)
    first = Verdict("first", "keep", "fine", plan, None, 100.0 * (1 + number), ends="2027-01-01")
    second = Verdict("second", "start", "new", None, replace(PLAN, accelerators=16), change_usd=50.0)
    return replace(night(number), verdicts=(first, second)[: 1 + number])


@pytest.fixture
def recorded(history_url: str) -> str:
    history = History(history_url)
    for number in range(3):
        history.record(priced(number))
    history.close()
    return history_url


def test_every_view_of_a_history(recorded: str, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    at = ("--history", recorded)
    listed = json.loads(cli("history", "list", *at, "--json").out)
    assert [one["as_of"] for one in listed] == ["2026-10-01", "2026-10-02", "2026-10-03"]
    assert listed[2]["kinds"] == {"keep": 1, "start": 1}
    assert "1 keep, 1 start" in cli("history", "list", *at, "--last", "1").out
    number = listed[1]["night"]
    for name in (str(number), "2026-10-02"):
        shown = json.loads(cli("history", "show", name, *at, "--json").out)
        assert (shown["as_of"], shown["news"]) == ("2026-10-02", ["second"])
    assert "2026-10-03" in cli("history", "show", *at).out
    changes = json.loads(cli("history", "diff", "2026-10-01", "2026-10-03", *at, "--json").out)
    assert [(one["before"] and one["before"]["usd"], one["after"]["usd"]) for one in changes["jobs"]] == [
        (1.0, 3.0), (None, 1.0),
    ]  # fmt: skip
    assert changes["prices"][0]["after"] - changes["prices"][0]["before"] == pytest.approx(2.0)
    table = cli("history", "diff", "2026-10-01", "2026-10-02", *at).out
    assert "1 -> 2" in table
    assert "100 -> 200" in table
    assert "nothing differs" in cli("history", "diff", "2026-10-02", "2026-10-02", *at).out
    plotted = cli("history", "plot", *at, "--job", "first").out
    assert "first: USD still to pay" in plotted
    assert "2026-10-01 to 2026-10-03" in plotted
    assert "second" not in plotted
    image = tmp_path / "history.svg"
    assert cli("history", "plot", *at, "--svg", str(image)).code == 0
    assert ElementTree.parse(image).getroot().tag.endswith("svg")
    rows = list(csv.DictReader(io.StringIO(cli("history", "export", *at).out)))
    assert [(row["job"], row["planned_usd"]) for row in rows] == [
        ("first", "100.0"), ("first", "200.0"), ("second", "50.0"), ("first", "300.0"), ("second", "50.0"),
    ]  # fmt: skip
    prices = json.loads(cli("history", "export", *at, "--prices", "--json").out)
    assert len(prices) == 3 * len(night(0).sources[0].book.quotes)
    assert {one["night"] for one in prices} == {one["night"] for one in listed}


def test_other_advice_for_the_same_plan_differs(recorded: str, cli: Cli) -> None:  # noqa: F811
    history = History(recorded)
    for day, accelerators in ((4, 24), (5, 16)):
        verdict = replace(priced(2).verdicts[0], kind="switch", target=replace(PLAN, accelerators=accelerators))
        history.record(replace(priced(2), as_of=datetime.date(2026, 10, day), verdicts=(verdict,)))
    history.close()
    done = cli("history", "diff", "2026-10-04", "2026-10-05", "--history", recorded, "--json")
    (change,) = json.loads(done.out)["jobs"]
    assert [change[side]["advised_accelerators"] for side in ("before", "after")] == [24, 16]
    assert "24 at " in cli("history", "diff", "2026-10-04", "2026-10-05", "--history", recorded).out


def test_pruning_keeps_the_last_night_and_what_is_still_to_be_sent(recorded: str, cli: Cli) -> None:  # noqa: F811
    history = History(recorded)
    history.record(priced(3), {"channel": "body"})
    history.record(priced(4))
    numbers = [one[0] for one in history.numbers()]
    late = datetime.date(2030, 1, 1)
    assert forgettable(history, late) == numbers[:3]
    assert forgettable(history, datetime.date(2026, 10, 2)) == numbers[:1]
    history.close()
    days = (datetime.date.today() - datetime.date(2026, 10, 3)).days
    at = ("--history", recorded, "--keep-days", str(days))
    said = json.loads(cli("history", "prune", *at, "--dry-run", "--json").out)
    assert (said["deleted"], said["kept"]) == (numbers[:2], 3)
    assert "deleted 2 nights before 2026-10-03, 3 kept" in cli("history", "prune", *at).out
    after = History(recorded)
    assert [replace(after.night(one), id=0) for one in numbers[2:]] == [priced(n) for n in (2, 3, 4)]
    assert "deleted 0 nights" in cli("history", "prune", *at).out
    after.close()


def test_pruning_keeps_the_last_book_of_a_source_that_was_left_out_since(tmp_path: Path) -> None:
    history = History(str(tmp_path / "history.db"))
    source = replace(night(0).sources[0], source="left out since")
    first = history.record(replace(night(0), sources=(source,)))
    second, third = (history.record(night(number)) for number in (1, 2))
    assert forgettable(history, datetime.date(2030, 1, 1)) == [second]
    history.forget([second])
    assert [one[0] for one in history.numbers()] == [first, third]
    assert history.books()["left out since"][1] == source
    history.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list",), 3, "there is none"),
        (("show", "7"), 3, "no night '7'"),
        (("show", "2026-10-09"), 3, "recorded: 1 to 1, 2026-10-01 to 2026-10-01"),
        (("diff", "1", "soon"), 3, "no night 'soon'"),
        (("plot", "--job", "nobody"), 3, "no job 'nobody'"),
        (("export", "--prices", "--job", "first"), 2, "one of the two"),
        (("prune",), 2, "keep-days"),
        (("prune", "--keep-days", "-1"), 2, "greater than or equal to 0"),
    ],
)
def test_what_is_not_there_is_told(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    cli: Cli,  # noqa: F811
) -> None:
    path = tmp_path / "history.db"
    if arguments != ("list",):
        History(str(path)).record(priced(0))
    outcome = cli("history", *arguments, "--history", str(path))
    assert (outcome.code, said in outcome.err) == (code, True), outcome.err
    assert path.exists() == (arguments != ("list",))


def test_nights_of_one_kind_do_not_differ() -> None:
    same = diff(priced(1), replace(priced(1), id=9))
    assert (same.jobs, same.prices, same.rules, same.tools) == ([], [], {}, None)
    other = diff(priced(1), replace(priced(1), tool="0.2", rules={"cool_down_days": 9.0}))
    assert other.tools == ("0.1", "0.2")
    assert other.rules == {"cool_down_days": (None, 9.0)}


def test_the_last_value_is_drawn_however_short_it_held() -> None:
    day = datetime.date(2026, 1, 1)
    chart = text_chart("title", [(day, 1.0), (day + datetime.timedelta(days=500), 9.0)], columns=20, rows=5)
    assert (chart[1], chart[5]) == ("9 |" + " " * 19 + "*", "1 |" + "*" * 19)


def test_a_flat_line_and_a_single_night_can_be_drawn() -> None:
    day = datetime.date(2026, 1, 1)
    for series in ([(day, 2.0)], [(day, 0.0), (day + datetime.timedelta(days=900), 0.0)]):
        chart = text_chart("title", series, columns=20, rows=5)
        assert sum(line.count("*") for line in chart) == 20
        assert "<path" in svg_page([("a < b", series)])
