"""Published trainings predicted: accelerator-hours and days of the fastest layout on the cluster that was used."""

from __future__ import annotations

import math
from dataclasses import dataclass

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError
from catalogs.training import Training
from costmodels.run import DAY_S
from optimizer.market import sites
from optimizer.request import read_job
from optimizer.search import search


@dataclass(frozen=True)
class PublishedRun:
    """A published training and what the models say about it.

    Attributes:
        training: the catalog record.
        days, accelerators: predicted, goodput included; of the fastest layout on at most the published accelerators.
        reason: why there is no prediction, else "".
    """

    training: Training
    days: float
    accelerators: int
    reason: str

    @property
    def hours(self) -> float:
        """Predicted accelerator-hours."""
        return self.days * 24.0 * self.accelerators

    def cells(self) -> list[str]:
        """The row of a table: name, accelerators, tokens, then published, predicted and ratio of hours and of days."""
        one = self.training
        about = "~" if "accelerators" in one.estimated else ""
        link = f"[{one.name}]({one.sources['*']})"
        start = [link, f"{about}{one.accelerators:,} × {one.accelerator}", f"{one.tokens / 1e12:.3g}T"]
        return [*start, *_compared(one.hours, self.hours, self.reason), *_compared(one.days, self.days, self.reason)]


def _compared(published: float | None, predicted: float, reason: str) -> list[str]:
    digits = 1 if published is not None and published < 1000 else 0
    told = "" if published is None else f"{published:,.{digits}f}"
    if reason:
        return [told, reason, ""]
    return [
        told,
        f"{predicted:,.{digits if published else 1 if predicted < 1000 else 0}f}",
        _change(published, predicted),
    ]


def _change(published: float | None, predicted: float) -> str:
    return "" if published is None else f"{predicted / published - 1.0:+.0%}"


def published_runs(catalog: Catalog) -> tuple[PublishedRun, ...]:
    """All trainings of the catalog, predicted."""
    return tuple(_predicted(catalog, one) for one in catalog.trainings.values())


def _predicted(catalog: Catalog, one: Training) -> PublishedRun:
    try:
        job = read_job(
            catalog,
            one.model,
            one.tokens,
            hardware=[one.accelerator],
            seq=one.seq,
            max_accelerators=one.accelerators,
            precision=one.precision,
            frameworks=[one.framework],
            offers=["all"],
        )
        found, _ = sites(job, catalog)
        leaders, _ = search(job, found, catalog, "time", keep=1)
    except ClusterplanError as error:
        return PublishedRun(one, math.nan, one.accelerators, str(error))
    if not leaders:
        return PublishedRun(one, math.nan, one.accelerators, "no layout fits")
    return PublishedRun(one, leaders[0].wall_s / DAY_S, leaders[0].accelerators, "")
