"""What a comparison may vary without searching again."""

from __future__ import annotations

from dataclasses import dataclass, field

from catalogs.catalog import Catalog
from optimizer.comparison.ownership import Terms
from optimizer.job import Job


@dataclass(frozen=True)
class Conditions:
    """Everything about money and time that a comparison may vary without searching again.

    Attributes:
        job: deadline, budget, stated goodput (its model, tokens and hardware are those of the fronts).
        catalog: prices, rates, assumptions.
        terms: how purchases are charged.
        slowdown: days over those of the fronts (more tokens, a lower MFU).
    """

    job: Job
    catalog: Catalog
    terms: Terms = field(default_factory=Terms)
    slowdown: float = 1.0
