"""The jobs file: what is to be trained by when, and what runs already (format: docs/replanning.md)."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from catalogs.loading import read_yaml
from catalogs.naming import unknown_name
from catalogs.offer import Tenure
from catalogs.quantity import BYTE_UNITS, COUNT_UNITS, parse_positive
from optimizer.job import Job, RecoveryName
from optimizer.replan.offer_key import SEPARATOR, offer_key
from optimizer.request import read_job

Day = datetime.date

_PART = rf"^[^{re.escape(SEPARATOR)}]*$"
"""What a part of an offer's key may be."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rules(_Entry):
    """When a saving is worth acting on.

    Attributes:
        min_saving_usd: least saving.
        min_saving_share: least saving as a share of what the standing plan still costs.
        cool_down_days: days after a move in which no other one is advised.
        news_share: rise of the price of a plan that stands, since it was last reported, that is reported.
    """

    min_saving_usd: float = Field(default=300.0, ge=0)
    min_saving_share: float = Field(default=0.05, ge=0, lt=1)
    cool_down_days: float = Field(default=7.0, ge=0)
    news_share: float = Field(default=0.25, gt=0)

    def needed_usd(self, cost_usd: float) -> float:
        """The saving that makes a move away from a plan of this cost worth it."""
        return max(self.min_saving_usd, self.min_saving_share * cost_usd)

    def leave_usd(self, other_usd: float) -> float:
        """The cost at which a plan is left for one that costs ``other_usd``: the inverse of :meth:`needed_usd`."""
        return max(other_usd + self.min_saving_usd, other_usd / (1 - self.min_saving_share))


class Switching(_Entry):
    """What a move costs.

    Attributes:
        lost_hours: hours in which the new cluster is paid and nothing is trained (checkpoint, move, queue, warm-up).
        egress_usd_per_gb: price of moving the checkpoint to another provider or region.
        checkpoint: size of what is moved.
        penalty_usd: fixed cost of leaving, beside a committed term that must be paid out.
    """

    lost_hours: float = Field(default=6.0, ge=0)
    egress_usd_per_gb: float = Field(default=0.09, ge=0)
    checkpoint: str | float = "1TB"
    penalty_usd: float = Field(default=0.0, ge=0)


class Current(_Entry):
    """The plan that a job runs on.

    Attributes:
        provider, region, instance, accelerator, accelerators_per_server, tenure: the offer, as in the price book.
        accelerators: cluster size.
        usd_per_accelerator_hour: contract price, where it does not follow the book.
        since: when the job moved there.
        tokens_done: progress.
        tokens_per_s: measured throughput of the cluster (None: as predicted).
        spent_usd: money spent so far.
    """

    provider: str = Field(pattern=_PART)
    region: str = Field(default="", pattern=_PART)
    instance: str = Field(default="", pattern=_PART)
    accelerator: str
    accelerators_per_server: int = Field(default=8, gt=0)
    tenure: Tenure = "on_demand"
    accelerators: int = Field(gt=0)
    usd_per_accelerator_hour: float | None = Field(default=None, gt=0)
    since: Day
    tokens_done: str | float = 0.0
    tokens_per_s: str | float | None = None
    spent_usd: float = Field(default=0.0, ge=0)

    @property
    def key(self) -> str:
        """The key of the offer in a price book."""
        return offer_key(
            self.provider, self.region, self.instance, self.accelerator, self.accelerators_per_server, self.tenure
        )


class JobEntry(_Entry):
    """One job of the file; the fields are those of ``clusterplan plan``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    model: str
    tokens: str | float
    deadline: Day | None = None
    start: Day | None = None
    hardware: tuple[str, ...] = ()
    budget_usd: float | None = Field(default=None, gt=0)
    max_accelerators: int | None = Field(default=None, gt=0)
    seq: int | None = Field(default=None, gt=0)
    global_batch: int | None = Field(default=None, gt=0)
    precision: str | None = None
    framework: str | None = None
    optimizer: str = "adamw"
    goodput: float | None = None
    recovery: RecoveryName = "automatic"
    offers: tuple[str, ...] = ()
    current: Current | None = None
    switching: Switching = Switching()
    rules: Rules | None = None


@dataclass(frozen=True)
class PlannedJob:
    """A job of the file, read.

    Attributes:
        entry: as it stands in the file.
        job: the planning question over all its tokens, without a deadline.
        tokens_done: progress.
        tokens_per_s: measured throughput, or None.
        spent_usd: money spent so far.
        checkpoint_gb: size of what a move transfers.
        rules: its own rules, or those of the run.
    """

    entry: JobEntry
    job: Job
    tokens_done: float
    tokens_per_s: float | None
    spent_usd: float
    checkpoint_gb: float
    rules: Rules

    @property
    def name(self) -> str:
        """Its name."""
        return self.entry.name


@dataclass(frozen=True)
class JobsFile:
    """All jobs of a file, with the digest of its content."""

    jobs: tuple[PlannedJob, ...]
    digest: str
    entries: list[dict[str, Any]]


def read_jobs(path: Path, catalog: Catalog, rules: Rules | None = None) -> JobsFile:
    """The jobs of a file.

    Raises:
        DataFileError: the file or one of its jobs is broken; the message names file, job and field.
    """
    content = read_yaml(path)
    if not isinstance(content, list) or not content:
        raise DataFileError(f"{path}:1: expected a list of jobs (lines starting with '- name: …')")
    return jobs_of(content, catalog, rules or Rules(), str(path))


def jobs_of(content: list[Any], catalog: Catalog, rules: Rules, origin: str) -> JobsFile:
    """The jobs in the content of a file (or of a stored night).

    Raises:
        DataFileError: a job is broken; the message names file, job and field.
    """
    jobs: list[PlannedJob] = []
    for index, fields in enumerate(content, 1):
        name = fields.get("name", f"number {index}") if isinstance(fields, dict) else f"number {index}"
        try:
            entry = JobEntry.model_validate(fields)
            jobs.append(_planned(entry, catalog, rules))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            said, known = first["msg"], JobEntry.model_fields
            if first["type"] == "extra_forbidden":
                said = unknown_name("field", where, known) if where == first["loc"][0] else "unknown field"
            raise DataFileError(f"{origin}: job {name!r}: field {where}: {said}") from None
        except UsageError as error:
            raise DataFileError(f"{origin}: job {name!r}: {error}") from None
    names = [one.name for one in jobs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataFileError(f"{origin}: job {twice[0]!r} appears twice")
    entries = [one.entry.model_dump(mode="json") for one in jobs]
    digest = hashlib.sha256(json.dumps([entries, rules.model_dump()], sort_keys=True).encode()).hexdigest()
    return JobsFile(tuple(jobs), digest, entries)


def _planned(entry: JobEntry, catalog: Catalog, rules: Rules) -> PlannedJob:
    read: Callable[[str | float, str], float] = lambda value, what: parse_positive(value, COUNT_UNITS, what)  # noqa: E731
    current = entry.current
    job = read_job(
        catalog,
        entry.model,
        read(entry.tokens, "tokens"),
        hardware=entry.hardware,
        max_accelerators=entry.max_accelerators,
        seq=entry.seq,
        global_batch=entry.global_batch,
        precision=entry.precision,  # type: ignore[arg-type]
        frameworks=(entry.framework,) if entry.framework else (),
        optimizer=entry.optimizer,
        goodput=entry.goodput,
        recovery=entry.recovery,
        offers=entry.offers,
    )
    if job.offers:
        raise UsageError(
            f"offers: {', '.join(job.offers)}: offers of a price book change, name ways of paying "
            f"({', '.join(get_args(Tenure))}, rent, reserved, all)"
        )
    for name in (*entry.hardware, *([current.accelerator] if current else [])):
        catalog.find("accelerators", name)
    done = read(current.tokens_done, "tokens_done") if current and current.tokens_done else 0.0
    if done >= job.tokens:
        raise UsageError(f"tokens_done {done:.4g} is all of {job.tokens:.4g}; a finished job leaves the file")
    speed = read(current.tokens_per_s, "tokens_per_s") if current and current.tokens_per_s is not None else None
    checkpoint_gb = parse_positive(entry.switching.checkpoint, BYTE_UNITS | {"": 1.0}, "checkpoint") / 1e9
    spent_usd = current.spent_usd if current else 0.0
    return PlannedJob(entry, job, done, speed, spent_usd, checkpoint_gb, entry.rules or rules)
