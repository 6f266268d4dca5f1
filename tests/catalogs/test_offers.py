"""The shipped prices: they load, resolve and are plausible, and a broken price file is refused with its line."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from catalogs.catalog import SHIPPED, Catalog
from catalogs.errors import DataFileError
from catalogs.offer import Offer

COLUMNS = "name,provider,accelerator,accelerators_per_server,tenure,price,currency,unit,date,source"
GOOD = "x-h100,X,h100-sxm-80g,8,on_demand,2.5,USD,accelerator_hour,2026-10-10,https://example.com/prices"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def usd_per_accelerator(offer: Offer, catalog: Catalog) -> float:
    amount = offer.price * catalog.currencies[offer.currency.lower()].usd
    return amount if offer.unit == "accelerator_hour" else amount / offer.accelerators_per_server


def rents(catalog: Catalog) -> list[Offer]:
    return [offer for offer in catalog.offers.values() if offer.tenure != "purchase"]


def purchases(catalog: Catalog) -> list[Offer]:
    return [offer for offer in catalog.offers.values() if offer.tenure == "purchase"]


def first_day(text: str) -> date:
    year, month, day = (*map(int, text.split("-")), 1, 1)[:3]
    return date(year, month, day)


def test_every_shipped_offer_loads_under_its_own_name(catalog: Catalog) -> None:
    lines = (SHIPPED / "offers" / "rent.csv").read_text(encoding="utf-8").splitlines()
    names = Counter(line.split(",")[0] for line in lines[1:])
    assert [name for name, times in names.items() if times > 1] == []
    assert len(rents(catalog)) == len(lines) - 1 <= 900
    assert len(purchases(catalog)) >= 10


def test_names_carry_no_date(catalog: Catalog) -> None:
    assert [offer.name for offer in rents(catalog) if re.search(r"20\d\d", offer.name)] == []


def test_accelerators_and_currencies_resolve(catalog: Catalog) -> None:
    offers = catalog.offers.values()
    assert {offer.accelerator for offer in offers} - set(catalog.accelerators) == set()
    assert {offer.currency.lower() for offer in offers} - set(catalog.currencies) == set()


def test_rents_are_plausible(catalog: Catalog) -> None:
    strange = {o.name: usd_per_accelerator(o, catalog) for o in rents(catalog)}
    assert {name: usd for name, usd in strange.items() if not 0.1 <= usd <= 40} == {}


def test_purchases_are_plausible(catalog: Catalog) -> None:
    strange = {o.name: usd_per_accelerator(o, catalog) for o in purchases(catalog)}
    assert {name: usd for name, usd in strange.items() if not 10e3 <= usd <= 150e3} == {}


def test_spot_is_cheaper_than_on_demand_where_both_are_of_one_day(catalog: Catalog) -> None:
    by_key = {(o.provider, o.region, o.instance, o.date, o.tenure): o.price for o in rents(catalog)}
    dearer = [k for k, p in by_key.items() if k[-1] == "spot" and p >= by_key.get((*k[:-1], "on_demand"), float("inf"))]
    assert dearer == []


def test_no_date_is_in_the_future(catalog: Catalog) -> None:
    records = [*catalog.offers.values(), *catalog.currencies.values()]
    assert [r.name for r in records if first_day(r.date) > date.today()] == []


def test_every_offer_says_where_it_comes_from(catalog: Catalog) -> None:
    assert [o.name for o in catalog.offers.values() if not re.search(r"https?://", o.sources["*"])] == []


@pytest.mark.parametrize("accelerator", ["a800-sxm-80g", "ascend-910b"])
def test_the_pair_of_the_headline_query_can_be_rented_and_bought(catalog: Catalog, accelerator: str) -> None:
    assert [o for o in rents(catalog) if o.accelerator == accelerator]
    assert [o for o in purchases(catalog) if o.accelerator == accelerator]


def test_low_confidence_prices_are_marked_as_estimates(catalog: Catalog) -> None:
    unmarked = [o.name for o in catalog.offers.values() if "low confidence" in o.notes and "price" not in o.estimated]
    assert unmarked == []


def test_rates_are_usd_per_unit(catalog: Catalog) -> None:
    rates = {name: currency.usd for name, currency in catalog.currencies.items()}
    assert rates["usd"] == 1
    assert rates["gbp"] > rates["eur"] > 1 > rates["cny"] > rates["inr"] > rates["jpy"] > 0


def write_offers(tmp_path: Path, *rows: str, header: str = COLUMNS) -> Catalog:
    folder = tmp_path / "offers"
    folder.mkdir()
    (folder / "mine.csv").write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return Catalog([tmp_path])


def test_a_users_price_file_is_layered_over_the_shipped_one(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD, GOOD.replace("x-h100", "aws-p5-48xlarge-us-east-1-on-demand"))
    assert catalog.offers["x-h100"].price == 2.5
    assert catalog.offers["aws-p5-48xlarge-us-east-1-on-demand"].provider == "X"
    assert len(catalog.offers) == len(Catalog().offers) + 1


def test_a_file_of_semicolons_is_told_so(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD.replace(",", ";"), header=COLUMNS.replace(",", ";"))
    with pytest.raises(DataFileError, match=r"mine\.csv:1: columns are separated by semicolons"):
        _ = catalog.offers


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (GOOD.replace("2.5", "0"), "field price: Input should be greater than 0"),
        (GOOD.replace("2.5", "-1"), "field price: Input should be greater than 0"),
        (GOOD.replace("2.5", "nan"), "field price"),
        (GOOD.replace("2.5", "inf"), "field price: Input should be a finite number"),
        (GOOD.replace("2.5", "cheap"), "field price"),
        (GOOD.replace("2.5", "$2.5"), "field price: '$2.5' is not a plain number"),
        (GOOD.replace(",8,", ",0,"), "field accelerators_per_server"),
        (GOOD.replace("on_demand", "weekly"), "field tenure"),
        (GOOD.replace("on_demand", "purchase"), "cannot be priced per accelerator_hour"),
        (GOOD.replace("USD", "dollars"), "field currency"),
        (GOOD.replace("2026-10-10", "2026-Q4"), "field date"),
        (GOOD.replace(",https://example.com/prices", ","), "field sources"),
        (GOOD + ",more", "row does not have 10 cells"),
        (GOOD.rpartition(",")[0], "row does not have 10 cells"),
    ],
)
def test_a_broken_row_is_refused_with_file_and_line(tmp_path: Path, row: str, complaint: str) -> None:
    catalog = write_offers(tmp_path, GOOD, row.replace("x-h100", "y-h100"))
    with pytest.raises(DataFileError, match=rf"mine\.csv:3: .*{re.escape(complaint)}"):
        _ = catalog.offers


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD, '"y-h100' + GOOD.removeprefix("x-h100"))
    with pytest.raises(DataFileError, match=r"mine\.csv:\d+: not valid CSV"):
        _ = catalog.offers


def test_an_unknown_column_is_refused_with_file_and_line(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD + ",5%", header=COLUMNS + ",discount")
    with pytest.raises(DataFileError, match=r"mine\.csv:2: offer 'x-h100': field discount"):
        _ = catalog.offers


def test_an_estimate_of_an_unknown_field_is_refused(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD + ",price colour", header=COLUMNS + ",estimated")
    with pytest.raises(DataFileError, match=r"mine\.csv:2: .*colour"):
        _ = catalog.offers


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    catalog = write_offers(tmp_path, GOOD, GOOD)
    with pytest.raises(DataFileError, match=r"mine\.csv: 'x-h100' is already defined"):
        _ = catalog.offers
