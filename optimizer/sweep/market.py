"""The catalogs that scenarios are planned in: price books in place of the offers, fabrics in place of the networks."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError
from optimizer.catalog_variant import with_fabric
from optimizer.replan.book import Book, with_book
from optimizer.replan.sources import Source

CATALOG_PRICES = "catalog"
"""The price book that stands for the catalog's own offers."""

OWN_FABRIC = "own"
"""The fabric that stands for each server's own."""

READ_KINDS = (
    "accelerators",
    "servers",
    "fabrics",
    "models",
    "frameworks",
    "profiles",
    "offers",
    "currencies",
    "assumptions",
    "interruptions",
)
"""Kinds of records that planning looks at."""


@dataclass
class Market:
    """A catalog with the price books and fabrics of a sweep; it can be sent to another machine whole.

    Attributes:
        catalog: the base.
        books: price books by the name that scenarios use.
        notes: rows of price books that could not be used.
    """

    catalog: Catalog
    books: dict[str, Book] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _made: dict[tuple[str, str], Catalog] = field(default_factory=dict)

    def add_prices(self, source: str) -> str:
        """Read a price book (``WHERE[#key=value&…]``, as for re-planning) and return its name.

        Raises:
            DataFileError: it cannot be read, or none of its rows can be used.
            UsageError: the source is written wrongly.
        """
        if source != CATALOG_PRICES and source not in self.books:
            quotes, problems = Source.parse(source).read(self.catalog, datetime.date.today())
            if not quotes:
                first = f", the first: {problems[0]}" if problems else ""
                raise DataFileError(f"{source}: no row of it can be used{first}")
            if broken := [problem for problem in problems if problem.broken]:
                self.notes.append(f"{source}: {len(broken)} rows are broken and not used, the first: {broken[0]}")
            self.books[source] = Book.of(quotes)
        return source

    def add_fabric(self, name: str) -> str:
        """Check the name of a fabric and return it.

        Raises:
            UnknownNameError: no catalog holds it.
        """
        if name != OWN_FABRIC:
            self.catalog.find("fabrics", name)
        return name

    def at(self, prices: str, fabric: str) -> Catalog:
        """The catalog with one price book and one fabric."""
        if (prices, fabric) not in self._made:
            made = self.catalog
            if prices != CATALOG_PRICES:
                made, _ = with_book(made, self.books[prices])
            if fabric != OWN_FABRIC:
                made = with_fabric(made, made.fabrics[fabric])
            self._made[prices, fabric] = made
        return self._made[prices, fabric]

    def whole(self) -> Market:
        """The market with everything read from files, and nothing derived."""
        for kind in READ_KINDS:
            self.catalog.kind(kind)
        return Market(self.catalog, self.books, self.notes)
