"""Verdicts: what is left decides, moves cost, and the stated price is where the verdict changes."""

from __future__ import annotations

import datetime
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalogs.errors import DataFileError
from optimizer.replan.book import Book, Quote
from optimizer.replan.decide import decide
from optimizer.replan.jobs import PlannedJob, Rules, jobs_of, read_jobs
from optimizer.replan.layouts_cache import LayoutCache
from optimizer.replan.reprice import Market
from optimizer.replan.standing import Standing, standing_of
from optimizer.replan.verdict import Verdict, with_news
from tests.replan.test_reprice import CATALOG, quote

NIGHT = datetime.date(2026, 10, 1)
CACHE = LayoutCache()
PLAN = Standing("acme|r1|box|a100-sxm-80g|8|on_demand", "a100-sxm-80g", 32, 2.0, "2026-09-01")
OLD, NEW = quote("a100-sxm-80g", 2.0), quote("a100-sxm-80g", 1.0, region="r2")
RUNNING: dict[str, Any] = {
    "provider": "Acme", "region": "r1", "instance": "box", "accelerator": "a100-sxm-80g",
    "accelerators": 32, "since": "2026-09-01", "tokens_done": "100B",
}  # fmt: skip


def job(**changes: Any) -> PlannedJob:
    fields = {
        "name": "one", "model": "llama-3.2-1b", "tokens": "500B", "hardware": ["a100-sxm-80g"], "global_batch": 256,
        "max_accelerators": 64, "deadline": "2027-10-01", "offers": ["all"],
    } | changes  # fmt: skip
    return jobs_of([fields], CATALOG, Rules(min_saving_usd=100.0), "jobs.yaml").jobs[0]


def verdict(
    one: PlannedJob, *quotes: Quote, recorded: Standing | None = None, proposed: Standing | None = None
) -> Verdict:
    market = Market(Book.of(quotes), CATALOG, CACHE)
    return decide(one, standing_of(one, recorded, market), market, NIGHT, proposed)


def test_a_job_without_a_plan_gets_its_first() -> None:
    found = verdict(job(), OLD, NEW)
    assert found.kind == "start"
    assert found.target is not None
    assert found.target.key == NEW.key


def test_a_large_saving_switches_and_a_small_one_does_not() -> None:
    running = job(current=RUNNING)
    assert verdict(running, OLD, NEW).kind == "switch"
    assert verdict(running, OLD, replace(NEW, price=1.95)).kind == "keep"


def test_the_verdict_changes_exactly_at_the_stated_price() -> None:
    running = job(current=RUNNING)
    first = verdict(running, OLD, NEW)
    assert first.flips_key == NEW.key
    assert first.flips_at is not None
    below = verdict(running, OLD, replace(NEW, price=first.flips_at * (1 - 1e-6)))
    above = verdict(running, OLD, replace(NEW, price=first.flips_at * (1 + 1e-6)))
    assert (below.kind, above.kind) == ("switch", "keep")
    assert above.flips_at == pytest.approx(first.flips_at)


def test_no_price_is_told_where_none_would_change_the_verdict() -> None:
    found = verdict(job(current=RUNNING, switching={"penalty_usd": 1e9}), OLD, NEW)
    assert found.kind == "keep"
    assert found.flips_key != NEW.key
    assert found.flips_at is None or found.flips_at > 0


def test_the_figures_of_a_verdict_add_up() -> None:
    found = verdict(job(current=RUNNING), OLD, NEW)
    assert found.keep_usd is not None
    assert found.change_usd is not None
    assert found.move_usd is not None
    assert found.saving_usd == pytest.approx(found.keep_usd - found.change_usd)
    assert 90.0 < found.move_usd < found.change_usd  # 1 TB at 0.09 USD/GB, and the hours lost


def test_what_is_spent_and_done_no_longer_counts() -> None:
    early = verdict(job(current=RUNNING), OLD, NEW)
    late = verdict(job(current=RUNNING | {"tokens_done": "499.9B", "spent_usd": 1e6}), OLD, NEW)
    assert (early.kind, late.kind) == ("switch", "keep")


def test_a_cool_down_holds_a_switch_back() -> None:
    found = verdict(job(current=RUNNING | {"since": "2026-09-28"}), OLD, NEW)
    assert found.kind == "keep"
    assert "4 to go" in found.reason


def test_a_committed_term_is_paid_whether_the_job_leaves_or_not() -> None:
    reserved = replace(OLD, tenure="reserved_1y")
    current = RUNNING | {"tenure": "reserved_1y", "usd_per_accelerator_hour": 2.0}
    assert verdict(job(current=current), reserved, replace(NEW, price=0.2)).kind == "keep"


def test_measured_throughput_that_misses_the_deadline_warns() -> None:
    slow = job(current=RUNNING | {"tokens_per_s": 1e4})
    found = verdict(slow, OLD)
    assert found.kind == "warn"
    assert found.target is not None
    assert "after the deadline" in found.reason


def test_a_plan_above_the_budget_is_left_for_one_within_it_or_nothing_is() -> None:
    dear = replace(OLD, price=20.0)
    running = job(current=RUNNING, budget_usd=20_000.0)
    found = verdict(running, dear, NEW)
    assert (found.kind, found.target and found.target.key) == ("warn", NEW.key)
    assert "above the budget" in found.reason
    poor = job(current=RUNNING | {"spent_usd": 19_999.0}, budget_usd=20_000.0)
    assert verdict(poor, dear, NEW).reason == "nothing costs less than the 1 USD that are left"
    gone = replace(PLAN, key=PLAN.key.replace("a100", "h100"), accelerator="h100-sxm-80g")
    lost = verdict(job(budget_usd=1.0), NEW, recorded=gone)
    assert (lost.kind, "no longer fits; nothing costs less than the 1 USD" in lost.reason) == ("infeasible", True)


def test_a_slow_cluster_is_no_reason_to_move_to_itself() -> None:
    slow = RUNNING | {"tokens_per_s": 1e4, "tokens_done": "1B"}
    other = verdict(job(current=slow), OLD).target
    assert other is not None
    found = verdict(job(current=slow | {"accelerators": other.accelerators}), OLD)
    assert (found.kind, found.target) == ("warn", None)
    assert "slows it down" in found.reason


def test_nothing_in_time_is_infeasible() -> None:
    assert verdict(job(deadline="2026-10-02"), OLD).kind == "infeasible"
    assert verdict(job(deadline="2026-10-02", current=RUNNING), OLD).kind == "infeasible"
    assert verdict(job(deadline="2026-01-01"), OLD).kind == "infeasible"
    assert verdict(job(budget_usd=1.0), OLD).kind == "infeasible"


def test_data_that_need_not_leave_is_part_of_the_choice() -> None:
    """Egress costs more than the lower price of another region saves."""
    near = replace(quote("a100-sxm-80g", 1.2), instance="box2")
    running = job(current=RUNNING | {"tokens_done": "400B"}, switching={"checkpoint": "5TB", "egress_usd_per_gb": 0.09})
    found = verdict(running, OLD, NEW, near)
    alone = verdict(running, OLD, NEW)
    assert (found.kind, found.target and found.target.key) == ("switch", near.key)
    assert (alone.change_usd or 0.0) > (found.change_usd or 0.0)
    free = job(current=RUNNING | {"tokens_done": "400B"}, switching={"egress_usd_per_gb": 0.0})
    assert (verdict(free, OLD, NEW, near).target or PLAN).key == NEW.key


def test_a_job_with_a_contract_is_compared_with_what_others_ask_not_with_its_own_offer() -> None:
    """Its own cluster at the book's price is no plan to move to, and must not hide one that is."""
    dear = job(current=RUNNING | {"usd_per_accelerator_hour": 4.0, "accelerators": 8})
    own = replace(OLD, price=0.9)
    assert (verdict(dear, own, NEW).target or PLAN).key == NEW.key
    alone = verdict(dear, own)
    assert (alone.kind, alone.reason) == ("keep", "no other plan ends in time")


def test_an_advice_above_the_budget_is_not_held() -> None:
    first = verdict(job(), OLD, NEW)
    assert first.change_usd is not None
    cheaper = quote("a100-sxm-80g", 0.999, region="r3")
    poor = job(budget_usd=first.change_usd * 0.9995)
    assert verdict(poor, OLD, NEW, proposed=first.target).kind == "infeasible"
    found = verdict(poor, OLD, NEW, cheaper, proposed=first.target)
    assert (found.kind, found.target and found.target.key) == ("start", cheaper.key)


def test_a_plan_above_the_budget_without_an_alternative_is_infeasible() -> None:
    """No move ends in time, for the hours it loses."""
    running = RUNNING | {"tokens_done": "499.9B", "tokens_per_s": 2e4}
    hasty = job(current=running, deadline="2026-10-02", budget_usd=10.0, switching={"lost_hours": 24})
    found = verdict(hasty, OLD)
    assert (found.kind, found.reason) == ("infeasible", "costs 89 USD, above the budget; no other plan ends in time")
    price = found.flips_at or 0.0
    assert verdict(hasty, replace(OLD, price=price * (1 - 1e-6))).kind == "keep"
    assert verdict(hasty, replace(OLD, price=price * (1 + 1e-6))).kind == "infeasible"


@pytest.mark.parametrize(
    ("tenure", "price", "hours"),
    [("on_demand", 1.0, 6.0), ("reserved_1y", 0.3, 0.0), ("purchase", 0.5, None)],
)
def test_a_move_costs_the_lost_hours_where_hours_are_paid(tenure: Any, price: float, hours: float | None) -> None:
    """A reservation is paid to its end however long the job takes; bought servers take only electricity."""
    to = replace(OLD, tenure=tenure, price=price, unit="server" if tenure == "purchase" else OLD.unit)
    found = verdict(job(current=RUNNING | {"instance": "other", "usd_per_accelerator_hour": 90.0}), to)
    assert found.target is not None
    if hours is None:
        assert 0.0 < (found.move_usd or 0.0) < 6.0 * found.target.accelerators * 0.2  # dollars of electricity per hour
    else:
        assert found.move_usd == pytest.approx(found.target.accelerators * hours * price, abs=1e-9)


def test_a_purchase_that_is_accepted_still_costs_what_it_was_advised_at() -> None:
    bought = replace(OLD, tenure="purchase", price=1000.0, unit="server")
    first = verdict(job(), bought)
    kept = verdict(job(), bought, recorded=first.target)
    assert (first.kind, kept.kind) == ("start", "keep")
    assert kept.keep_usd == pytest.approx(first.change_usd)  # with spares and electricity


def test_no_price_moves_a_job_that_has_just_moved() -> None:
    found = verdict(job(current=RUNNING | {"since": "2026-09-28"}), OLD, NEW)
    assert (found.kind, found.flips_at) == ("keep", None)
    thrifty = job(current=RUNNING | {"since": "2026-09-28"}, budget_usd=20_000.0)
    first, before, behind = flipped(thrifty, OLD, NEW)
    assert (first.flips_key, before.kind, behind.kind) == (OLD.key, "keep", "warn")


def test_a_plan_without_an_alternative_is_told_at_the_price_of_the_night() -> None:
    found = verdict(job(deadline="2026-10-02"), replace(OLD, price=3.0), recorded=PLAN)
    assert found.kind == "infeasible"
    assert found.standing == replace(PLAN, usd=3.0)


def test_another_size_at_the_same_offer_is_a_resize() -> None:
    cramped = job(current=RUNNING | {"accelerators": 24, "tokens_per_s": 3.2e5}, deadline=None)
    assert verdict(cramped, OLD).kind == "resize"


def test_an_offer_that_vanished_keeps_its_last_price() -> None:
    recorded = Standing(OLD.key, "a100-sxm-80g", 32, 2.0, "2026-09-01")
    found = verdict(job(), NEW, recorded=recorded)
    assert found.kind == "switch"
    assert found.standing is not None
    assert found.standing.usd == 2.0


def test_advice_that_is_accepted_stands() -> None:
    first = verdict(job(), OLD, NEW)
    assert first.standing is None
    kept = verdict(job(), OLD, NEW, recorded=first.target)
    assert (kept.kind, kept.target) == ("keep", None)


@pytest.mark.parametrize("fields", [{}, {"current": RUNNING}])
def test_open_advice_is_repeated_until_another_plan_saves_enough_over_it(fields: dict[str, Any]) -> None:
    third = quote("a100-sxm-80g", 0.999, region="r3")
    first = verdict(job(**fields), OLD, NEW)
    assert verdict(job(**fields), OLD, NEW, third).target == replace(first.target or PLAN, key=third.key, usd=0.999)
    assert verdict(job(**fields), OLD, NEW, third, proposed=first.target).target == first.target
    much = replace(third, price=0.5)
    assert verdict(job(**fields), OLD, NEW, much, proposed=first.target).target != first.target
    assert verdict(job(**fields), OLD, much, proposed=first.target).target != first.target  # no longer offered


def flipped(one: PlannedJob, *quotes: Quote, recorded: Standing | None = None) -> tuple[Verdict, Verdict, Verdict]:
    """The verdict, and those just before and just behind the price that it states."""
    first = verdict(one, *quotes, recorded=recorded)
    assert first.flips_at is not None
    sides = [
        verdict(
            one,
            *(replace(q, price=first.flips_at * (1 + side)) if q.key == first.flips_key else q for q in quotes),
            recorded=recorded,
        )
        for side in (-1e-6, 1e-6)
    ]
    before, behind = sides if first.flips_above else sides[::-1]
    return first, before, behind


@pytest.mark.slow
def test_any_stated_price_is_one_at_which_the_verdict_changes() -> None:
    """Drawn markets, plans, budgets, rules and dates; what was advised stays open, as it does from night to night."""
    stated = 0
    for seed in range(30):
        draw = random.Random(seed)
        quotes = [
            quote("a100-sxm-80g", base * draw.lognormvariate(0.0, 0.4), tenure, region)
            for tenure, base in (("on_demand", 1.6), ("spot", 0.8), ("reserved_1y", 0.9), ("purchase", 20_000.0))
            for region in ("r1", "r2")
            if draw.random() < 0.6
        ]
        if not quotes:
            continue
        had, size = draw.choice(quotes), draw.choice([8, 16, 32, 64])
        plan = Standing(had.key, had.accelerator, size, had.price * draw.choice([0.7, 1.0]), "2026-09-20")
        current = RUNNING | {"region": had.region, "tenure": had.tenure, "accelerators": size}
        current["since"] = draw.choice(["2026-09-29", "2026-06-01"])
        one = job(
            tokens="150B",
            deadline=draw.choice(["2026-10-11", "2026-11-30", "2027-10-01"]),
            budget_usd=draw.choice([None, 3_000.0, 100_000.0]),
            switching={"checkpoint": draw.choice(["1TB", "10TB"]), "penalty_usd": draw.choice([0.0, 500.0])},
            **draw.choice([{"current": current}, {}]),
        )
        recorded = plan if one.entry.current or draw.random() < 0.6 else None
        first = verdict(one, *quotes, recorded=recorded)
        if first.flips_at is None:
            continue
        stated += 1
        sides = []
        for side in (1 - 1e-6, 1 + 1e-6):
            moved = [replace(q, price=first.flips_at * side) if q.key == first.flips_key else q for q in quotes]
            found = verdict(one, *moved, recorded=recorded, proposed=first.target)
            sides.append((found.kind, found.target and (found.target.key, found.target.accelerators)))
        assert sides[0] != sides[1], (seed, first)
    assert stated > 10


def test_a_switch_states_the_price_at_which_another_plan_takes_its_place() -> None:
    """Long before the dear plan that stands would be worth keeping."""
    dear, third = replace(OLD, price=9.0), quote("a100-sxm-80g", 1.2, region="r3")
    first = verdict(job(current=RUNNING), dear, NEW, third)
    assert (first.kind, first.flips_key, first.flips_above) == ("switch", NEW.key, True)
    assert first.flips_at is not None
    assert first.flips_at < 1.5
    for side, advised in ((1 - 1e-6, NEW), (1 + 1e-6, third)):
        new = replace(NEW, price=first.flips_at * side)
        found = verdict(job(current=RUNNING), dear, new, third, proposed=first.target)
        assert (found.target or PLAN).key == advised.key


def test_every_verdict_states_the_price_at_which_it_changes() -> None:
    cramped = job(current=RUNNING | {"accelerators": 24, "tokens_per_s": 3.2e5}, deadline=None)
    cases = {
        "start": (job(), (OLD, NEW), None, ("start", "start")),
        "cheapest": (job(current=RUNNING | {"region": "r2"}), (OLD, NEW), None, ("keep", "switch")),
        "resize": (cramped, (OLD,), None, ("resize", "keep")),
        "planned": (job(), (OLD, replace(NEW, price=1.96)), PLAN, ("keep", "switch")),
        "budget": (job(budget_usd=400.0), (OLD,), None, ("infeasible", "start")),
        "enough budget": (job(budget_usd=20_000.0), (OLD,), None, ("start", "infeasible")),
        "little budget": (job(current=RUNNING, budget_usd=20_000.0), (OLD,), None, ("keep", "warn")),
    }
    for name, (one, quotes, recorded, kinds) in cases.items():
        first, before, behind = flipped(one, *quotes, recorded=recorded)
        assert (name, before.kind, behind.kind) == (name, *kinds)
        if name == "start":
            # What is advised stays advised up to that price, and another plan is advised behind it.
            quotes = tuple(replace(q, price=(first.flips_at or 0.0) * (1 - 1e-6)) if q == NEW else q for q in quotes)
            assert verdict(one, *quotes, proposed=first.target).target.key == NEW.key  # type: ignore[union-attr]
            quotes = tuple(replace(q, price=q.price * (1 + 2e-6)) if q.key == NEW.key else q for q in quotes)
            assert verdict(one, *quotes, proposed=first.target).target.key == OLD.key  # type: ignore[union-attr]


def test_no_more_servers_are_planned_than_can_be_had() -> None:
    few = replace(NEW, max_servers=2)
    alone = verdict(job(), few)
    assert alone.target is not None
    assert alone.target.accelerators <= 16
    # In a hurry, the dearer offer with enough servers is the plan, and one that is planned but gone is given up.
    hurried = job(deadline="2026-10-12")
    assert verdict(hurried, few).kind == "infeasible"
    found = verdict(hurried, few, replace(OLD, price=9.0))
    assert found.target is not None
    assert found.target.key == OLD.key
    gone = verdict(job(), replace(OLD, max_servers=1), NEW, recorded=PLAN)
    assert (gone.kind, gone.target and gone.target.key) == ("warn", NEW.key)


def test_an_offer_that_nobody_prices_is_refused() -> None:
    with pytest.raises(DataFileError, match=r"one.*no book has a price.*usd_per_accelerator_hour"):
        verdict(job(current=RUNNING), NEW)


def test_a_commitment_keeps_the_price_it_was_made_at() -> None:
    reserved = replace(OLD, tenure="reserved_1y")
    current = job(current=RUNNING | {"tenure": "reserved_1y"})
    signed = Standing(reserved.key, "a100-sxm-80g", 32, 1.5, "2026-09-01", running=True)
    found = verdict(current, replace(reserved, price=4.0), recorded=signed)
    assert found.standing is not None
    assert found.standing.usd == 1.5


def test_a_price_that_rises_far_above_the_last_told_is_told_once() -> None:
    rules = Rules(news_share=0.25)
    running = job(current=RUNNING)
    nights = []
    before = None
    for price in (2.0, 2.4, 1.0, 2.6, 2.6, 5.2):
        before = with_news(verdict(running, replace(OLD, price=price)), before, rules)
        nights.append(before)
    assert [one.told_usd for one in nights] == [2.0, 2.0, 2.0, 2.6, 2.6, 5.2]
    assert ["went from" in one.reason for one in nights] == [False, False, False, True, False, True]
    last = nights[-1]
    assert last.keep_usd is not None
    assert last.reason.startswith(
        "acme r1 box on demand went from 2.6 to 5.2 USD per accelerator-hour, "
        f"so what is left costs {last.keep_usd:,.0f} USD, {last.keep_usd / 2:,.0f} more; "
    )


def test_verdicts_survive_storage() -> None:
    found = verdict(job(current=RUNNING), OLD, NEW)
    assert Verdict.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "list of jobs"),
        ("- name: a\n", "job 'a': field model"),
        ("- {name: a, model: llama-3-8b, tokens: many}\n", "job 'a': tokens"),
        ("- {name: a, model: nobody, tokens: 1T}\n", "job 'a'.*nobody"),
        ("- {name: a, model: llama-3-8b, tokens: 1T, deadlin: 2026-01-01}\n", "did you mean deadline"),
        ("- {name: a, model: llama-3-8b, tokens: 1T, hardware: [h10]}\n", "h10"),
        ("- {name: a, model: llama-3-8b, tokens: 1T}\n- {name: a, model: llama-3-8b, tokens: 1T}\n", "twice"),
        ("- {name: a, model: llama-3-8b, tokens: 1T, offers: [some-offer]}\n", "ways of paying"),
        (
            "- {name: a, model: llama-3-8b, tokens: 1T, "
            "current: {provider: A, accelerator: h10, accelerators: 8, since: 2026-01-01}}\n",
            "job 'a'.*h10",
        ),
        (
            "- {name: a, model: llama-3-8b, tokens: 1T, "
            "current: {provider: A|B, accelerator: h100-sxm-80g, accelerators: 8, since: 2026-01-01}}\n",
            "field current.provider",
        ),
    ],
)
def test_a_broken_jobs_file_names_job_and_field(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DataFileError, match=rf"jobs\.yaml.*{reason}"):
        read_jobs(path, CATALOG)
