"""Failures, checkpoints and spares (docs/cost-models.md: the run), with the pages of Daly's paper at hand."""

from __future__ import annotations

import math
from statistics import NormalDist

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog
from optimizer.job import Job
from tests.oracle.failure_rates import hours_and_sigma
from tests.oracle.inputs import Inputs, Recipe
from tests.oracle.parameters import Arch, total_parameters

HOUR = 3600.0


def goodput_of(job: Job, catalog: Catalog, x: Inputs, world: int) -> float:
    """The job's own, else that of the best checkpoint interval on so many accelerators."""
    if job.goodput is not None:
        return job.goodput
    gap, stall = gap_and_stall(job, catalog, x, world)
    return share(gap, interval(gap, stall), stall, job.recovery, catalog)


def gap_and_stall(job: Job, catalog: Catalog, x: Inputs, world: int) -> tuple[float, float]:
    """Seconds between interruptions, and that a checkpoint takes."""
    value, w = catalog.assumption, Recipe(x)
    size = total_parameters(Arch(job.model)) * (w.parameter + w.master + w.moment)
    stall = min(size / (world * value("checkpoint-bytes-per-s-per-accelerator")), value("checkpoint-write-s"))
    rate = world / (hours_and_sigma(x.accelerator, catalog)[0] * HOUR)
    if x.spot:
        rate += world / x.per_server * -math.log(1 - value("spot-share-taken-per-month")) / (30 * 24 * HOUR)
    return 1 / rate, stall


def failures_variance(job: Job, catalog: Catalog, x: Inputs, world: int, wall: float) -> float:
    """Of log days: of the failure rate between clusters, and of single failures (compound Poisson)."""
    if job.goodput is not None:
        return 0.0
    value, gap, stall = catalog.assumption, *gap_and_stall(job, catalog, x, world)
    work = interval(gap, stall)
    goodput = share(gap, work, stall, job.recovery, catalog)
    fixed = value("manual-restart-s" if job.recovery == "manual" else "restart-s")
    if job.recovery == "replica":
        fixed, work = value("replica-stall-s") + fixed * value("replica-share"), 0.0
    squares = fixed**2 + fixed * work + work**2 / 3  # of the restart and a uniform part of the interval
    often = gap * math.exp(-1.6449 * hours_and_sigma(x.accelerator, catalog)[1])  # for one cluster in twenty, or less
    lower = share(often, interval(often, stall), stall, job.recovery, catalog)
    variance = (math.log(goodput / lower) / 1.6449) ** 2 + squares * goodput / gap / wall
    if job.recovery == "manual":
        variance += (fixed / (gap + fixed) * sigma(catalog, "manual-restart-s")) ** 2
    if job.recovery == "automatic":
        variance += ((1 - math.exp(-fixed / gap)) * sigma(catalog, "restart-s")) ** 2
    return variance


def sigma(catalog: Catalog, name: str) -> float:
    """Of the logarithm, where the record says what holds it with 90%."""
    record = catalog.assumptions[name]
    return 0.0 if record.low is None or record.high is None else math.log(record.high / record.low) / 3.2898


def interval(gap: float, stall: float) -> float:
    """Daly 2006, equation 37."""
    if stall >= 2 * gap:
        return gap
    first = math.sqrt(2 * stall * gap)
    return first * (1 + math.sqrt(stall / (2 * gap)) / 3 + stall / (2 * gap) / 9) - stall


def share(gap: float, work: float, stall: float, recovery: str, catalog: Catalog) -> float:
    """Of the wall-clock time of one interval's work, without the words of the product for its regimes."""
    value = catalog.assumption
    restart = value("restart-s")
    if recovery == "automatic":  # Daly 2006, equation 20
        wall = gap * math.exp(restart / gap) * (math.exp((work + stall) / gap) - 1)
    elif recovery == "manual":  # every gap is followed by one restart, in which nothing runs that could fail
        wall = (gap + value("manual-restart-s")) * (math.exp((work + stall) / gap) - 1)
    else:  # a replica out of 1 / share fails 1 / share times more seldom than the job
        away = restart * value("replica-share") / gap
        wall = (work + stall) * math.exp(value("replica-stall-s") / gap) * (1 + away)
    return work / wall


def spares_of(servers: int, unit: int, accelerator: Accelerator, catalog: Catalog) -> int:
    """The smallest number that servers in repair exceed with at most the stated probability."""
    value = catalog.assumption
    mean = servers * unit * value("repair-s") / (hours_and_sigma(accelerator, catalog)[0] * HOUR)
    if mean > 500:
        return math.ceil(mean + NormalDist().inv_cdf(value("spare-availability")) * math.sqrt(mean))
    count, term = 0, math.exp(-mean)
    total = term
    while total < value("spare-availability") * (1 - 1e-12):
        count += 1
        term *= mean / count
        total += term
    return count
