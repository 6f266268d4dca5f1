"""One configuration with all its figures: the record that plans, estimates and alternatives are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UsageError
from catalogs.framework import Schedule
from costmodels.breakdown import micro_batch_breakdown
from costmodels.columns import Column
from costmodels.interval import interval_90, probability_below
from costmodels.layout import ALL_LAYERS, Pipe, Replicas, Shard
from costmodels.memory import needed_bytes, on_device
from costmodels.partition import peak_stages
from costmodels.run import DAY_S
from costmodels.stage import layers_of, recomputed_share, stage_bytes, stage_costs
from optimizer.expert_overlap import ExpertOverlap
from optimizer.job import MAX_ACCELERATORS, Job, OffloadChoice
from optimizer.market import check_names, site_of
from optimizer.physics import Physics
from optimizer.tariff import Tariff


@dataclass(frozen=True)
class Layout:
    """How the model is cut; the JSON names of ``layout`` in the schema.

    Attributes:
        tp, pp, vpp, dp, cp, ep, etp: parallel degrees.
        zero: ZeRO stage.
        zero_group: ranks sharing one copy of sharded state (0 = all data- and context-parallel ranks).
        micro_batch, micro_batches, global_batch: sequences per micro-batch, micro-batches and sequences per step.
        recompute: ``none``, ``selective``, ``full`` or ``first-N`` (leading N layers of each stage).
        sequence_parallel: whether the residual stream is split over tp.
        schedule: ``1f1b``, ``interleaved`` or ``zero_bubble``.
        offload: ``none``, ``optimizer`` or ``activations``.
    """

    tp: int
    pp: int
    vpp: int
    dp: int
    cp: int
    ep: int
    etp: int
    zero: int
    zero_group: int
    micro_batch: int
    micro_batches: int
    global_batch: int
    recompute: str
    sequence_parallel: bool
    schedule: str
    offload: str

    @classmethod
    def of(cls, degrees: dict[str, int]) -> Layout:
        """The record of the search's plain degrees."""
        layers = degrees["recompute_layers"]
        recompute = "full" if layers >= ALL_LAYERS else f"first-{layers}" if layers else "none"
        if degrees["selective"]:
            recompute = "selective"
        schedule = "zero_bubble" if degrees["zero_bubble"] else "interleaved" if degrees["vpp"] > 1 else "1f1b"
        offload = "optimizer" if degrees["offload_optimizer"] else "none"
        if degrees["offload_activations"]:
            offload = "activations"
        return cls(
            **{n: degrees[n] for n in ("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "zero", "zero_group")},
            micro_batch=degrees["micro_batch"],
            micro_batches=degrees["micro_batches"],
            global_batch=degrees["micro_batches"] * degrees["micro_batch"] * degrees["dp"],
            recompute=recompute,
            sequence_parallel=bool(degrees["sp"]),
            schedule=schedule,
            offload=offload,
        )

    @property
    def degrees(self) -> dict[str, int]:
        """The plain degrees that :meth:`of` reads."""
        layers = {"none": 0, "selective": 0, "full": int(ALL_LAYERS)}
        return {
            "tp": self.tp,
            "sp": int(self.sequence_parallel),
            "pp": self.pp,
            "vpp": self.vpp,
            "zero_bubble": int(self.schedule == "zero_bubble"),
            "dp": self.dp,
            "cp": self.cp,
            "ep": self.ep,
            "etp": self.etp,
            "zero": self.zero,
            "zero_group": self.zero_group,
            "micro_batch": self.micro_batch,
            "micro_batches": self.micro_batches,
            "selective": int(self.recompute == "selective"),
            "recompute_layers": layers[self.recompute]
            if self.recompute in layers
            else int(self.recompute.removeprefix("first-")),
            "offload_activations": int(self.offload == "activations"),
            "offload_optimizer": int(self.offload == "optimizer"),
        }

    @property
    def accelerators(self) -> int:
        """Accelerators in use."""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def shard(self) -> Shard:
        """The layer-level columns, 0-d."""
        return Shard.from_values(**{name: self.degrees[name] for name in Shard.names()})

    @property
    def pipe(self) -> Pipe:
        """The stage-level columns, 0-d."""
        return Pipe.from_values(**{name: self.degrees[name] for name in Pipe.names()})

    @property
    def replicas(self) -> Replicas:
        """The step-level columns, 0-d."""
        return Replicas.from_values(**{name: self.degrees[name] for name in Replicas.names()})


@dataclass(frozen=True)
class Configuration:
    """A cluster, a layout and what the models say about it; one entry of ``best`` or ``alternatives``.

    Attributes:
        hardware, server, framework, precision: catalog names.
        offer, provider, tenure: how it is paid for (None in an estimate without any offer).
        accelerators, servers: cluster size (servers are billed whole).
        days: wall-clock days of the run, goodput included.
        goodput: share of them in which training makes progress.
        interruptions, checkpoint_s, checkpoint_interval_s: expected interruptions of the run, seconds that a checkpoint
            stops it, and seconds of work between two (None where the goodput is stated).
        spares: spare servers that are bought along (0 when rented).
        steps: optimizer steps.
        step_s: seconds of one step.
        step_s_interval, days_interval: bounds that hold the actual figure with probability 0.9.
        p_fits: probability that the memory suffices.
        p_deadline: probability that the run ends by the deadline (None without one).
        tokens_per_s_per_accel: while training progresses.
        mfu, hfu: model and hardware FLOPs utilisation against the dense peak of the precision.
        cost_usd: sum of ``cost``.
        fits: whether ``memory`` is within capacity.
        layout: the degrees.
        memory: bytes by component on the fullest rank, and its pipeline stage.
        peak_stage: which stage that is.
        capacity_bytes: of the device.
        time: seconds of one step by component.
        cost: USD by component.
        profile: name of the fitted profile and how it was found.
        expert_overlap: whether dispatch and combine of experts are overlapped (None: there are none between ranks, or
            no switch for it, or it is off).
    """

    hardware: str
    server: str
    framework: str
    precision: str
    offer: str | None
    provider: str | None
    tenure: str | None
    accelerators: int
    servers: int
    days: float
    goodput: float
    interruptions: float | None
    checkpoint_s: float | None
    checkpoint_interval_s: float | None
    spares: int
    steps: int
    step_s: float
    step_s_interval: tuple[float, float]
    days_interval: tuple[float, float]
    p_fits: float
    p_deadline: float | None
    tokens_per_s_per_accel: float
    mfu: float
    hfu: float
    cost_usd: float | None
    fits: bool
    layout: Layout
    memory: dict[str, float]
    peak_stage: int
    capacity_bytes: float
    time: dict[str, float]
    cost: dict[str, float]
    profile: str
    expert_overlap: ExpertOverlap | None

    @property
    def memory_bytes(self) -> float:
        """Bytes on the fullest rank."""
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        layout = self.layout
        return {
            "hardware": self.hardware,
            "server": self.server,
            "offer": self.offer,
            "provider": self.provider,
            "tenure": self.tenure,
            "framework": self.framework,
            "precision": self.precision,
            "accelerators": self.accelerators,
            "servers": self.servers,
            "days": self.days,
            "days_interval": list(self.days_interval),
            "p_deadline": self.p_deadline,
            "goodput": self.goodput,
            "interruptions": self.interruptions,
            "checkpoint_s": self.checkpoint_s,
            "checkpoint_interval_s": self.checkpoint_interval_s,
            "spares": self.spares,
            "cost_usd": self.cost_usd,
            "fits": self.fits,
            "p_fits": self.p_fits,
            "mfu": self.mfu,
            "hfu": self.hfu,
            "steps": self.steps,
            "step_s": self.step_s,
            "step_s_interval": list(self.step_s_interval),
            "tokens_per_s_per_accel": self.tokens_per_s_per_accel,
            "layout": {name: getattr(layout, name) for name in Layout.__dataclass_fields__},
            "memory": self.memory
            | {
                "total_bytes": self.memory_bytes,
                "capacity_bytes": self.capacity_bytes,
                "peak_stage": self.peak_stage,
            },
            "time": self.time,
            "cost": self.cost,
            "profile": self.profile,
            "expert_overlap": None if self.expert_overlap is None else self.expert_overlap.to_json(),
        }


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
    if len(job.hardware) != 1:
        raise UsageError("an estimate needs exactly one accelerator; name it with --hardware")
    if len(job.frameworks) > 1:
        raise UsageError("an estimate is for one framework; name one with --framework")
    check_names(job, catalog)
    framework = site_of(catalog.accelerators[job.hardware[0]], job, catalog).framework
    degrees = {"tp": tp, "pp": pp, "vpp": vpp, "dp": dp, "cp": cp, "ep": ep, "etp": etp, "micro-batch": micro_batch}
    for name, degree in degrees.items():
        if degree < 1:
            raise UsageError(f"--{name} must be at least 1, not {degree}")
    if tp * pp * cp * dp > MAX_ACCELERATORS:
        raise UsageError(f"tp·pp·cp·dp is {tp * pp * cp * dp:,} accelerators; the most is {MAX_ACCELERATORS:,}")
    if recompute not in {"none", "selective", "full"} and not _FIRST.fullmatch(recompute):
        raise UsageError(f"--recompute {recompute!r} is none of none, selective, full, first-N")
    deepest = -(-job.model.layers // pp)
    if _FIRST.fullmatch(recompute) and int(recompute.removeprefix("first-")) > deepest:
        raise UsageError(f"--recompute {recompute}: a stage has at most {deepest} layers")
    if offload not in get_args(OffloadChoice):
        raise UsageError(f"--offload {offload!r} is none of {', '.join(get_args(OffloadChoice))}")
    if schedule is not None and schedule not in get_args(Schedule):
        raise UsageError(f"--schedule {schedule!r} is none of {', '.join(get_args(Schedule))}")
    if pp == 1 and (vpp > 1 or schedule == "zero_bubble"):
        wanted = f"--vpp {vpp}" if vpp > 1 else "--schedule zero_bubble"
        raise UsageError(f"{wanted} needs pipeline stages (--pp above 1)")
    if sequence_parallel and tp == 1:
        raise UsageError("--sequence-parallel splits over the tensor-parallel ranks; it needs --tp above 1")
    if schedule is None:
        schedule = "interleaved" if vpp > 1 else "1f1b"
    if (schedule == "interleaved") != (vpp > 1):
        raise UsageError(
            f"--schedule {schedule} with --vpp {vpp}: interleaved needs vpp above 1, 1f1b and zero_bubble need vpp 1"
        )
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
    if sequence_parallel is None:
        sequence_parallel = tp > 1 and framework.sequence_parallel
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


_FIRST = re.compile(r"first-[1-9]\d*")


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
    cost = {}
    if tariff is not None:
        parts = tariff.components(size, wall_s)
        cost = {name: _number(usd) for name, usd in parts.items()}
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
