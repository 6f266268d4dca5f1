"""How many accelerators, and how long: the fewest that fit or meet a date, and the date at a given size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from costmodels.run import DAY_S
from optimizer.configuration import Configuration
from optimizer.inverse.largest import smallest_monotone
from optimizer.inverse.least import describe, fastest, ground, least_memory
from optimizer.job import Job
from optimizer.planning import SCHEMA_VERSION, duration

GIB = 2.0**30


@dataclass(frozen=True)
class Size:
    """The fewest accelerators of one kind.

    Attributes:
        hardware: which kind.
        to_fit: fewest on which any layout fits.
        to_meet: fewest on which the run ends by the deadline (None: no deadline was given).
        binding: why one accelerator fewer is not enough.
        configuration: the fastest layout on the larger of the two.
        assumptions: what it rests on.
    """

    hardware: str
    to_fit: int
    to_meet: int | None
    binding: str
    configuration: Configuration
    assumptions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "hardware": self.hardware,
            "to_fit": self.to_fit,
            "to_meet": self.to_meet,
            "binding": self.binding,
            "configuration": self.configuration.to_json(),
            "assumptions": list(self.assumptions),
        }


def fewest(job: Job, catalog: Catalog) -> Size:
    """The fewest accelerators of the job's (only) kind on which it fits, and on which it meets its deadline.

    Larger limits only add layouts to the space, so both are found by bisection. The memory of a layout counts, and its
    predicted time; neither offers nor prices do.

    Raises:
        InfeasibleError: not even the job's ``max_accelerators`` are enough.
    """
    site = ground(job, catalog)
    name, most = site.accelerator.name, int(min(job.max_accelerators, site.max_accelerators))

    def fits(count: int) -> bool:
        least = least_memory(replace(job, max_accelerators=count), site, catalog)
        return least is not None and least.fits

    to_fit = smallest_monotone(1, most, fits)
    if to_fit is None:
        raise InfeasibleError(f"{job.model.name} does not fit on {most} {name}; allow more with --max-accelerators")
    to_meet = None
    if math.isfinite(job.deadline_s):
        to_meet = smallest_monotone(
            to_fit, most, lambda count: fastest(replace(job, max_accelerators=count), site, catalog) is not None
        )
        if to_meet is None:
            quickest = fastest(replace(job, deadline_s=math.inf), site, catalog)
            assert quickest is not None
            one = describe(job, site, catalog, quickest)
            raise InfeasibleError(
                f"{most} {name} do not meet {duration(job.deadline_s)}: the fastest layout, on {one.accelerators}, "
                f"takes {duration(one.days * DAY_S)}; allow more with --max-accelerators or a later --deadline"
            )
    count = to_meet or to_fit
    layout = fastest(replace(job, max_accelerators=count), site, catalog)
    assert layout is not None
    return Size(
        hardware=name,
        to_fit=to_fit,
        to_meet=to_meet,
        binding=_one_fewer(job, catalog, count, to_fit),
        configuration=describe(job, site, catalog, layout),
        assumptions=(*job.assumptions, *site.notes, *([site.profile_note] if site.profile_note else [])),
    )


def _one_fewer(job: Job, catalog: Catalog, count: int, to_fit: int) -> str:
    """Why one accelerator fewer is not enough."""
    site = ground(job, catalog)
    if count == 1:
        return "one accelerator is the fewest there can be"
    fewer = replace(job, max_accelerators=count - 1)
    if count == to_fit:
        least = least_memory(fewer, site, catalog)
        if least is None:
            return f"batch: on {count - 1} no layout divides the global batch of {job.global_batch}"
        return (
            f"memory: the leanest layout on {count - 1} needs {least.bytes / GIB:.2f} GiB of "
            f"{least.capacity_bytes / GIB:.2f} GiB"
        )
    layout = fastest(replace(fewer, deadline_s=math.inf), site, catalog)
    assert layout is not None
    one = describe(fewer, site, catalog, layout)
    return f"date: the fastest layout on at most {count - 1} takes {one.days:.2f} days of {job.deadline_s / DAY_S:.2f}"


@dataclass(frozen=True)
class When:
    """When a run on a given cluster ends.

    Attributes:
        start: first day, if given.
        configuration: the fastest layout, with its days and their interval.
        binding: what keeps it from being earlier.
        assumptions: what it rests on.
    """

    start: date | None
    configuration: Configuration
    binding: str
    assumptions: tuple[str, ...]

    @property
    def end(self) -> date | None:
        """The day on which the run is expected to end."""
        return _later(self.start, self.configuration.days)

    @property
    def end_interval(self) -> tuple[date | None, date | None]:
        """Days between which it ends with probability 0.9."""
        low, high = self.configuration.days_interval
        return _later(self.start, low), _later(self.start, high)

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "start": _text(self.start),
            "end": _text(self.end),
            "end_interval": [_text(day) for day in self.end_interval],
            "days": self.configuration.days,
            "days_interval": list(self.configuration.days_interval),
            "binding": self.binding,
            "configuration": self.configuration.to_json(),
            "assumptions": list(self.assumptions),
        }


def when(job: Job, catalog: Catalog, *, start: date | None = None) -> When:
    """The earliest end of a job on at most its ``max_accelerators``, by the fastest layout that fits.

    Raises:
        InfeasibleError: nothing fits.
    """
    site = ground(job, catalog)
    free = replace(job, deadline_s=math.inf)
    layout = fastest(free, site, catalog)
    if layout is None:
        raise InfeasibleError(
            f"{job.model.name} does not fit on {job.max_accelerators} {site.accelerator.name}; "
            "`clusterplan size` says how many it takes"
        )
    one = describe(job, site, catalog, layout)
    if one.accelerators < job.max_accelerators:
        binding = (
            f"batch: {job.max_accelerators - one.accelerators} of {job.max_accelerators} accelerators stay idle, "
            f"for {job.global_batch} sequences per step do not divide better"
        )
    else:
        part, seconds = max(one.time.items(), key=lambda item: item[1])
        binding = f"compute: {seconds / one.step_s:.0%} of a step is {part.replace('_', ' ')}"
    notes = (*job.assumptions, *site.notes, *([site.profile_note] if site.profile_note else []))
    return When(start, one, binding, notes)


def _later(start: date | None, days: float) -> date | None:
    if start is None:
        return None
    try:
        return start + timedelta(days=math.ceil(days))
    except OverflowError:
        raise UsageError(f"a run of {days:.3g} days from {start} ends beyond the calendar") from None


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
