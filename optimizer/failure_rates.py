"""How often an accelerator interrupts a job: the clusters that published it, pooled by generation.

The logarithm of the accelerator-hours between two interruptions of a cluster is normal about that of its generation
(the family of the accelerator), with the spread of teams; generations are normal about one mean, with a spread of their
own; what was counted adds its Poisson noise, ``1/n`` in variance. Both spreads are unknown, and so integrated over:
with few clusters nobody knows them well, and that belongs into the interval. A generation of which nobody published
anything has the distribution of all generations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from catalogs.accelerator import Accelerator
from catalogs.assumption import FAILURE_HOURS, Assumption
from catalogs.catalog import Catalog
from catalogs.errors import DataFileError
from costmodels.columns import Column
from costmodels.interval import interval_90, log_sigma_of

STATED = FAILURE_HOURS
"""Assumption of the user's that replaces the rate, of all accelerators or (with ``.FAMILY``) of one generation."""

PRIOR_LOG_SIGMA = math.log(2.0)
"""Scale of the half-normal priors of both spreads: teams and generations differ by a factor of two, more or less."""

SPREADS = np.arange(0.02, 3.0, 0.04)
"""Standard deviations over which both spreads are integrated."""


@dataclass(frozen=True)
class FailureRate:
    """Accelerator-hours between two interruptions of a job on hardware of one generation.

    Attributes:
        told: as an assumption: median, 90% interval, source, date.
        clusters: published ones of the generation behind it (0: none; None: the user states the rate).
        log_sigma: standard deviation of the logarithm for the next cluster.
        team_log_sigma: what of it comes from the team, so is the same whichever hardware the team takes.
    """

    told: Assumption
    clusters: int | None
    log_sigma: float
    team_log_sigma: float

    @property
    def hours(self) -> float:
        """The median."""
        return self.told.value


def failure_rate(accelerator: Accelerator, catalog: Catalog) -> FailureRate:
    """The rate of an accelerator: as the user's catalog states it, else from the published clusters.

    Raises:
        DataFileError: a stated rate is not above 0, or there is neither a stated one nor a published cluster.
    """
    name = f"{STATED}.{accelerator.family}"
    stated = catalog.assumptions.get(name) or catalog.assumptions.get(STATED)
    if stated is not None:
        return _stated(stated)
    published = tuple(catalog.interruptions.values())
    if not published:
        raise DataFileError(f"no record under interruptions/ and no assumption {STATED}; give one of them")
    families = tuple(catalog.accelerators[one.accelerator].family for one in published)
    counted = tuple((one.hours_per_interruption, one.interruptions or math.inf) for one in published)
    found = pooled(counted, families, accelerator.family)
    own = [one for one, family in zip(published, families, strict=True) if family == accelerator.family]
    hours = math.exp(found.log_mean)
    low, high = interval_90(np.asarray(hours), np.asarray(found.log_sigma))
    behind = (
        "; ".join(f"{one.name} ({one.sources['*']})" for one in own) or f"none is published for {accelerator.family}"
    )
    told = Assumption(
        name=name,
        title=f"Accelerator-hours between unexpected interruptions of a job ({accelerator.family})",
        value=hours,
        low=float(low),
        high=float(high),
        unit="hours",
        date=max(one.date for one in published),
        sources={"*": f"{behind}; pooled with all {len(published)} published clusters (interruptions/)"},
        estimated=() if own else ("value",),
    )
    return FailureRate(told, len(own), found.log_sigma, found.team_log_sigma)


def failure_rates(accelerators: Iterable[Accelerator], catalog: Catalog) -> list[FailureRate]:
    """The rates behind some accelerators, each once, in their order."""
    return list({rate.told.name: rate for one in accelerators for rate in [failure_rate(one, catalog)]}.values())


def _stated(told: Assumption) -> FailureRate:
    low, high = told.interval or (told.value, told.value)
    if not low > 0:
        raise DataFileError(f"assumption {told.name}: {low:g} hours are not above 0; correct it")
    sigma = log_sigma_of(low, high)
    return FailureRate(told, None, sigma, sigma)


@dataclass(frozen=True)
class Pooled:
    """The logarithm of the hours of the next cluster, taken to be normal.

    Attributes:
        log_mean, log_sigma: of it.
        team_log_sigma: root mean square of the spread of teams.
    """

    log_mean: float
    log_sigma: float
    team_log_sigma: float


def pooled(counted: tuple[tuple[float, float], ...], families: tuple[str, ...], family: str) -> Pooled:
    """The next cluster of a generation, given the published ones.

    Args:
        counted: accelerator-hours per interruption and number of interruptions (infinite: no noise) of each.
        families: generation of each.
        family: of the next.

    Source: Gelman et al., Bayesian Data Analysis, section 5.4 (a normal hierarchy with an unknown spread), with two.
    """
    known = _posterior(counted, families)
    if family in known.means:
        own, noise = known.means[family]
        drawn = noise / (noise + known.generations**2)
        middle = drawn * known.centre + (1 - drawn) * own
        spread = (1 - drawn) * noise + drawn**2 / known.precision
    else:
        middle, spread = known.centre, known.generations**2 + 1 / known.precision
    log_mean = float((known.odds * middle).sum())
    variance = float((known.odds * (spread + known.teams**2 + (middle - log_mean) ** 2)).sum())
    return Pooled(log_mean, math.sqrt(variance), math.sqrt(float((known.odds * known.teams**2).sum())))


@dataclass(frozen=True)
class _Posterior:
    """What the published clusters say, over the grid of both spreads.

    Attributes:
        teams, generations: the spreads.
        odds: of each pair; they sum to 1.
        centre, precision: of the mean of all generations.
        means: of the clusters of each generation, with the variance of that mean about the generation's.
    """

    teams: Column
    generations: Column
    odds: Column
    centre: Column
    precision: Column
    means: dict[str, tuple[Column, Column]]


@lru_cache(maxsize=64)
def _posterior(counted: tuple[tuple[float, float], ...], families: tuple[str, ...]) -> _Posterior:
    hours, counts = np.array(counted).T
    teams, generations = np.meshgrid(SPREADS, SPREADS, indexing="ij")
    log_odds = -(teams**2 + generations**2) / (2 * PRIOR_LOG_SIGMA**2)
    precision = weighted = squares = np.zeros_like(teams)
    means: dict[str, tuple[Column, Column]] = {}
    for family in dict.fromkeys(families):
        rows = np.array([other == family for other in families])
        logs = np.log(hours[rows])
        weights = 1.0 / (teams[..., None] ** 2 + 1.0 / counts[rows])
        total = weights.sum(-1)
        mean = (weights * logs).sum(-1) / total
        within = np.log(weights).sum(-1) - np.log(total) - (weights * (logs - mean[..., None]) ** 2).sum(-1)
        variance = 1.0 / total + generations**2
        log_odds = log_odds + (within - np.log(variance)) / 2
        precision, weighted = precision + 1 / variance, weighted + mean / variance
        squares = squares + mean**2 / variance
        means[family] = mean, 1.0 / total
    centre = weighted / precision
    log_odds = log_odds - (np.log(precision) + squares - weighted * centre) / 2
    odds = np.exp(log_odds - log_odds.max())
    return _Posterior(teams, generations, odds / odds.sum(), centre, precision, means)
