"""The bill of a cluster: sums, monotone in prices and time, network and goodput of the size that is bought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalogs import Catalog
from catalogs.errors import UsageError
from costmodels.fabric import fat_tree
from optimizer.catalog_variant import with_assumptions, with_offers
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender, contender, modelled_goodput
from optimizer.comparison.contenders import contenders
from optimizer.comparison.fronts import Front, fronts
from optimizer.comparison.ownership import Terms, ownership, values_of
from optimizer.job import Job
from optimizer.physics import resilience
from optimizer.planning import plan
from optimizer.request import read_job
from optimizer.search import search

DAY_S = 86400.0


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def job(catalog: Catalog) -> Job:
    return read_job(catalog, "llama-2-7b", 200e9, deadline_s=30 * DAY_S, hardware=["a800-sxm-80g", "ascend-910b"])


@pytest.fixture(scope="module")
def found(job: Job, catalog: Catalog) -> list[Front]:
    return fronts(job, catalog)[0]


def best(found: list[Front], tenure: str, job: Job, catalog: Catalog, terms: Terms | None = None) -> Contender:
    ranked, _ = contenders(found, Conditions(job, catalog, terms or Terms()))
    return next(one for one in ranked if one.hardware == "a800-sxm-80g" and one.tenure == tenure)


def test_ranking_is_by_cost_and_sums_to_the_cent(found: list[Front], job: Job, catalog: Catalog) -> None:
    ranked, _ = contenders(found, Conditions(job, catalog))
    costs = [one.cost_usd for one in ranked]
    assert costs == sorted(costs)
    assert {(one.hardware, one.tenure) for one in ranked} == {
        (hardware, tenure) for hardware in job.hardware for tenure in ("rent", "buy")
    }
    for one in ranked:
        shown = one.to_json()["best"]
        assert sum(shown["cost"].values()) == pytest.approx(one.cost_usd, abs=0.005)
        assert shown["cost_usd"] == one.cost_usd
        assert shown["days"] <= 30
        again = one.bill(one.values, np.asarray(one.days))
        assert {name: float(usd) for name, usd in again.items()} == pytest.approx(one.cost)


RENTED_STORAGE = ("storage-rent-usd-per-tb-month", "storage-rent-usd-per-gb-s-month")


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_rent_is_that_of_the_exact_search(found: list[Front], job: Job, catalog: Catalog, share: float) -> None:
    """The front gives what a search for this price and goodput gives."""
    stated = replace(job, goodput=share)
    ours = best(found, "rent", stated, with_assumptions(catalog, dict.fromkeys(RENTED_STORAGE, 0.0)))
    theirs = plan(replace(stated, hardware=("a800-sxm-80g",), tenures=("on_demand",)), catalog, top=0).best
    assert (ours.cost["rent"], ours.days) == pytest.approx((theirs.cost_usd, theirs.days))
    assert ours.best.layout == theirs.layout


def test_a_rental_pays_for_storage_while_it_lasts_and_for_moving_the_model_out(
    found: list[Front], job: Job, catalog: Catalog
) -> None:
    one = best(found, "rent", job, catalog)
    months = one.days * 24 / 730
    saved = 14 * 6_738_415_616  # bytes of a checkpoint, of which 20 are kept beside the data
    kept = (20 * saved + 2 * job.tokens) / 1e12  # 32,000 words: two bytes each
    bandwidth = max(one.best.accelerators * 98e6, saved / 60) / 1e9  # 98 MB/s per card, and no longer than a minute
    capacity = max(kept, bandwidth / 0.9095)
    monthly = capacity * 135 + max(bandwidth - 0.1137 * capacity, 0) * 532
    assert one.cost["storage"] == pytest.approx(monthly * months)
    assert one.storage == pytest.approx((capacity * 1e12, bandwidth * 1e9))
    assert one.cost["egress"] == pytest.approx(saved / 1e9 * 0.09)


@pytest.mark.parametrize("charge", ["pro-rata", "full"])
@pytest.mark.parametrize("price", [1.0, 20.0])
def test_no_plan_is_cheaper_under_the_whole_bill(
    found: list[Front], job: Job, catalog: Catalog, charge: str, price: float
) -> None:
    """Every layout of a search without the front's rule, billed one by one, costs at least as much."""
    terms = Terms(charge)  # type: ignore[arg-type]
    dear = with_assumptions(catalog, {"switch-usd": 50_000 * price})
    ours = best(found, "buy", job, dear, terms)
    site = ours.front.site
    free = replace(job, hardware=("a800-sxm-80g",), goodput=0.99, deadline_s=60 * DAY_S, max_accelerators=64)
    leaders, _ = search(free, [replace(site, prices=site.prices[:1])], catalog, keep=None, within=3.0)
    assert len(leaders) > 20
    for one in leaders:
        n = np.asarray(float(one.accelerators))
        survival = resilience(job, site, dear)
        goodput, _ = modelled_goodput(job, survival, n, np.asarray(30.0))
        for more in range(4):
            owned = ownership(ours.offer, np.ceil(n / 8), job, survival, dear, terms, np.asarray(float(more)))
            days = one.wall_s / DAY_S * 0.99 / goodput / (1 - owned.site.waiting_share)
            if days > 30:
                continue
            bill = owned.bill(values_of(ours.offer, dear), days * 24)
            assert float(sum(bill.values())) >= ours.cost_usd * (1 - 1e-9)


def test_spares_are_weighed_against_the_wait_for_a_repair(found: list[Front], job: Job, catalog: Catalog) -> None:
    """Where servers are cheap beside what stands still with them, more are bought than the availability needs."""
    sparing = with_assumptions(catalog, {"spare-availability": 0.5, "repair-s": 30 * DAY_S})
    usual, waits = best(found, "buy", job, catalog), best(found, "buy", job, sparing)
    for one in (usual, waits):
        site = one.owned.site  # type: ignore[union-attr]
        assert one.goodput == pytest.approx(
            float(one.survival.goodput(np.asarray(float(one.best.accelerators))) * (1 - site.waiting_share))
        )
        assert 0 < one.to_json()["waiting_share"] < 0.2
    fewest = ownership(waits.offer, np.asarray(float(waits.best.servers)), job, waits.survival, sparing, Terms())
    assert waits.best.spares > fewest.site.spares
    bought = plan(replace(job, hardware=("a800-sxm-80g",), tenures=("purchase",)), catalog, top=0)
    wait = ownership(usual.offer, np.asarray(float(bought.best.servers)), job, usual.survival, catalog, Terms()).site
    assert any(f"for {float(wait.waiting_share):.1%} of the time all are in repair" in s for s in bought.assumptions)
    for recovery in ("manual", "replica"):
        assert best(found, "buy", replace(job, recovery=recovery), catalog).to_json()["waiting_share"] == 0
    assert best(found, "buy", replace(job, goodput=0.9), catalog).goodput == 0.9


@pytest.mark.parametrize("usd", [532.0, 50_000.0])
def test_no_rented_plan_is_cheaper_with_its_storage(found: list[Front], job: Job, catalog: Catalog, usd: float) -> None:
    """Every layout of a search without the front's rule, also where bandwidth is so dear that it drives the size."""
    now = Conditions(job, with_assumptions(catalog, {RENTED_STORAGE[1]: usd}))
    ours = best(found, "rent", job, now.catalog)
    site = ours.front.site
    free = replace(job, hardware=("a800-sxm-80g",), goodput=1.0, deadline_s=60 * DAY_S, max_accelerators=256)
    leaders, _ = search(free, [replace(site, prices=site.prices[:1])], catalog, keep=None, within=3.0)
    assert len(leaders) > 20
    sizes, days = np.array([float(x.accelerators) for x in leaders]), np.array([x.wall_s / DAY_S for x in leaders])
    every = contender(Front(site, tuple(leaders), sizes, days, ()), ours.offer, "rent", now)
    assert every is not None
    assert every.cost_usd >= ours.cost_usd * (1 - 1e-9)
    assert ours.cost["storage"] > 0.5 * ours.cost["rent"] if usd > 10_000 else True


@pytest.mark.parametrize("name", RENTED_STORAGE)
def test_cheaper_rented_storage_never_costs_more(found: list[Front], job: Job, catalog: Catalog, name: str) -> None:
    costs = [
        best(found, "rent", job, with_assumptions(catalog, {name: catalog.assumption(name) * scale})).cost_usd
        for scale in (0.0, 0.5, 1.0, 3.0)
    ]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_the_storage_takes_the_checkpoints_in_time(found: list[Front], job: Job, catalog: Catalog) -> None:
    """98 MB/s per card; a petabyte of flash takes 137 GB/s, so that of more than 1,398 cards is larger."""
    one = best(found, "buy", job, catalog)
    for servers, terabytes in ((100.0, 1000.0), (175.0, 1001.5), (1000.0, 5722.6)):
        owned = ownership(one.offer, np.asarray(servers), job, one.survival, catalog, Terms("full"))
        assert float(owned.site.storage_bytes) == pytest.approx(terabytes * 1e12, rel=1e-4)
        assert owned.capital_usd(one.values)["storage"] == pytest.approx(terabytes * 365, rel=1e-4)


def test_the_network_is_that_of_the_cluster(found: list[Front], job: Job, catalog: Catalog) -> None:
    one = best(found, "buy", job, catalog)
    assert one.owned is not None
    tree = fat_tree(np.asarray(one.best.servers * 8.0), np.asarray(64.0), np.ones(()), rails=np.asarray(8.0))
    assert one.owned.site.network.switches == tree.switches
    assert one.owned.capital_usd(one.values)["network"] == tree.switches * 50_000 + tree.cables * 1250


@pytest.mark.parametrize("tenure", ["rent", "buy"])
def test_a_longer_horizon_never_costs_more(found: list[Front], job: Job, catalog: Catalog, tenure: str) -> None:
    costs = [
        best(found, tenure, replace(job, deadline_s=days * DAY_S), catalog).cost_usd
        for days in (5, 10, 15, 20, 30, 45, 60, 80, 120)
    ]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize(
    "name", ["electricity-usd-per-kwh", "discount-rate", "switch-usd", "storage-usd-per-tb", "pue"]
)
def test_a_lower_rate_never_costs_more(found: list[Front], job: Job, catalog: Catalog, name: str) -> None:
    cheaper = with_assumptions(catalog, {name: catalog.assumption(name) * 0.7})
    assert best(found, "buy", job, cheaper).cost_usd < best(found, "buy", job, catalog).cost_usd


@pytest.mark.parametrize("tenure", ["rent", "buy"])
def test_a_cheaper_offer_never_costs_more(found: list[Front], job: Job, catalog: Catalog, tenure: str) -> None:
    one = best(found, tenure, job, catalog)
    cheaper = one.offer.model_copy(update={"price": one.offer.price * 0.8})
    assert best(found, tenure, job, with_offers(catalog, {cheaper.name: cheaper})).cost_usd < one.cost_usd


def test_half_the_use_doubles_the_charge_for_what_stands_idle(found: list[Front], job: Job, catalog: Catalog) -> None:
    one = best(found, "buy", job, catalog)
    assert one.owned is not None
    whole = one.owned.bill(one.values, np.asarray(100.0))
    half = replace(one.owned, terms=Terms(utilisation=0.5)).bill(one.values, np.asarray(100.0))
    for name in whole:
        assert half[name] == pytest.approx(whole[name] * (1 if name == "electricity" else 2))


def test_nonsense_terms_are_refused() -> None:
    for share in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="utilisation"):
            Terms(utilisation=share)
    with pytest.raises(UsageError, match="charge"):
        Terms("half")  # type: ignore[arg-type]


def test_a_better_interconnect_never_costs_more(job: Job, catalog: Catalog) -> None:
    offer = catalog.offers["chenjian-cloud-a800-sxm-80g-on-demand"]
    tight = replace(job, hardware=("a800-sxm-80g",), deadline_s=2 * DAY_S)
    costs = []
    for rate in (6.25e9, 12.5e9, 25e9, 50e9):
        wired = offer.model_copy(update={"scale_out_bytes_per_s_per_accelerator": rate})
        here = with_offers(catalog, {offer.name: wired})
        costs.append(best(fronts(tight, here)[0], "rent", tight, here).cost_usd)
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_a_cap_on_servers_binds_its_offer_only(job: Job, catalog: Catalog) -> None:
    tight = replace(job, hardware=("a800-sxm-80g",), deadline_s=3 * DAY_S)
    name = "chenjian-cloud-a800-sxm-80g-on-demand"
    free = best(fronts(tight, catalog)[0], "rent", tight, catalog)
    assert free.offer.name == name
    assert free.best.servers > 2
    capped = catalog.offers[name].model_copy(update={"max_servers": 2})
    here = with_offers(catalog, dict(catalog.offers) | {name: capped})
    other = best(fronts(tight, here)[0], "rent", tight, here)
    assert other.offer.name != name
    assert other.cost_usd > free.cost_usd
