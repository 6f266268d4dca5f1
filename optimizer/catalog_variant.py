"""A catalog with some records replaced: what-if prices, rates and assumptions without touching any file."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import UnknownNameError
from catalogs.fabric import Fabric
from catalogs.framework import Framework
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
        known[name] = restated(known[name], value)
    return _with(catalog, "assumptions", known)


def with_assumption(catalog: Catalog, record: Assumption) -> Catalog:
    """The catalog with an assumption of that name, whether it had one or not."""
    return _with(catalog, "assumptions", dict(catalog.assumptions) | {record.name: record})


def restated(record: Assumption, value: float) -> Assumption:
    """An assumption with another value; its interval moves along in proportion."""
    changed = {"value": float(value)}
    if record.interval is not None:
        low, high = record.interval
        changed |= {"low": low * value / record.value, "high": high * value / record.value}
    return record.model_copy(update=changed)


def with_fabric(catalog: Catalog, fabric: Fabric) -> Catalog:
    """The catalog with one network between all servers: a port of it per accelerator, whatever the offers state.

    Offers that are known to have no network between servers keep having none.
    """
    servers = {name: one.model_copy(update={"fabric": fabric.name}) for name, one in catalog.servers.items()}
    return with_network(_with(catalog, "servers", servers), fabric.port_bytes_per_s)


def with_network(catalog: Catalog, bytes_per_s: float) -> Catalog:
    """The catalog with one bandwidth per accelerator between all servers, whatever servers and offers state.

    Offers that are known to have no network between servers keep having none.
    """
    port = {"scale_out_bytes_per_s_per_accelerator": bytes_per_s}
    servers = {name: one.model_copy(update=port) for name, one in catalog.servers.items()}
    offers = {
        name: one if one.training_grade is False else one.model_copy(update=port)
        for name, one in catalog.offers.items()
    }
    return _with(_with(catalog, "servers", servers), "offers", offers)


def with_framework(catalog: Catalog, framework: Framework) -> Catalog:
    """The catalog with this framework in place of the one of its name; its profiles stay."""
    return _with(catalog, "frameworks", dict(catalog.frameworks) | {framework.name: framework})


def _with(catalog: Catalog, kind: str, records: object) -> Catalog:
    other = copy.copy(catalog)
    # What has been read stays shared; a cached property is an entry of the instance's dictionary.
    other.__dict__[kind] = records
    return other
