"""All figures of one layout on a site."""

from __future__ import annotations

import numpy as np

from costmodels.breakdown import micro_batch_breakdown
from costmodels.columns import Column
from costmodels.interval import interval_90, probability_below
from costmodels.layers import layers_of
from costmodels.memory import needed_bytes, on_device
from costmodels.partition import peak_stages
from costmodels.recomputation import recomputed_share
from costmodels.run import DAY_S
from costmodels.stage_bytes import stage_bytes
from costmodels.stage_costs import stage_costs
from optimizer.configuration import Configuration
from optimizer.expert_overlap import ExpertOverlap
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.tariff import Tariff


def configure(physics: Physics, layout: Layout, tariff: Tariff | None) -> Configuration:
    """All figures of one layout on a site, paid for by a tariff (or unpriced)."""
    site = physics.site
    shard, pipe, replicas = layout.shard, layout.pipe, layout.replicas
    x = physics.setting(shard)
    layers = layers_of(x)
    costs = stage_costs(x, layers, pipe)
    step = physics.step(costs, shard, pipe, replicas)
    step_s = _number(sum(step.values(), start=np.zeros(())))
    micro_batch = micro_batch_breakdown(x, pipe, physics.beside(shard, pipe, replicas))
    expert_overlap = overlap_of(physics, layout) if layout.ep > 1 else None
    time = {name: _number(replicas.micro_batches * seconds) for name, seconds in micro_batch.items()}
    time |= {name: _number(seconds) for name, seconds in step.items() if name != "stages"}
    parts, peak_stage = _fullest_rank(physics, layout)
    accelerators = layout.accelerators
    size = np.asarray(float(accelerators))
    goodput = physics.goodput(size)
    wall_s = physics.wall(np.asarray(step_s), shard, replicas, goodput)
    step_sigma = physics.step_sigma(size)
    days_sigma = physics.days_sigma(size, wall_s, goodput)
    in_time = probability_below(np.asarray(physics.deadline_s), wall_s, days_sigma)
    held = on_device(parts, physics.device.memory_bytes)
    memory = {name: _number(value) for name, value in held.items()}
    needed, memory_sigma = needed_bytes(held), np.asarray(site.framework.memory_log_sigma)
    bill = {} if tariff is None else tariff.components(size, wall_s)
    cost = {name: _number(usd) for name, usd in bill.items()}
    tokens_per_s = layout.global_batch * physics.seq / step_s / accelerators
    of_model, of_hardware = physics.utilisation(tokens_per_s, recomputed_share(x, pipe), shard.selective)
    offer = tariff.price.offer if tariff is not None else None
    servers = -(-accelerators // site.server_accelerators)
    failures = physics.resilience.on(size) if physics.stated_goodput is None else None
    return Configuration(
        hardware=site.accelerator.name,
        server=site.server.name,
        framework=site.framework.name,
        precision=site.precision,
        offer=offer.name if offer else None,
        provider=offer.provider if offer else None,
        tenure=offer.tenure if offer else None,
        accelerators=accelerators,
        servers=servers,
        days=_number(wall_s) / DAY_S,
        goodput=_number(goodput),
        interruptions=None if failures is None else _number(failures.interruptions(size, wall_s)),
        checkpoint_s=None if failures is None else _number(failures.checkpoint_s),
        checkpoint_interval_s=None if failures is None else _number(physics.resilience.interval_s(size)),
        spares=0
        if tariff is None or not tariff.price.bought
        else round(_number(tariff.spares(np.asarray(float(servers))))),
        steps=round(_number(wall_s * goodput / step_s)),
        step_s=step_s,
        step_s_interval=_bounds(step_s, step_sigma),
        days_interval=_bounds(_number(wall_s) / DAY_S, days_sigma),
        p_fits=_number(probability_below(physics.device.memory_bytes, needed, memory_sigma)),
        p_deadline=_number(in_time) if np.isfinite(physics.deadline_s) else None,
        tokens_per_s_per_accel=_number(tokens_per_s),
        mfu=_number(of_model),
        hfu=_number(of_hardware),
        cost_usd=sum(cost.values()) if cost else None,
        fits=_number(needed) <= _number(physics.device.memory_bytes),
        layout=layout,
        memory=memory,
        peak_stage=peak_stage,
        capacity_bytes=_number(physics.device.memory_bytes),
        time=time,
        cost=cost,
        profile=site.profile_note or site.profile.name,
        expert_overlap=expert_overlap,
    )


def overlap_of(physics: Physics, layout: Layout) -> ExpertOverlap | None:
    """Whether a layout's experts exchange tokens beside another micro-batch (None: no switch, or it is off)."""
    lacks = physics.overlap_lacks(layout.shard, layout.pipe, layout.replicas)
    return None if lacks is None else ExpertOverlap(tuple(lacks), physics.site.framework.expert_overlap)


def _fullest_rank(physics: Physics, layout: Layout) -> tuple[dict[str, Column], int]:
    """Memory by component of the rank that holds most, and its stage."""
    shard, pipe, replicas = layout.shard, layout.pipe, layout.replicas
    x = physics.setting(shard)
    layers = layers_of(x)
    best: tuple[dict[str, Column], int] = ({}, 0)
    most = 0.0
    for stage in peak_stages(physics.architecture, pipe):
        parts = physics.memory(stage_bytes(x, layers, pipe, stage), shard, pipe, replicas)
        total = sum(_number(value) for value in parts.values())
        if total > most:
            best, most = (parts, int(stage)), total
    return best


def _bounds(middle: float, sigma: Column) -> tuple[float, float]:
    low, high = interval_90(np.asarray(middle), sigma)
    return _number(low), _number(high)


def _number(value: Column) -> float:
    return float(value)
