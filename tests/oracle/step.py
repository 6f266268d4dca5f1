"""Seconds of stages and steps, the run and its bill (docs/cost-models.md: a stage, a step, a run)."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

from catalogs.model import Model
from tests.oracle.activations import Saved
from tests.oracle.collectives import all_reduce_latency, gather, group_bandwidth, neighbour, ring_latency
from tests.oracle.flops import utilisation
from tests.oracle.inputs import Cut, Device, Inputs, Recipe
from tests.oracle.layer import Pass, head, layer, tokens
from tests.oracle.memory import fullest_rank, needed, on_device, recomputed_share, saved_activations
from tests.oracle.overlap import beside
from tests.oracle.parameters import Arch, RankUnits, candidate_stages, stage_layers, stage_parameters

TIE = 1e-12
DAY, HOUR, YEAR = 86400.0, 3600.0, 365 * 86400.0
TERMS = {"reserved_1y": YEAR, "reserved_3y": 3 * YEAR}


@dataclass
class Shard:
    """What one cut of a layer costs; ``again`` is an MoE layer with no other micro-batch beside."""

    dense: Pass
    moe: Pass
    head: Pass
    saved: Saved
    again: Pass


def shard_costs(a: Arch, w: Recipe, v: Device, c: Cut, seq: int, share: float | None = None) -> Shard:
    dense = layer(a, w, v, c, seq, moe=False)
    alone = layer(a, w, v, c, seq, moe=True) if a.moe_layers else Pass()
    runs = beside(a, w, c, recomputed_share(a, c) if share is None else share)
    moe = layer(a, w, v, c, seq, moe=True, beside=True) if runs else alone
    return Shard(dense, moe, head(a, w, v, c, seq), Saved(a, w, c, seq), alone)


@dataclass
class StageSeconds:
    forward: float
    backward: float
    recompute: float
    offload: float
    wgrad: float

    @property
    def total(self) -> float:
        return self.forward + self.backward + self.recompute + self.offload


def stage_seconds(a: Arch, v: Device, c: Cut, x: Shard, dense: int, moe: int, last: int, mtp: int) -> StageSeconds:
    extra = last * mtp
    if a.moe_layers > 0:
        moe += extra
    else:
        dense += extra
    heads = last + extra
    share = recomputed_share(a, c)
    body = dense * x.dense.total(0) + moe * x.moe.total(0)
    again = dense * x.dense.total(0) + moe * x.again.total(0)
    recompute = share * again + (1 - share) * (dense * x.dense.selective + moe * x.moe.selective)
    forward = body + heads * x.head.total(0)
    backward = dense * x.dense.total(1) + moe * x.moe.total(1) + heads * x.head.total(1)
    wgrad = dense * x.dense.wgrad + moe * x.moe.wgrad + heads * x.head.wgrad
    act = saved_activations(share, x.saved, dense, moe)
    offload = max(2 * c.offload_activations * act / v.host - forward - backward - recompute, 0.0)
    return StageSeconds(forward, backward, recompute, offload, wgrad)


@dataclass
class Stages:
    """What a step needs of its stages."""

    slow: float
    where: list[int]
    forward: float
    backward: float
    wgrad: float
    non_expert: float
    expert: float
    all_layers: float
    share: float = 0.0


def stages_of(a: Arch, v: Device, c: Cut, x: Shard, u: RankUnits) -> Stages:
    s = Stages(-1.0, [], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, recomputed_share(a, c))
    totals: dict[int, float] = {}
    for stage in candidate_stages(a, c.pp, c.vpp):
        last = int(stage == c.pp - 1)
        dense, moe = stage_layers(a, c.pp, c.vpp, stage)
        one = stage_seconds(a, v, c, x, dense, moe, last, a.mtp)
        totals[stage] = one.total
        s.forward = max(s.forward, one.forward)
        s.backward = max(s.backward, one.backward + one.recompute)
        extra = last * a.mtp
        with_mtp = (dense, moe + extra) if a.moe_layers else (dense + extra, moe)
        pd, pe, _ = stage_parameters(a, c, u, stage, *with_mtp)
        s.non_expert, s.expert = max(s.non_expert, pd), max(s.expert, pe)
    s.slow = max(totals.values())
    s.where = [stage for stage, total in totals.items() if total > s.slow * (1 - TIE)]
    for stage in range(c.pp):
        dense, moe = stage_layers(a, c.pp, c.vpp, stage)
        s.wgrad += stage_seconds(a, v, c, x, dense, moe, int(stage == c.pp - 1), a.mtp).wgrad / c.pp
    s.all_layers = stage_seconds(a, v, c, x, a.dense_layers, a.moe_layers, 1, a.mtp).total
    return s


def hide(w: Recipe, v: Device, seconds: float, window: float) -> float:
    return seconds - min(w.overlaps * v.v_dp * seconds, window)


def data_seconds(a: Arch, w: Recipe, v: Device, c: Cut, s: Stages) -> float:
    if w.overlap_or_data and beside(a, w, c, s.share):
        w = copy(w)
        w.overlaps = 0
    data = c.dp * c.cp
    ranks = min(c.zero_group, data) if c.zero_group > 0 else data
    expert_replicas = c.tp * c.cp * c.dp / (c.ep * c.etp)
    expert_ranks = max(min(expert_replicas, ranks) if c.zero_group > 0 else expert_replicas, 1)
    reduce = gathers = copies = 0.0
    for params, split, replicas, stride in (
        (s.non_expert, ranks, data, c.tp),
        (s.expert, expert_ranks, expert_replicas, c.ep * c.etp),
    ):
        if not params:
            continue
        bandwidth, latency = group_bandwidth(v, split, stride), ring_latency(v, split, stride)
        if c.zero == 3:
            latency *= math.ceil(a.layers / c.pp)
        reduce += gather(w.reduce_bytes * params, split, bandwidth, latency)
        travels = w.reduce_bytes if c.zero == 0 else w.gather_bytes
        gathers += gather(travels * params, split, bandwidth, latency)
        n = max(replicas / split, 1)
        across = group_bandwidth(v, n, stride * split), all_reduce_latency(v, n, stride * split)
        copies += 2 * gather(w.reduce_bytes * params / split, n, *across)
    m = c.micro_batches
    if c.zero <= 1:
        return hide(w, v, reduce, s.backward) + hide(w, v, gathers, s.forward) + hide(w, v, copies, s.backward)
    if c.zero == 2:
        return m * hide(w, v, reduce, s.backward) + hide(w, v, copies, s.backward) + hide(w, v, gathers, s.forward)
    per_micro_batch = hide(w, v, gathers, s.forward) + hide(w, v, gathers + reduce, s.backward)
    return m * per_micro_batch + hide(w, v, copies, s.backward)


def step_seconds(a: Arch, w: Recipe, v: Device, c: Cut, seq: int, s: Stages) -> dict[str, float]:
    m = c.micro_batches
    bubble = (s.all_layers - s.slow) / c.vpp
    if c.zero_bubble:
        bubble = max(bubble - 2 * (c.pp - 1) * s.wgrad, 0.0)
    pipeline = 0.0
    if c.pp > 1:
        t, _, _ = tokens(a, c, seq)
        one = neighbour(v, 2.0 * a.h * t / c.tp, c.tp * c.cp * c.dp, c.pp)
        pipeline = (1 - v.v_tp if c.vpp > 1 else 1.0) * 2 * (m * c.vpp + c.pp - 1) * one
    data = c.dp * c.cp
    ranks = min(c.zero_group, data) if c.zero_group > 0 else data
    same_experts = c.tp * c.cp * c.dp / (c.ep * c.etp)
    expert_ranks = max(min(same_experts, ranks) if c.zero_group > 0 else same_experts, 1)
    sharded = c.zero >= 1
    params = s.non_expert / (ranks if sharded else 1) + s.expert / (expert_ranks if sharded else 1)
    moved = params * (2 * (w.master + w.moment) + w.gradient + (1 if w.master > 0 else 2) * w.parameter)
    parts = {
        "stages": m * s.slow,
        "bubble": bubble,
        "pipeline_comm": pipeline,
        "data_comm": data_seconds(a, w, v, c, s),
        "optimizer": (1 - c.offload_optimizer) * moved / (v.bandwidth * v.e_mem) + c.offload_optimizer * moved / v.host,
    }
    steady = sum(parts.values())
    parts["overhead"] = v.t_step
    parts["jitter"] = steady * v.jitter * math.log2(max(c.world / v.per_server, 1.0))
    return parts


def breakdown(a: Arch, v: Device, c: Cut, x: Shard, stage: int) -> dict[str, float]:
    """Seconds by cause of one micro-batch on a stage."""
    last = int(stage == c.pp - 1)
    dense, moe = stage_layers(a, c.pp, c.vpp, stage)
    one = stage_seconds(a, v, c, x, dense, moe, last, a.mtp)
    extra = last * a.mtp
    if a.moe_layers > 0:
        moe += extra
    else:
        dense += extra

    def both(cause: str) -> float:
        return dense * sum(getattr(x.dense, cause)) + moe * sum(getattr(x.moe, cause))

    return {
        "matmul": both("matmul"),
        "attention": both("core"),
        "elementwise": both("memory"),
        "launch": both("launch"),
        "tensor_comm": both("tensor"),
        "context_comm": both("context"),
        "expert_comm": both("expert"),
        "head": (last + extra) * (x.head.total(0) + x.head.total(1)),
        "recompute": one.recompute,
        "offload": one.offload,
    }


def run_seconds(tokens_: float, seq: int, c: Cut, step: float, goodput: float) -> tuple[int, float]:
    batch = c.micro_batches * c.dp * c.micro_batch
    steps = math.ceil(tokens_ / (batch * seq))
    return steps, steps * step / goodput


@dataclass(frozen=True)
class Price:
    """What one way of paying charges."""

    name: str
    tenure: str
    usd: float
    unit: int
    watts: float = 0.0
    pue: float = 1.0
    usd_per_kwh: float = 0.0
    cap: float = math.inf
    spares: Callable[[int], int] = lambda servers: 0
    least_servers: int = 1
    least_hours: float = 0.0


def bill(p: Price, world: int, wall: float) -> dict[str, float]:
    servers = math.ceil(world / p.unit)
    if p.tenure == "purchase":
        energy = servers * p.watts * p.pue * wall / 3.6e6 * p.usd_per_kwh
        return {"servers": servers * p.usd, "spares": p.spares(servers) * p.usd, "energy": energy}
    term = max(TERMS.get(p.tenure, 0.0), p.least_hours * HOUR)
    return {"rent": max(servers, p.least_servers) * p.unit * p.usd * max(wall, term) / HOUR}


def evaluate(
    model: Model, tokens_: float, seq: int, goodput: float, x: Inputs, c: Cut, price: Price | None
) -> dict[str, Any]:
    """Every figure of one layout on one site; the split of seconds for each stage that is slowest but for rounding."""
    a, w, v = Arch(model), Recipe(x), Device(x)
    shard, units = shard_costs(a, w, v, c, seq), RankUnits(a, c)
    stages = stages_of(a, v, c, shard, units)
    parts = step_seconds(a, w, v, c, seq, stages)
    step = sum(parts.values())
    rest = {name: s for name, s in parts.items() if name != "stages"}
    times = [
        {name: c.micro_batches * s for name, s in breakdown(a, v, c, shard, stage).items()} | rest
        for stage in stages.where
    ]
    memory, peak_stage = fullest_rank(a, w, c, seq, shard.saved, units)
    memory = on_device(memory, v.capacity)
    steps, wall = run_seconds(tokens_, seq, c, step, goodput)
    cost = bill(price, c.world, wall) if price else {}
    rate = c.micro_batches * c.dp * c.micro_batch * seq / step / c.world
    share, selective = recomputed_share(a, c), c.selective
    if selective and w.op_recompute:
        share, selective = share + (1 - share) * 0.5, 0
    mfu, hfu = utilisation(a, seq, rate, v.peak, share, selective)
    return {
        "memory": memory,
        "peak_stage": peak_stage,
        "times": times,
        "step_s": step,
        "steps": steps,
        "days": wall / DAY,
        "goodput": goodput,
        "cost": cost,
        "cost_usd": sum(cost.values()),
        "tokens_per_s_per_accel": rate,
        "mfu": mfu,
        "hfu": hfu,
        "fits": needed(memory) <= v.capacity,
    }
