"""A new price book is a re-ranking: the same answer as a search, and physics only when something physical changed."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

from catalogs import Catalog
from optimizer.job import Job
from optimizer.planning import plan
from optimizer.replan.book import Book, Quote
from optimizer.replan.layouts_cache import FORMULAS, LayoutCache, evaluate, physical_digest
from optimizer.replan.reprice import Market
from optimizer.request import read_job

CATALOG = Catalog()
DAY_S = 86400.0


def quote(
    accelerator: str, price: float, tenure: str = "on_demand", region: str = "r1", provider: str = "Acme"
) -> Quote:
    unit = "server" if tenure == "purchase" else "accelerator_hour"
    return Quote("Acme", region, "box", accelerator, 8, tenure, price, "USD", unit, "2026-10-01", "test")  # type: ignore[arg-type]


BOOK = Book.of(
    [
        quote("a100-sxm-80g", 1.9),
        quote("a100-sxm-80g", 1.2, "spot"),
        quote("a100-sxm-80g", 0.9, "reserved_1y"),
        quote("a100-sxm-80g", 120_000.0, "purchase"),
        quote("h100-sxm-80g", 3.9),
        quote("h100-sxm-80g", 3.1, region="r2"),
    ]
)


def small_job(**changes: object) -> Job:
    job = read_job(
        CATALOG, "llama-3.2-1b", 5e10, hardware=["a100-sxm-80g", "h100-sxm-80g"], max_accelerators=64, global_batch=64
    )
    return replace(job, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("days", [400, 30, 3])
@pytest.mark.parametrize("tenures", [("on_demand",), ("spot", "on_demand"), ("reserved_1y",), ("purchase",)])
def test_a_repriced_plan_is_the_plan_that_a_search_finds(days: float, tenures: tuple[str, ...]) -> None:
    market = Market(BOOK, CATALOG, LayoutCache())
    job = small_job(deadline_s=days * DAY_S, tenures=tenures)
    best = market.best(job, 1.0, days * DAY_S)
    searched = plan(job, market.catalog).best
    assert best is not None
    assert best.cost_usd == pytest.approx(searched.cost_usd, rel=1e-12)
    assert best.accelerators == searched.accelerators
    assert best.wall_s == pytest.approx(searched.days * DAY_S, rel=1e-12)


def test_new_prices_evaluate_nothing(tmp_path: Path) -> None:
    cache = LayoutCache(tmp_path)
    job = small_job()
    Market(BOOK, CATALOG, cache).best(job, 1.0, 90 * DAY_S)
    assert cache.evaluated == 2
    dearer = Book.of([replace(q, price=2 * q.price) for q in BOOK.quotes])
    warm = LayoutCache(tmp_path)
    doubled = Market(dearer, CATALOG, warm).best(job, 1.0, 90 * DAY_S)
    assert warm.evaluated == 0
    assert doubled == Market(dearer, CATALOG, LayoutCache()).best(job, 1.0, 90 * DAY_S)


def test_jobs_that_differ_in_tokens_share_steps_and_each_gets_its_own_plan() -> None:
    market = Market(BOOK, CATALOG, LayoutCache())
    for steps in (1.0, 2.0, 7.3, 1000.5):  # few steps, so that the batch that a layout rounds to decides
        job = small_job(batch_tolerance=0.05, global_batch=60, tenures=("on_demand",), tokens=steps * 60 * 4096)
        best, searched = market.best(job, 1.0, float("inf")), plan(job, market.catalog).best
        assert best is not None
        assert (best.cost_usd, best.accelerators) == (
            pytest.approx(searched.cost_usd, rel=1e-12),
            searched.accelerators,
        )
    assert market.cache.evaluated == 2


def test_a_damaged_entry_is_evaluated_again(tmp_path: Path) -> None:
    Market(BOOK, CATALOG, LayoutCache(tmp_path)).best(small_job(), 1.0, 90 * DAY_S)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    cache = LayoutCache(tmp_path)
    assert Market(BOOK, CATALOG, cache).best(small_job(), 1.0, 90 * DAY_S) is not None
    assert cache.evaluated == 2


def test_the_digest_follows_what_is_physical_and_only_that() -> None:
    market = Market(BOOK, CATALOG, LayoutCache())
    job = small_job()
    site = market.sites_of(job)[0][0]
    digest = physical_digest(job, site, CATALOG)
    same = [
        replace(job, deadline_s=5.0, budget_usd=3.0, tenures=("spot",)),
        replace(job, hardware=("a100-sxm-80g",), assumptions=("said",)),
        replace(job, tokens=6e10),
    ]
    other = [
        replace(job, seq=2048),
        replace(job, global_batch=128),
        replace(job, max_accelerators=32),
        replace(job, goodput=0.5),
        replace(job, recompute=("none",)),
        replace(job, model=CATALOG.models["llama-3-8b"]),
    ]
    assert {physical_digest(one, site, CATALOG) for one in same} == {digest}
    assert len({physical_digest(one, site, CATALOG) for one in other} | {digest}) == len(other) + 1
    faster = site.accelerator.model_copy(update={"memory_bytes": site.accelerator.memory_bytes * 2})
    sites = [replace(site, accelerator=faster), replace(site, scale_out_bytes_per_s=1e9), replace(site, prices=())]
    digests = [physical_digest(job, one, CATALOG) for one in sites]
    assert digests[0] != digest
    assert digests[1] != digest
    assert digests[2] == digest
    changed = copy.copy(CATALOG)
    one = CATALOG.assumptions["restart-s"]
    changed.__dict__["assumptions"] = CATALOG.assumptions | {"restart-s": one.model_copy(update={"value": 60.0})}
    assert physical_digest(job, site, changed) != digest
    shaky = copy.copy(CATALOG)
    shaky.__dict__["interruptions"] = {
        name: one.model_copy(update={"hours_per_interruption": one.hours_per_interruption / 2})
        for name, one in CATALOG.interruptions.items()
    }
    assert physical_digest(job, site, shaky) != digest


def test_layouts_are_forgotten_when_anything_that_the_search_of_a_site_imports_changes() -> None:
    imported = grimp.build_graph("optimizer").find_upstream_modules("optimizer.site_search")
    expected = {"optimizer.site_search", "optimizer.replan.layouts_cache"} | (imported - {"optimizer"})
    assert {f"optimizer.{name}" for name in FORMULAS} == expected


def test_layouts_hold_one_row_per_cluster_size() -> None:
    market = Market(BOOK, CATALOG, LayoutCache())
    job = small_job(batch_tolerance=0.05)
    layouts = evaluate(job, market.sites_of(job)[0][0], CATALOG).layouts(job.tokens, job.seq)
    assert sorted(set(layouts.accelerators)) == list(layouts.accelerators)
    for place, size in enumerate(layouts.accelerators):
        degrees = layouts.layout(place)
        assert degrees["tp"] * degrees["pp"] * degrees["cp"] * degrees["dp"] == size


def test_what_is_left_takes_and_costs_its_share() -> None:
    market = Market(BOOK, CATALOG, LayoutCache())
    job = small_job(tenures=("on_demand",))
    whole, half = market.best(job, 1.0, float("inf")), market.best(job, 0.5, float("inf"))
    assert whole is not None
    assert half is not None
    assert half.cost_usd == pytest.approx(whole.cost_usd / 2)
    assert market.best(job, 1.0, 60.0) is None
