"""The plan that a job has: what it costs to stay on it, and to leave it."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace

from catalogs.errors import DataFileError
from catalogs.offer import Tenure
from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.offer_key import OfferKey
from optimizer.replan.reprice import Choice, Market
from optimizer.tariff import COMMITMENT_S

COMMITTED = ("reserved_1y", "reserved_3y", "capacity_block", "purchase")
"""Ways of paying that keep the price of the day they were taken."""


@dataclass(frozen=True)
class Standing:
    """The plan that a job has.

    Attributes:
        key: its offer in the price book.
        accelerator, accelerators: its cluster.
        usd: what an accelerator-hour (a server when bought) cost when the plan was made or last priced.
        since: when it was adopted (ISO).
        running: whether the job runs on it.
        fixed: whether ``usd`` is a contract that does not follow the book.
    """

    key: str
    accelerator: str
    accelerators: int
    usd: float
    since: str
    running: bool = False
    fixed: bool = False

    @property
    def tenure(self) -> Tenure:
        """Way of paying."""
        return OfferKey.of(self.key).tenure

    @property
    def units(self) -> int:
        """Units that are paid for: whole ones."""
        return math.ceil(self.accelerators / OfferKey.of(self.key).per_unit)

    @property
    def charged(self) -> int:
        """Accelerators that are paid for: those of whole units."""
        return self.units * OfferKey.of(self.key).per_unit

    @property
    def follows(self) -> bool:
        """Whether what it costs to stay follows the book."""
        return not self.fixed and not (self.running and self.tenure in COMMITTED)

    def term_left_s(self, as_of: datetime.date) -> float:
        """Seconds of a committed term that are still to be paid."""
        term_s = 0.0 if self.tenure == "purchase" else COMMITMENT_S[self.tenure]
        if not self.running:
            return term_s
        return max(term_s - (as_of - datetime.date.fromisoformat(self.since)).days * DAY_S, 0.0)

    def same(self, choice: Choice) -> bool:
        """Whether a choice is this cluster at this offer."""
        return (choice.key, choice.accelerators) == (self.key, self.accelerators)

    def priced(self, market: Market) -> Standing:
        """At tonight's price, or at its last known one where the offer vanished or is a contract."""
        usd = market.usd(self.key) if self.follows else None
        return self if usd is None else replace(self, usd=usd)


def standing_of(job: PlannedJob, recorded: Standing | None, market: Market) -> Standing | None:
    """The plan a job has: what runs, else what was accepted before.

    Raises:
        DataFileError: nobody says what the offer it runs on costs.
    """
    current = job.entry.current
    if current is None:
        return recorded
    usd = current.usd_per_accelerator_hour
    last = recorded.usd if recorded is not None and recorded.key == current.key else None
    if usd is None:
        book = market.usd(current.key)
        # A commitment keeps the price it was made at.
        first, second = (last, book) if current.tenure in COMMITTED else (book, last)
        usd = second if first is None else first
    if usd is None and current.tenure != "purchase":
        raise DataFileError(
            f"job {job.name!r}: no book has a price of its current offer {current.key}; "
            "give current.usd_per_accelerator_hour, or the offer as the book writes it"
        )
    return Standing(
        key=current.key,
        accelerator=current.accelerator,
        accelerators=current.accelerators,
        usd=usd or 0.0,  # what was bought before there was a book is paid for
        since=current.since.isoformat(),
        running=True,
        fixed=current.usd_per_accelerator_hour is not None,
    )


def exit_usd(job: PlannedJob, standing: Standing, key: str, accelerators: int, as_of: datetime.date) -> float:
    """What leaving the standing plan for another one costs, none of which follows the new price."""
    if not standing.running or (key == standing.key and accelerators == standing.accelerators):
        return 0.0
    switching = job.entry.switching
    usd = switching.penalty_usd
    if OfferKey.of(key).place != OfferKey.of(standing.key).place:
        usd += job.checkpoint_gb * switching.egress_usd_per_gb
    if standing.tenure != "purchase":
        usd += standing.charged * standing.usd * standing.term_left_s(as_of) / HOUR_S
    return usd
