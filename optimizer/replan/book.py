"""Price books: dated, sourced quotes, and how they enter a catalog."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Any, get_args

from catalogs.catalog import Catalog
from catalogs.offer import Offer, PriceUnit, Tenure
from optimizer.replan.offer_key import offer_key

TENURES: tuple[Tenure, ...] = get_args(Tenure)
UNITS: tuple[PriceUnit, ...] = get_args(PriceUnit)


@dataclass(frozen=True, slots=True)
class Quote:
    """One price as a source states it.

    Attributes:
        provider, region, instance: who sells what where.
        accelerator: catalog name.
        count: accelerators in the smallest unit sold.
        tenure: way of paying.
        price: amount in ``currency`` per ``unit``.
        currency: ISO code.
        unit: per accelerator-hour, server-hour, or server.
        date: when it was valid, ISO.
        source: where it was read (a URL, or the file).
        line: line in that source.
        max_servers: most servers that can be had, where the source says so.
    """

    provider: str
    region: str
    instance: str
    accelerator: str
    count: int
    tenure: Tenure
    price: float
    currency: str
    unit: PriceUnit
    date: str
    source: str
    line: int = 0
    max_servers: int | None = None

    @property
    def key(self) -> str:
        """What makes two quotes prices of the same thing."""
        return offer_key(self.provider, self.region, self.instance, self.accelerator, self.count, self.tenure)

    @property
    def per_accelerator(self) -> float:
        """Price per accelerator-hour (per server for a purchase), in its currency."""
        return self.price / self.count if self.unit == "server_hour" else self.price


@dataclass(frozen=True)
class Book:
    """Accepted quotes, one per key, ordered by key.

    Attributes:
        date: the latest date of a quote.
        quotes: the quotes.
    """

    date: str
    quotes: tuple[Quote, ...]

    @classmethod
    def of(cls, quotes: Iterable[Quote]) -> Book:
        """The book of some quotes; of two with the same key the later date wins, then the cheaper one."""
        best: dict[str, Quote] = {}
        for quote in quotes:
            known = best.get(quote.key)
            if known is None or (quote.date, -quote.price) > (known.date, -known.price):
                best[quote.key] = quote
        ordered = tuple(best[key] for key in sorted(best))
        return cls(max((quote.date for quote in ordered), default=""), ordered)

    @cached_property
    def by_key(self) -> dict[str, Quote]:
        """Quotes by key."""
        return {quote.key: quote for quote in self.quotes}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the book says: keys, prices, caps and dates, not line numbers or file names."""
        rows = [
            [q.key, q.price, q.currency, q.unit, q.date, *([] if q.max_servers is None else [q.max_servers])]
            for q in self.quotes
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def to_rows(self) -> list[list[Any]]:
        """The quotes as plain lists, for storage."""
        return [list(astuple(quote)) for quote in self.quotes]

    @classmethod
    def from_rows(cls, rows: Iterable[list[Any]]) -> Book:
        """The inverse of :meth:`to_rows`."""
        return cls.of(Quote(*row) for row in rows)


@dataclass(frozen=True)
class Networks:
    """What the catalog knows about an instance beside its price: network and whether servers can be combined."""

    known: dict[tuple[str, str], Offer] = field(default_factory=dict)

    @classmethod
    def of(cls, catalog: Catalog) -> Networks:
        """By provider and instance, from the catalog's own offers."""
        return cls({(o.provider.lower(), o.instance.lower()): o for o in catalog.offers.values() if o.instance})

    def offer(self, quote: Quote, name: str) -> Offer:
        """The quote as a catalog record."""
        known = self.known.get((quote.provider.lower(), quote.instance.lower()))
        return Offer(
            name=name,
            provider=quote.provider,
            region=quote.region,
            instance=quote.instance,
            accelerator=quote.accelerator,
            accelerators_per_server=quote.count,
            tenure=quote.tenure,
            price=quote.price,
            currency=quote.currency,
            unit=quote.unit,
            scale_out_bytes_per_s_per_accelerator=known.scale_out_bytes_per_s_per_accelerator if known else None,
            training_grade=known.training_grade if known else None,
            max_servers=quote.max_servers,
            date=quote.date,
            sources={"*": quote.source},
        )


_NOT_NAME = re.compile(r"[^a-z0-9._+-]+")


def offer_name(quote: Quote) -> str:
    """A catalog name for a quote.

    >>> offer_name(Quote("GCP", "us-east4", "a3-highgpu-8g", "h100-sxm-80g", 8, "spot", 9.0, "USD", "server_hour",
    ...                  "2025-01-02", "x"))
    'gcp-a3-highgpu-8g-us-east4-spot'
    """
    parts = (quote.provider, quote.instance or f"{quote.count}x-{quote.accelerator}", quote.region, quote.tenure)
    return _NOT_NAME.sub("-", "-".join(p for p in parts if p).lower().replace("_", "-")).strip("-.+_")


def with_book(catalog: Catalog, book: Book) -> tuple[Catalog, dict[str, str]]:
    """The catalog with a book in place of its offers, and the key of every offer by its name."""
    networks = Networks.of(catalog)
    offers: dict[str, Offer] = {}
    keys: dict[str, str] = {}
    for quote in book.quotes:
        name = offer_name(quote)
        if name in offers:
            name = f"{name}-{quote.count}x-{hashlib.sha256(quote.key.encode()).hexdigest()[:8]}"
        offers[name] = networks.offer(quote, name)
        keys[name] = quote.key
    priced = copy.copy(catalog)
    priced.__dict__["offers"] = offers
    return priced, keys
