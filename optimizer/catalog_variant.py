"""A catalog with some records replaced: what-if prices, rates and assumptions without touching any file."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import UnknownNameError
from catalogs.naming import unknown_name
from catalogs.offer import Currency, Offer


def with_offers(catalog: Catalog, offers: Mapping[str, Offer]) -> Catalog:
    """The catalog with exactly these offers."""
    return _with(catalog, "offers", dict(offers))


def with_currencies(catalog: Catalog, rates: Mapping[str, Currency]) -> Catalog:
    """The catalog with exactly these exchange rates."""
    return _with(catalog, "currencies", dict(rates))


def with_assumptions(catalog: Catalog, values: Mapping[str, float]) -> Catalog:
    """The catalog with other values for some assumptions.

    Raises:
        UnknownNameError: there is no such assumption.
    """
    known = dict(catalog.assumptions)
    for name, value in values.items():
        if name not in known:
            raise UnknownNameError(unknown_name("assumption", name, known))
        known[name] = _assumed(known[name], value)
    return _with(catalog, "assumptions", known)


def _assumed(record: Assumption, value: float) -> Assumption:
    return record.model_copy(update={"value": float(value)})


def _with(catalog: Catalog, kind: str, records: object) -> Catalog:
    other = copy.copy(catalog)
    # What has been read stays shared; a cached property is an entry of the instance's dictionary.
    other.__dict__[kind] = records
    return other
