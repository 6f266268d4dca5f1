"""What a bought cluster costs: capital (servers, spares, network, storage) and running costs.

The network is designed for the cluster's size, the storage for the job's checkpoints and data. Everything is an array
over cluster sizes or over drawn prices, so that the whole bill can be minimised and sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UnknownNameError, UnsupportedError, UsageError
from catalogs.offer import Offer
from costmodels.columns import Column
from costmodels.fabric import Tree, fat_tree
from costmodels.finance import MONTH_H, YEAR_H, hourly_usd, yearly_capital_usd
from costmodels.goodput import Resilience, spares_needed, waiting_share
from costmodels.storage import dataset_bytes, store_bytes
from optimizer.job import Job

Charge = Literal["pro-rata", "full"]
"""Pro rata: the job pays the hours it uses of equipment paid off over years. Full: it pays the whole price."""

NONE = np.zeros(())
"""No spares beyond those that the wanted availability needs."""


@dataclass(frozen=True)
class Terms:
    """How ownership is charged.

    Attributes:
        charge: pro rata or in full.
        utilisation: share of the owned time in which the equipment is used, by this job or others (pro rata only).
    """

    charge: Charge = "pro-rata"
    utilisation: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.utilisation <= 1:
            raise UsageError(f"--utilisation is a share above 0 and at most 1, not {self.utilisation:g}")
        if self.charge not in {"pro-rata", "full"}:
            raise UsageError(f"--charge {self.charge!r} is none of pro-rata, full")


@dataclass(frozen=True)
class Site:
    """What surrounds the servers of a cluster (arrays over cluster sizes).

    Attributes:
        network: the fat tree.
        spares: spare servers.
        waiting_share: of the time, in which all of them are in repair and the job waits for the next.
        storage_bytes: capacity, of what is kept or of the drives that the bandwidth needs.
        storage_bytes_per_s: bandwidth that a checkpoint needs.
        power_w: of servers and network, at rated draw, without the facility's overhead.
        racks: at the assumed power per rack.
    """

    network: Tree
    spares: Column
    waiting_share: Column
    storage_bytes: Column
    storage_bytes_per_s: Column
    power_w: Column
    racks: Column


Values = Mapping[str, Column]
"""Numbers that a bill depends on: every assumption by name, ``price`` (in its currency) and ``fx`` (USD per unit)."""


def values_of(offer: Offer, catalog: Catalog) -> dict[str, Column]:
    """The catalog's values for the bill of an offer, 0-d.

    Raises:
        UnknownNameError: no exchange rate for the offer's currency.
    """
    rate = catalog.currencies.get(offer.currency.lower())
    if rate is None:
        raise UnknownNameError(f"offer {offer.name}: no exchange rate for {offer.currency}; add it to currencies/")
    values = {name: np.asarray(one.value) for name, one in catalog.assumptions.items()}
    return values | {"price": np.asarray(offer.price), "fx": np.asarray(rate.usd)}


@dataclass(frozen=True)
class Ownership:
    """A bought cluster of one size, and what it costs under given values (arrays: many values at once).

    Attributes:
        offer: the purchase offer.
        servers: how many work; spares come on top.
        cards: how many of the offer's unit make a server (1, unless cards are sold one by one).
        site: what was designed around them.
        terms: how it is charged.
    """

    offer: Offer
    servers: Column
    cards: int
    site: Site
    terms: Terms

    def capital_usd(self, values: Values) -> dict[str, Column]:
        """Purchase price of everything, by component."""
        price = values["price"] * values["fx"] * self.cards
        network = self.site.network
        switches, links = network.switches * values["switch-usd"], network.cables * values["link-usd"]
        return {
            "servers": price * self.servers,
            "spares": price * self.site.spares,
            "network": switches + links,
            "storage": self.site.storage_bytes / 1e12 * values["storage-usd-per-tb"],
        }

    def yearly_usd(self, values: Values) -> dict[str, Column]:
        """Capital charge per year, by component."""
        finance = values["residual-share"], values["discount-rate"], values["depreciation-years"]
        return {name: yearly_capital_usd(usd, *finance) for name, usd in self.capital_usd(values).items()}

    def running_usd(self, values: Values) -> dict[str, Column]:
        """Per hour of use, by component; staff and floor cost the same whether the servers work or not."""
        capital = sum(self.capital_usd(values).values(), start=np.zeros(()))
        use = self.terms.utilisation if self.terms.charge == "pro-rata" else 1.0
        kilowatts = self.site.power_w / 1000.0
        return {
            "operations": capital * values["operations-share"] / YEAR_H / use,
            "colocation": kilowatts * values["colocation-usd-per-kw-month"] / MONTH_H / use,
            "electricity": kilowatts * values["pue"] * values["electricity-usd-per-kwh"],
        }

    def bill(self, values: Values, hours: Column) -> dict[str, Column]:
        """USD by component for a job of so many hours."""
        bill = {name: usd * hours for name, usd in self.running_usd(values).items()}
        if self.terms.charge == "full":
            return self.capital_usd(values) | bill
        use = np.asarray(self.terms.utilisation)
        return {name: hourly_usd(usd, use) * hours for name, usd in self.yearly_usd(values).items()} | bill


def server_accelerators(offer: Offer, catalog: Catalog) -> int:
    """Accelerators of one whole server of an offer."""
    size = offer.accelerators_per_server
    return size if size > 1 else catalog.server_of(offer.accelerator).accelerators


def surroundings(
    offer: Offer, servers: Column, job: Job, survival: Resilience, catalog: Catalog, more_spares: Column = NONE
) -> Site:
    """Network, storage, spares and power for clusters of so many servers.

    There are as many spares as the wanted availability needs, and ``more_spares``. Only a job that machines restart
    waits for them: people's waits are in the time that they take, and replicas go on without the one that is missing.
    Clusters that three tiers of switches do not reach have NaN in their network.

    Raises:
        UnsupportedError: the server's network or power is not in the catalog.
    """
    server = catalog.server_of(offer.accelerator)
    if server.fabric is None:
        raise UnsupportedError(f"server {server.name} has no fabric in the catalog; add it")
    fabric = catalog.fabrics[server.fabric]
    assumed = catalog.assumption
    size = float(server_accelerators(offer, catalog))
    accelerators = servers * size
    network = fat_tree(
        accelerators, np.asarray(float(fabric.radix)), np.asarray(fabric.oversubscription), rails=np.asarray(size)
    )
    per_accelerator = server.power_w / server.accelerators if server.power_w else None
    per_accelerator = per_accelerator or catalog.accelerators[offer.accelerator].tdp_w
    if per_accelerator is None:
        raise UnsupportedError(f"no power of {server.name} in the catalog; add power_w")
    failures, repair_s = size * survival.failures_per_accelerator_s, np.asarray(assumed("repair-s"))
    spares = spares_needed(servers, failures, repair_s, np.asarray(assumed("spare-availability"))) + more_spares
    waits = float(job.goodput is None and job.recovery == "automatic")
    network_w = network.switches * assumed("switch-w") + network.transceivers * assumed("transceiver-w")
    power_w = accelerators * per_accelerator + network_w
    bytes_per_s = survival.bytes_per_s(accelerators)
    kept = max(stored_bytes(job, survival, catalog), assumed("storage-least-tb") * 1e12)
    return Site(
        network=network,
        spares=spares,
        waiting_share=waits * waiting_share(servers * failures * repair_s, spares),
        storage_bytes=store_bytes(
            np.asarray(kept), bytes_per_s, np.asarray(assumed("storage-bytes-per-s-per-tb") / 1e12)
        ),
        storage_bytes_per_s=bytes_per_s,
        power_w=power_w,
        racks=np.ceil(power_w / (assumed("rack-kw") * 1000.0)),
    )


def stored_bytes(job: Job, survival: Resilience, catalog: Catalog) -> float:
    """Bytes of the checkpoints that are kept, and of the data."""
    kept = float(survival.checkpoint_bytes) * catalog.assumption("checkpoints-kept")
    return kept + float(dataset_bytes(np.asarray(job.tokens), np.asarray(float(job.model.vocab))))


def ownership(
    offer: Offer,
    servers: Column,
    job: Job,
    survival: Resilience,
    catalog: Catalog,
    terms: Terms,
    more_spares: Column = NONE,
) -> Ownership:
    """Bought clusters of so many servers, with everything around them.

    Raises:
        UnsupportedError: see :func:`surroundings`.
    """
    cards = server_accelerators(offer, catalog) // offer.accelerators_per_server
    return Ownership(offer, servers, cards, surroundings(offer, servers, job, survival, catalog, more_spares), terms)
