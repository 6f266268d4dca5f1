"""A backtest charges what a clerk would, and no sequence of plans is cheaper than hindsight."""

from __future__ import annotations

import datetime
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalogs.errors import DataFileError
from optimizer.replan.backtest import Episode, Tally, backtest, begun
from optimizer.replan.backtest_course import Course, course
from optimizer.replan.backtest_hindsight import Hindsight
from optimizer.replan.backtest_rules import Tried, chosen, try_rules
from optimizer.replan.backtest_tape import Tape, read_tape
from optimizer.replan.book import Book, Quote
from optimizer.replan.integrity import Limits
from optimizer.replan.jobs import PlannedJob, Rules, jobs_of
from optimizer.replan.layouts_cache import LayoutCache
from optimizer.replan.sources import Source
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.replan.test_reprice import CATALOG, quote

HISTORY = Path(__file__).with_name("gcp_history.csv")
CACHE = LayoutCache()
FIRST = datetime.date(2026, 1, 1)
STEP = datetime.timedelta(days=30)
LOST_HOURS, EGRESS_USD = 6.0, 90.0
RULES = Rules(min_saving_usd=100.0, min_saving_share=0.05, cool_down_days=7.0)


def job(**changes: Any) -> PlannedJob:
    fields = {
        "name": "one", "model": "llama-3.2-1b", "tokens": "900B", "hardware": ["a100-sxm-80g"], "global_batch": 256,
        "max_accelerators": 8, "offers": ["on_demand", "reserved_1y"],
    } | changes  # fmt: skip
    return jobs_of([fields], CATALOG, RULES, "jobs.yaml").jobs[0]


def tape(*nights: tuple[Quote, ...], step: datetime.timedelta = STEP) -> Tape:
    return Tape([(FIRST + n * step, Book.of(quotes)) for n, quotes in enumerate(nights)], CATALOG, CACHE)


def begins(one: PlannedJob, on: Tape) -> PlannedJob:
    """The job as it begins on the first night."""
    return begun(one, on)[0][1]


def test_a_move_is_charged_as_a_clerk_would() -> None:
    here, there = quote("a100-sxm-80g", 2.0), quote("a100-sxm-80g", 1.9, region="r2")
    played = tape((here,), (here, there), (replace(here, price=3.0), there))
    one = begins(job(), played)
    once = course(one, played, 0, replanned=False)
    moved = course(one, played, 0, replanned=True)
    assert once is not None
    assert moved is not None
    hours = once.days * 24
    assert hours > 60 * 24
    # 8 accelerators; nothing is worth a move at 1.9, and at 3.0 it is: 60 days at 2.0, then the rest.
    assert once.usd == pytest.approx(8 * (60 * 24 * 2.0 + (hours - 60 * 24) * 3.0))
    rest = (hours - 60 * 24) + LOST_HOURS
    assert moved.usd == pytest.approx(8 * (60 * 24 * 2.0 + rest * 1.9) + EGRESS_USD)
    assert moved.days == pytest.approx(once.days + LOST_HOURS / 24)
    assert [move.kind for move in moved.moves] == ["start", "switch"]
    assert not moved.late


def test_a_commitment_is_paid_to_its_end_at_the_price_it_was_made_at() -> None:
    cheap, dear = (quote("a100-sxm-80g", usd, "reserved_1y") for usd in (0.1, 0.2))
    played = tape((cheap,), (dear,))
    once = course(begins(job(), played), played, 0, replanned=False)
    assert once is not None
    assert once.days < 365
    assert once.usd == pytest.approx(8 * 365 * 24 * 0.1)


def test_the_end_of_a_cool_down_between_two_books_is_a_night() -> None:
    offers = [quote("a100-sxm-80g", usd, region=f"r{usd}") for usd in (2.0, 1.0, 0.5)]
    played = tape((offers[0],), (offers[0], offers[1]), tuple(offers), step=datetime.timedelta(days=5))
    moved = course(begins(job(), played), played, 0, replanned=True)
    assert moved is not None
    assert [(move.date - FIRST).days for move in moved.moves] == [0, 7, 14]


def clerk(one: PlannedJob, on: Tape, quotes: list[Quote], plans: tuple[int, ...], prices: list[list[float]]) -> float:
    """What a sequence of offers costs (8 accelerators each), night by night, written without the product's clock."""
    usd = done = 0.0
    lost_h = 0.0
    whole_h = (on.markets[0].wall_s(one.job, quotes[0].key, "a100-sxm-80g", 8) or 0.0) / 3600
    for night, plan in enumerate(plans):
        if night and plan != plans[night - 1]:
            usd += EGRESS_USD
            lost_h = LOST_HOURS
        span_h = float("inf") if night + 1 == len(plans) else STEP.days * 24.0
        needed_h = lost_h + (1 - done) * whole_h
        hours = min(span_h, needed_h)
        usd += 8 * hours * prices[night][plan]
        if needed_h <= span_h:
            return usd
        done += (hours - lost_h) / whole_h
        lost_h = 0.0
    raise AssertionError


@pytest.mark.parametrize("seed", range(4))
def test_hindsight_is_the_cheapest_of_all_sequences(seed: int) -> None:
    rng = random.Random(seed)
    quotes = [quote("a100-sxm-80g", 1.0, region=f"r{n}") for n in range(3)]
    prices = [[rng.uniform(1.0, 3.0) for _ in quotes] for _ in range(5)]
    played = tape(*(tuple(replace(q, price=p) for q, p in zip(quotes, night, strict=True)) for night in prices))
    one = begins(job(tokens="1.5T"), played)
    replanned = course(one, played, 0, replanned=True)
    assert replanned is not None
    assert replanned.days > 120
    found = Hindsight(played).usd(one, 0, replanned)
    every = [clerk(one, played, quotes, plans, prices) for plans in itertools.product(range(3), repeat=5)]
    assert found == pytest.approx(min(every))
    assert found <= replanned.usd


def test_hindsight_waits_for_an_offer_that_is_still_to_come() -> None:
    dear, cheap = quote("a100-sxm-80g", 3.0), quote("a100-sxm-80g", 1.0, region="r2")
    played = tape((dear,), (dear, cheap))
    one = begins(job(), played)
    replanned = course(one, played, 0, replanned=True)
    assert replanned is not None
    assert len(replanned.moves) == 2
    assert Hindsight(played).usd(one, 0, replanned) == pytest.approx(replanned.usd)


def test_when_a_job_begins() -> None:
    here = quote("a100-sxm-80g", 2.0)
    played = tape((here,), (here,), (here,))
    within = begun(job(start="2026-01-15", deadline="2026-03-15"), played)
    assert [(night, one.entry.deadline) for night, one in within] == [(1, datetime.date(2026, 3, 31))]
    later = begun(job(start="2027-01-01", deadline="2027-03-02"), played)
    assert [(one.entry.deadline or FIRST) - played.dates[night] for night, one in later] == [2 * STEP] * 3
    assert len(begun(job(), played)) == 3
    with pytest.raises(DataFileError, match="not after 2026-03-02"):
        begun(job(deadline="2026-02-01"), played)


def real_tape() -> Tape:
    found, notes = read_tape(
        [Source.parse(str(HISTORY))], CATALOG, CACHE, datetime.date(2026, 11, 1), Limits()
    )  # fmt: skip
    assert not notes
    return found


@pytest.mark.slow
def test_all_snapshots_of_a_real_history() -> None:
    played = real_tape()
    assert len(played.dates) == 55
    hardware = ["a100-sxm-40g", "a100-sxm-80g", "h100-sxm-80g"]
    jobs = [
        job(name="spot", start="2026-09-01", deadline="2027-03-01", hardware=hardware, offers=["all"]),
        job(name="large", model="llama-2-13b", hardware=hardware, max_accelerators=64, offers=["all"],
            start="2026-09-01", deadline="2027-03-01"),
    ]  # fmt: skip
    found = backtest(jobs, played)
    assert len(found.episodes) + sum(found.idle.values()) == 110
    assert found.idle["large"] > 0  # nothing could train it before there were servers with a network
    for one in found.episodes:
        assert one.hindsight_usd <= min(one.once.usd, one.replanned.usd) * (1 + 1e-12)
        assert not one.once.late
        assert not one.replanned.late
    large = found.tallies[1]
    assert large.saved > 0.01
    assert large.switches > 0
    (never, tried) = try_rules(jobs, played, found, [Rules(min_saving_share=0.99), RULES])
    assert never.choosing.switches + never.judging.switches == 0
    assert tried.choosing.switches + tried.judging.switches == found.tallies[-1].switches
    assert never.choosing.replanned_usd == pytest.approx(never.choosing.once_usd)


def test_the_rules_with_fewest_moves_of_those_as_good_are_chosen() -> None:
    def tried(share: float, regret: float, switches: int) -> Tried:
        tally = Tally("", 1, 0, 1.0, 1.0, 1.0, regret, switches, 0, 0)
        return Tried(Rules(min_saving_share=share), tally, tally)

    found = chosen([tried(0.0, 0.0100, 9), tried(0.1, 0.0109, 5), tried(0.2, 0.0112, 1)])
    assert found.rules.min_saving_share == 0.1


def test_a_tally_is_the_mean_of_its_episodes() -> None:
    def episode(once: float, replanned: float, best: float) -> Episode:
        return Episode("one", FIRST, Course(once, 1.0, False, ()), Course(replanned, 1.0, True, (None,) * 3), best)  # type: ignore[arg-type]

    tally = Tally.of("both", [episode(10.0, 8.0, 4.0), episode(20.0, 10.0, 10.0)], 3)
    assert (tally.once_usd, tally.replanned_usd, tally.saved, tally.regret) == (15.0, 9.0, 0.4, 0.5)
    assert (tally.switches, tally.late_once, tally.late_replanned, tally.idle) == (4, 0, 2, 3)


def test_a_backtest_at_the_command_line(tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    jobs, episodes = tmp_path / "jobs.yaml", tmp_path / "episodes.csv"
    jobs.write_text(
        "- {name: small, model: llama-3.2-1b, tokens: 100B, max_accelerators: 16, global_batch: 256, offers: [all],\n"
        "   hardware: [a100-sxm-40g], start: 2026-09-01, deadline: 2027-03-01}\n",
        "utf-8",
    )
    flags = ("backtest", "--jobs", str(jobs), "--cache", str(tmp_path / "layouts"), "--prices")
    lines = HISTORY.read_text("utf-8").splitlines(keepends=True)
    short, single = tmp_path / "short.csv", tmp_path / "single.csv"
    short.write_text("".join([lines[0], *lines[-40:]]), "utf-8")
    single.write_text("".join([lines[0], *lines[-4:]]), "utf-8")
    outcome = cli(*flags, str(short), "--json", "--grid", "--csv", str(episodes))
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert len(found["nights"]) == 8
    assert [one["name"] for one in found["jobs"]] == ["small"]
    assert found["all"]["episodes"] == found["jobs"][0]["episodes"] == len(episodes.read_text("utf-8").splitlines()) - 1
    assert found["chosen"] in [one["rules"] for one in found["tried"]]
    assert "8 nights from" in cli(*flags, str(short), "--min-saving-share", "0.2").out
    refused = cli(*flags, str(single))
    assert (refused.code, "1 dated price books" in refused.err) == (3, True)
    assert cli(*flags, str(short), "--cool-down", "-1").code == 2
