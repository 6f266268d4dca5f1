"""Why the nearest losers lose: every layout one change away from the best one, with what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from catalogs.catalog import Catalog
from costmodels.run import DAY_S
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.failure_rates import failure_rate
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.leaders import Leader
from optimizer.recovery import told_recovery
from optimizer.site import Refusal
from optimizer.validity import broken_rules

GIB = 2.0**30


def losing_neighbours(job: Job, winner: Leader, best: Configuration) -> list[Refusal]:
    """The layouts one change away from the best, on about as many accelerators, and why each loses."""
    refusals = []
    for what, layout in _neighbours(best.layout, winner):
        broken = broken_rules(layout, winner.physics, winner.job)
        if broken:
            continue
        one = configure(winner.physics, layout, winner.tariff)
        if (reason := _reason(job, one, best)) is not None:
            refusals.append(Refusal(what, reason))
    return refusals


def told_goodput(one: Configuration, job: Job, catalog: Catalog) -> str:
    """Where a configuration's goodput comes from, in words."""
    if one.interruptions is None or one.checkpoint_s is None or one.checkpoint_interval_s is None:
        return f"goodput {one.goodput:.0%}, as given"
    minutes = one.checkpoint_interval_s / 60
    expected = f"{_count(one.interruptions)} interruptions expected, {told_rate(one, catalog)}"
    cost = told_recovery(job.recovery, catalog)
    return (
        f"goodput {one.goodput:.1%}: {expected}, each of which costs {cost}; a checkpoint every {minutes:.0f} min "
        f"stops training for {one.checkpoint_s:.0f} s; --recovery and --goodput state others"
    )


def told_rate(one: Configuration, catalog: Catalog) -> str:
    """How often an accelerator interrupts the job, how sure that is, and where it comes from, in words."""
    accelerator = catalog.accelerators[one.hardware]
    rate = failure_rate(accelerator, catalog)
    said = f"one in {rate.hours:,.0f} accelerator-hours"
    if rate.told.interval is not None:
        low, high = rate.told.interval
        said += f" ({low:,.0f} to {high:,.0f} holds 90% of clusters)"
    if rate.clusters is None:
        return f"{said} as the assumption {rate.told.name} says"
    if rate.clusters == 0:
        return f"{said} by the published clusters of all kinds, for none of {accelerator.family} is known"
    plural = "s" if rate.clusters > 1 else ""
    return (
        f"{said} by {rate.clusters} published {accelerator.family} cluster{plural} and those of other kinds "
        "(catalog list interruptions)"
    )


def _count(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def _reason(job: Job, one: Configuration, best: Configuration) -> str | None:
    if not one.fits:
        over = one.memory_bytes - one.capacity_bytes
        return (
            f"does not fit: stage {one.peak_stage} needs {one.memory_bytes / GIB:.1f} GiB of "
            f"{one.capacity_bytes / GIB:.1f} GiB, {over / GIB:.1f} GiB too much"
        )
    if one.p_fits < job.confidence:
        return f"fits with a probability of {one.p_fits:.0%} only"
    days = one.days * DAY_S
    if days > job.deadline_s:
        return f"misses the deadline by {(days - job.deadline_s) / DAY_S:.1f} days (step {one.step_s:.2f} s)"
    if one.p_deadline is not None and one.p_deadline < job.confidence:
        return f"meets the deadline with a probability of {one.p_deadline:.0%} only ({one.days:.1f} days)"
    if one.cost_usd is not None and best.cost_usd is not None and one.cost_usd > best.cost_usd:
        slower = one.tokens_per_s_per_accel / best.tokens_per_s_per_accel - 1
        more = one.cost_usd / best.cost_usd - 1
        return f"costs {100 * more:.1f}% more ({100 * slower:+.1f}% tokens/s per accelerator)"
    return None


def _neighbours(best: Layout, winner: Leader) -> Iterator[tuple[str, Layout]]:
    """Changes a practitioner would try, each with the data-parallel degree that keeps the cluster size."""
    for name, label in (("tp", "tensor parallel"), ("cp", "context parallel")):
        value = getattr(best, name)
        for other in (2 * value, value // 2):
            if other >= 1 and other != value:
                sequence = other > 1 and winner.site.framework.sequence_parallel
                change = {name: other}
                flag = {"sequence_parallel": sequence} if name == "tp" else {}
                if layout := _resized(best, winner, **change, **flag):
                    yield f"{label} {other} instead of {value}", layout
    depths = sorted({int(pp) for pp in winner.space.choices.pipe.pp})
    place = depths.index(best.pp)
    for other in (*depths[max(place - 1, 0) : place], *depths[place + 1 : place + 2]):
        if layout := _resized(best, winner, pp=other, vpp=1, schedule="1f1b"):
            yield f"{other} pipeline stages instead of {best.pp}", layout
    if best.vpp > 1 and (layout := _resized(best, winner, vpp=1, schedule="1f1b")):
        yield f"no interleaving instead of {best.vpp} chunks per stage", layout
    for other in (2 * best.micro_batch, best.micro_batch // 2):
        if other >= 1 and (layout := _resized(best, winner, micro_batch=other)):
            yield f"micro-batch {other} instead of {best.micro_batch}", layout
    if best.recompute != "none" and (layout := _resized(best, winner, recompute="none")):
        yield f"no recomputation instead of {best.recompute}", layout
    if best.recompute != "full" and (layout := _resized(best, winner, recompute="full")):
        yield f"full recomputation instead of {best.recompute}", layout
    for other in winner.space.zero:
        if other != best.zero and (layout := _resized(best, winner, zero=other)):
            yield f"ZeRO {other} instead of {best.zero}", layout
    if best.zero_group and (layout := _resized(best, winner, zero_group=0)):
        yield f"state shared by all replicas instead of groups of {best.zero_group}", layout
    for other in (2 * best.ep, best.ep // 2):
        if winner.job.model.moe and other >= 1 and (layout := _resized(best, winner, ep=other)):
            yield f"expert parallel {other} instead of {best.ep}", layout
    degrees = winner.space.replicas.values(best.tp * best.cp * best.pp, best.micro_batch)
    smaller, larger = [int(d) for d in degrees if d < best.dp], [int(d) for d in degrees if d > best.dp]
    for other in (*smaller[-1:], *larger[:1]):
        if layout := _with_replicas(best, winner, other):
            yield f"{other} replicas ({layout.accelerators} accelerators) instead of {best.dp}", layout


def _resized(best: Layout, winner: Leader, **changes: object) -> Layout | None:
    """The best layout with changes, and the data-parallel degree nearest to the same cluster size."""
    changed = replace(best, **changes)  # type: ignore[arg-type]
    world = changed.tp * changed.cp * changed.pp
    if world > best.accelerators:
        return None
    degrees = winner.space.replicas.values(world, changed.micro_batch)
    if len(degrees) == 0:
        return None
    nearest = min((int(d) for d in degrees), key=lambda d: (abs(d * world - best.accelerators), d))
    return _with_replicas(changed, winner, nearest)


def _with_replicas(layout: Layout, winner: Leader, dp: int) -> Layout:
    micro_batches = winner.space.replicas.micro_batches_of(dp, layout.micro_batch)
    group, data = layout.zero_group, dp * layout.cp
    if group and (layout.zero < 2 or group >= data or data % group):
        layout = replace(layout, zero_group=0)
    return replace(layout, dp=dp, micro_batches=micro_batches, global_batch=micro_batches * layout.micro_batch * dp)
