"""The best candidates found so far: one per structure, a fixed number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.market import Tariff

if TYPE_CHECKING:
    from optimizer.search import SiteSearch


@dataclass(frozen=True)
class Leader:
    """A candidate with its figures.

    Attributes:
        score: the objective (USD or seconds).
        cost_usd, wall_s, accelerators: its figures.
        layout: degrees by name.
        search: the site search it came from.
        tariff: how it is paid for.
    """

    score: float
    cost_usd: float
    wall_s: float
    accelerators: int
    layout: dict[str, int]
    search: SiteSearch
    tariff: Tariff

    @property
    def structure(self) -> tuple[object, ...]:
        """What makes two candidates different plans rather than variations of one."""
        return (
            self.tariff.price.offer.name,
            *(self.layout[name] for name in ("tp", "cp", "ep", "pp")),
        )

    @property
    def order(self) -> tuple[object, ...]:
        """Ranking: objective, cost, time, accelerators, then the degrees and the offer, so that ties are settled."""
        return (
            self.score,
            self.cost_usd,
            self.wall_s,
            self.accelerators,
            *self.layout.values(),
            self.tariff.price.offer.name,
        )


class Leaders:
    """At most ``keep`` leaders of different structure.

    Attributes:
        keep: how many.
        threshold: the score above which no candidate can become a leader: the job's own limit at first.
    """

    def __init__(self, keep: int, limit: float = float("inf")) -> None:
        self.keep = keep
        self._best: dict[tuple[object, ...], Leader] = {}
        self.threshold = limit

    def add(self, leader: Leader) -> None:
        """Consider a candidate."""
        known = self._best.get(leader.structure)
        if known is not None and known.order <= leader.order:
            return
        self._best[leader.structure] = leader
        if len(self._best) > self.keep:
            worst = max(self._best.values(), key=lambda one: one.order)
            del self._best[worst.structure]
        if len(self._best) == self.keep:
            self.threshold = max(one.score for one in self._best.values())

    def ranked(self) -> list[Leader]:
        """Best first."""
        return sorted(self._best.values(), key=lambda one: one.order)
