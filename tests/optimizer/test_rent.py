"""Rent: spot, terms, least servers, networks and prices that nobody can mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UnsupportedError
from optimizer.catalog_variant import with_offers
from optimizer.compare import compare
from optimizer.estimation import estimate
from optimizer.job import Job
from optimizer.market import site_of
from optimizer.planning import plan
from optimizer.request import read_job

DAY_S = 86400.0
HEAD = (
    "name,provider,accelerator,accelerators_per_server,tenure,price,currency,unit,training_grade,min_servers,min_hours,"
    "source,date"
)


def catalog_of(folder: Path, *rows: str) -> Catalog:
    (folder / "offers").mkdir()
    (folder / "offers" / "mine.csv").write_text("\n".join([HEAD, *(f"{row},test,2026-01" for row in rows)]) + "\n")
    return Catalog([folder])


def job_of(catalog: Catalog, *offers: str) -> Job:
    return read_job(
        catalog, "llama-2-7b", 50e9, hardware=["a800-sxm-80g"], offers=offers, max_accelerators=64, global_batch=256
    )


FIRM = "firm,x,a800-sxm-80g,8,on_demand,1.0,USD,accelerator_hour,true,,"


def test_spot_servers_lose_more_time_and_say_so(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, FIRM, FIRM.replace("firm", "spot").replace("on_demand", "spot"))
    firm = plan(job_of(catalog, "firm"), catalog, top=0).best
    spot = plan(job_of(catalog, "spot"), catalog, top=0).best
    assert spot.layout == firm.layout
    assert spot.goodput < firm.goodput
    assert spot.cost_usd == pytest.approx((firm.cost_usd or 0) * firm.goodput / spot.goodput)
    # 15% of the servers within 30 days, -ln 0.85 each, on top of the failures.
    assert spot.interruptions is not None
    assert firm.interruptions is not None
    failures = spot.interruptions - firm.interruptions * spot.days / firm.days
    assert failures == pytest.approx(0.162519 * spot.servers * spot.days / 30, rel=1e-5)


def test_compare_ranks_spot_on_its_own_with_its_risk(tmp_path: Path) -> None:
    rows = [FIRM, FIRM.replace("firm", "spot").replace("on_demand", "spot").replace("1.0", "0.5")]
    catalog = catalog_of(tmp_path, *rows)
    found = compare(replace(job_of(catalog), deadline_s=30 * DAY_S), catalog, draws=100)
    by_tenure = {one.tenure: one for one in found.ranking}
    assert by_tenure["spot"].offer.name == "spot"
    assert any("take servers back" in risk for risk in found.risks(by_tenure["spot"]))
    assert not any("take servers back" in risk for risk in found.risks(by_tenure["rent"]))
    assert by_tenure["spot"].goodput < by_tenure["rent"].goodput


def test_least_servers_and_terms_are_charged(tmp_path: Path) -> None:
    rows = [FIRM, "block,x,a800-sxm-80g,8,capacity_block,1.0,USD,accelerator_hour,true,3,2000"]
    catalog = catalog_of(tmp_path, *rows)
    block = plan(job_of(catalog, "block"), catalog, top=0).best
    assert block.cost_usd == pytest.approx(max(block.servers, 3) * 8 * max(block.days * 24, 2000))


def test_servers_without_a_network_are_used_alone_and_the_reason_is_told(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, FIRM, "island,x,a800-sxm-80g,8,on_demand,0.9,USD,accelerator_hour,false,,")
    island = plan(job_of(catalog, "island", "firm"), catalog, top=0)
    assert (island.best.offer, island.best.servers) == ("island", 1)
    assert any("no training-grade network" in one.reason and "island" in one.reason for one in island.rejected)
    hurried = replace(job_of(catalog, "island", "firm"), deadline_s=island.best.days / 2 * DAY_S)
    assert plan(hurried, catalog, top=0).best.offer == "firm"


@pytest.mark.parametrize("price", ["0.03,USD,accelerator_hour", "0.27,USD,server_hour", "0.2,CNY,accelerator_hour"])
def test_a_rent_below_the_electricity_alone_is_refused_with_its_row(tmp_path: Path, price: str) -> None:
    catalog = catalog_of(tmp_path, FIRM, f"gift,x,a800-sxm-80g,8,on_demand,{price},true,,")
    found = plan(job_of(catalog, "firm", "gift"), catalog, top=0)
    assert found.best.offer == "firm"
    (refusal,) = [one for one in found.rejected if "gift" in one.what]
    assert "mine.csv:3" in refusal.reason
    assert "electricity" in refusal.reason
    with pytest.raises(UnsupportedError, match=r"mine\.csv:3.*electricity"):
        plan(job_of(catalog, "gift"), catalog)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (FIRM.replace("1.0", "0"), "greater than 0"),
        (FIRM.replace("1.0", "-2"), "greater than 0"),
        (FIRM.removesuffix(",,") + ",0,", "min_servers"),
        (FIRM.removesuffix(",,") + ",,-1", "min_hours"),
    ],
)
def test_senseless_offers_are_refused_with_file_and_row(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(DataFileError, match=rf"mine\.csv:2.*{told}"):
        _ = catalog_of(tmp_path, row).offers


def test_an_offer_for_hardware_that_nobody_knows_is_no_silent_loss(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, FIRM, FIRM.replace("firm", "cheap").replace("a800-sxm-80g", "a800-sxm"))
    with pytest.raises(DataFileError, match="offer cheap: unknown accelerator 'a800-sxm'; did you mean a800-sxm-80g"):
        plan(job_of(catalog), catalog, top=0)


@pytest.mark.parametrize(
    ("extra", "paid_by"),
    [
        (FIRM.replace("firm", "year").replace("on_demand", "reserved_1y").replace("1.0", "0.5"), "firm"),
        (FIRM.replace("firm", "block").replace("1.0", "0.5") + "100000", "firm"),
        (FIRM.replace("firm", "cheap").replace("1.0", "0.5"), "cheap"),
    ],
)
def test_an_estimate_is_paid_as_its_whole_bill_is_least(extra: str, paid_by: str, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, FIRM, extra)
    job = job_of(catalog, "firm", extra.split(",")[0])
    best = plan(job, catalog, top=0).best
    found = estimate(job, best.layout, catalog).configuration
    assert (found.offer, found.cost_usd) == (best.offer, best.cost_usd)
    assert found.offer == paid_by


@pytest.mark.parametrize("hardware", ["b200", "h200-sxm", "h100-sxm-80g", "a800-sxm-80g"])
def test_an_estimate_stands_on_the_usual_fabric_whatever_the_order_of_offers(hardware: str) -> None:
    shipped = Catalog()
    job = read_job(shipped, "llama-2-7b", 50e9, hardware=[hardware])
    for offers in (shipped.offers, dict(reversed(shipped.offers.items()))):
        site = site_of(shipped.accelerators[hardware], job, with_offers(shipped, offers))
        assert site.fabric.name == shipped.server_of(hardware).fabric


def test_an_estimate_has_no_price_of_an_offer_that_lacks_servers(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, FIRM)
    few = with_offers(catalog, {"firm": catalog.offers["firm"].model_copy(update={"max_servers": 1})})
    job = job_of(catalog, "firm")
    large = next(one for one in plan(job, catalog, within=1.0).alternatives if one.servers > 1)
    found = estimate(job, large.layout, few)
    assert found.configuration.cost_usd is None
    assert any("no offer has so many" in text for text in found.assumptions)
    assert estimate(job, large.layout, catalog).configuration.cost_usd == pytest.approx(large.cost_usd)
