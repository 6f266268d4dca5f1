"""From what a user states of a layout to a layout."""

from __future__ import annotations

import re
from typing import get_args

from catalogs.catalog import Catalog
from catalogs.errors import UsageError
from catalogs.framework import Framework, Schedule
from optimizer.job import MAX_ACCELERATORS, Job, OffloadChoice
from optimizer.layout import Layout
from optimizer.market import check_names, site_of

_FIRST = re.compile(r"first-[1-9]\d*")


def layout_from_request(
    job: Job,
    catalog: Catalog,
    *,
    tp: int,
    pp: int,
    vpp: int,
    dp: int,
    cp: int,
    ep: int,
    etp: int,
    zero: int | None,
    zero_group: int | None,
    micro_batch: int,
    recompute: str,
    offload: str,
    schedule: str | None,
    sequence_parallel: bool | None,
) -> Layout:
    """The layout of a request; what it leaves open follows the framework and the other degrees.

    Raises:
        UsageError: a value makes no sense, or the global batch does not divide.
    """
    framework = _framework(job, catalog)
    _check_degrees(
        {"tp": tp, "pp": pp, "vpp": vpp, "dp": dp, "cp": cp, "ep": ep, "etp": etp, "micro-batch": micro_batch}
    )
    _check_recompute(recompute, deepest=-(-job.model.layers // pp))
    if offload not in get_args(OffloadChoice):
        raise UsageError(f"--offload {offload!r} is none of {', '.join(get_args(OffloadChoice))}")
    schedule = _schedule(schedule, pp, vpp)
    if sequence_parallel and tp == 1:
        raise UsageError("--sequence-parallel splits over the tensor-parallel ranks; it needs --tp above 1")
    if sequence_parallel is None:
        sequence_parallel = tp > 1 and framework.sequence_parallel
    micro_batches, rest = divmod(job.global_batch, dp * micro_batch)
    if rest or micro_batches == 0:
        raise UsageError(
            f"a global batch of {job.global_batch} sequences does not divide over {dp} replicas "
            f"with micro-batches of {micro_batch}"
        )
    if zero is None:
        zero = 1 if 1 in framework.zero_stages else max(framework.zero_stages)
    if zero_group is not None and (zero < 2 or (dp * cp) % zero_group):
        raise UsageError(
            f"--zero-group {zero_group}: needs ZeRO 2 or 3 and must divide the {dp * cp} data-parallel ranks"
        )
    return Layout(
        tp=tp,
        pp=pp,
        vpp=vpp,
        dp=dp,
        cp=cp,
        ep=ep,
        etp=etp,
        zero=zero,
        zero_group=zero_group or 0,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        global_batch=job.global_batch,
        recompute=recompute,
        sequence_parallel=sequence_parallel,
        schedule=schedule,
        offload=offload,
    )


def _framework(job: Job, catalog: Catalog) -> Framework:
    """The one framework of a job on its one accelerator."""
    if len(job.hardware) != 1:
        raise UsageError("an estimate needs exactly one accelerator; name it with --hardware")
    if len(job.frameworks) > 1:
        raise UsageError("an estimate is for one framework; name one with --framework")
    check_names(job, catalog)
    return site_of(catalog.accelerators[job.hardware[0]], job, catalog).framework


def _check_degrees(degrees: dict[str, int]) -> None:
    for name, degree in degrees.items():
        if degree < 1:
            raise UsageError(f"--{name} must be at least 1, not {degree}")
    accelerators = degrees["tp"] * degrees["pp"] * degrees["cp"] * degrees["dp"]
    if accelerators > MAX_ACCELERATORS:
        raise UsageError(f"tp·pp·cp·dp is {accelerators:,} accelerators; the most is {MAX_ACCELERATORS:,}")


def _check_recompute(recompute: str, *, deepest: int) -> None:
    """``deepest`` is the number of layers of the longest stage."""
    if recompute in {"none", "selective", "full"}:
        return
    if not _FIRST.fullmatch(recompute):
        raise UsageError(f"--recompute {recompute!r} is none of none, selective, full, first-N")
    if int(recompute.removeprefix("first-")) > deepest:
        raise UsageError(f"--recompute {recompute}: a stage has at most {deepest} layers")


def _schedule(schedule: str | None, pp: int, vpp: int) -> str:
    """The schedule that is named, or follows from the stages."""
    if schedule is not None and schedule not in get_args(Schedule):
        raise UsageError(f"--schedule {schedule!r} is none of {', '.join(get_args(Schedule))}")
    if pp == 1 and (vpp > 1 or schedule == "zero_bubble"):
        wanted = f"--vpp {vpp}" if vpp > 1 else "--schedule zero_bubble"
        raise UsageError(f"{wanted} needs pipeline stages (--pp above 1)")
    if schedule is None:
        schedule = "interleaved" if vpp > 1 else "1f1b"
    if (schedule == "interleaved") != (vpp > 1):
        raise UsageError(
            f"--schedule {schedule} with --vpp {vpp}: interleaved needs vpp above 1, 1f1b and zero_bubble need vpp 1"
        )
    return schedule
