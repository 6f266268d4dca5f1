"""Every combination, one after the other (docs/cost-models.md: sites and prices, the space, objective and order)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.offer import Offer
from optimizer.job import Job
from tests.oracle.inputs import Cut, Device, Inputs, Recipe
from tests.oracle.memory import fullest_rank, needed, recomputed_share
from tests.oracle.overlap import beside
from tests.oracle.parameters import Arch, RankUnits, partition_possible
from tests.oracle.run import failures_variance, goodput_of, spares_of
from tests.oracle.step import Price, Shard, Stages, bill, run_seconds, shard_costs, stages_of, step_seconds

USUAL = {
    "nvidia": "megatron-lm",
    "amd": "primus-megatron",
    "huawei": "mindspeed-llm",
    "google": "maxtext",
    "intel": "optimum-habana",
    "aws": "neuronx-distributed",
}


@dataclass(frozen=True)
class OracleSite:
    """Equal physics, and the prices kept for it."""

    inputs: Inputs
    multi_server: bool
    prices: tuple[Price, ...]

    def limit(self, job: Job) -> int:
        cap = min(max(p.cap for p in self.prices), job.max_accelerators)
        return math.floor(cap if self.multi_server else min(cap, self.inputs.per_server))


@dataclass
class Found:
    """The best row so far, and how many rows there are."""

    order: tuple[object, ...] = ()
    cut: Cut | None = None
    price: Price | None = None
    site: OracleSite | None = None
    cost: float = math.inf
    wall: float = math.inf
    space: int = 0
    plans: int = 0
    near: list[tuple[float, Cut]] = field(default_factory=list)

    @property
    def objective(self) -> float:
        return self.order[0] if self.order else math.inf  # type: ignore[return-value]


def sites(job: Job, catalog: Catalog) -> Iterator[OracleSite]:
    for name in job.hardware or tuple(catalog.accelerators):
        accelerator = catalog.accelerators[name]
        offers = [o for o in catalog.offers.values() if o.accelerator == name]
        offers = [o for o in offers if (o.name in job.offers if job.offers else o.tenure in job.tenures)]
        for framework in job.frameworks or (USUAL[accelerator.vendor],):
            yield from _sites(job, catalog, accelerator, framework, offers)


def _sites(
    job: Job, catalog: Catalog, accelerator: Accelerator, framework: str, offers: list[Offer]
) -> Iterator[OracleSite]:
    usual = catalog.server_of(accelerator.name)
    precision = job.precision
    if precision == "auto":
        precision = "bf16" if "bf16" in accelerator.peak_flops_per_s else "fp16"
    profile, _ = resolve_profile(catalog, accelerator, framework, precision)
    if usual.power_w is not None:
        per_accelerator = usual.power_w / usual.accelerators
    else:
        per_accelerator = accelerator.tdp_w or 0.0
    groups: dict[tuple[str, int, float, bool, bool], dict[tuple[object, ...], Price]] = {}
    for offer in offers:
        named = catalog.servers.get(offer.instance.lower())
        server = named if named is not None and named.accelerator == accelerator.name else usual
        fabric = server.fabric or usual.fabric
        assert fabric is not None
        multi = offer.training_grade
        if multi is None:
            multi = catalog.fabrics[fabric].training_grade
        unit = server.accelerators if multi and offer.accelerators_per_server == 1 else offer.accelerators_per_server
        out = offer.scale_out_bytes_per_s_per_accelerator
        out = out or server.scale_out_bytes_per_s_per_accelerator or usual.scale_out_bytes_per_s_per_accelerator
        usd = offer.price * catalog.currencies[offer.currency.lower()].usd
        if offer.unit == "server_hour":
            usd /= offer.accelerators_per_server
        if offer.unit == "server":
            usd *= unit / offer.accelerators_per_server
        price = Price(
            offer.name,
            offer.tenure,
            usd,
            unit,
            per_accelerator * unit,
            catalog.assumption("pue"),
            catalog.assumption("electricity-usd-per-kwh"),
            offer.max_servers * unit if offer.max_servers else math.inf,
            lambda servers, unit=unit: spares_of(servers, unit, accelerator, catalog),
            offer.min_servers or 1,
            offer.min_hours or 0.0,
        )
        assert out is not None
        kept = groups.setdefault((fabric, unit, out, multi, offer.tenure == "spot"), {})
        kind = (offer.tenure, offer.max_servers, offer.min_servers, offer.min_hours)
        rival = kept.get(kind)
        if rival is None or (usd, offer.name) < (rival.usd, rival.name):
            kept[kind] = price
    for (fabric, unit, out, multi, spot), kept in groups.items():
        inputs = Inputs(
            accelerator,
            catalog.frameworks[framework],
            profile,
            catalog.fabrics[fabric],
            out,
            unit,
            precision,
            job.optimizer,
            spot,
        )
        yield OracleSite(inputs, multi, tuple(kept.values()))


def shards(job: Job, site: OracleSite) -> Iterator[Cut]:
    m, w = job.model, site.inputs.framework
    limit, domain = site.limit(job), Device(site.inputs).domain
    shared = m.moe.shared_ffn if m.moe else 0
    experts = m.moe.experts if m.moe else 1
    for tp in range(1, min(m.heads, 64, limit) + 1):
        if m.heads % tp or m.ffn % tp or shared % tp or (m.kv_heads % tp and tp % m.kv_heads):
            continue
        if (tp > 1 and not w.tensor_parallel) or (domain % tp and tp % domain):
            continue
        cp = 1
        while cp == 1 or cp <= job.seq / 4096:
            if tp * cp <= limit and (cp == 1 or (w.context_parallel and job.seq % (2 * cp) == 0)):
                for ep in range(1, min(experts, limit) + 1):
                    if experts % ep or (ep > 1 and not w.expert_parallel):
                        continue
                    b = 1
                    while b <= min(64, job.global_batch):
                        yield Cut(tp, int(tp > 1 and w.sequence_parallel), cp, ep, 1, b)
                        b *= 2
            cp *= 2


def pipelines(job: Job, a: Arch, site: OracleSite) -> Iterator[tuple[int, int, int]]:
    w = site.inputs.framework
    for pp in range(1, min(a.layers, 128, site.limit(job)) + 1):
        if pp > 1 and not w.pipeline_parallel:
            break
        if partition_possible(a, pp, 1, w.uneven_pipeline):
            yield pp, 1, 0
            if pp > 1 and "zero_bubble" in w.schedules:
                yield pp, 1, 1
        if pp > 1 and "interleaved" in w.schedules:
            for vpp in range(2, a.layers // pp + 1):
                if partition_possible(a, pp, vpp, w.uneven_pipeline):
                    yield pp, vpp, 0


def recomputations(job: Job, site: OracleSite, full: int) -> list[tuple[int, int]]:
    """Selective, and how many leading layers."""
    w = site.inputs.framework
    kinds = []
    if "none" in job.recompute and "none" in w.recompute:
        kinds.append((0, 0))
    if "selective" in job.recompute and "selective" in w.recompute and (w.operator_recompute or not w.flash_attention):
        kinds.append((1, 0))
    if "full" in job.recompute and "full" in w.recompute:
        kinds.append((0, 10**6))
    if "partial" in job.recompute and "full" in w.recompute:
        kinds += [(0, n) for n in sorted({math.ceil(x * full) for x in (0.25, 0.5, 0.75)} - {full})]
    return kinds


def offloads(job: Job, site: OracleSite) -> list[tuple[int, int]]:
    """Of activations, of optimizer state."""
    w, host = site.inputs.framework, site.inputs.accelerator.host_link_bytes_per_s
    kinds = {"none": (0, 0), "optimizer": (0, 1), "activations": (1, 0)}
    return [v for k, v in kinds.items() if k in job.offload and k in w.offload and (k == "none" or host)]


def replicas(job: Job, site: OracleSite, ranks: int, b: int) -> list[tuple[int, int]]:
    """Degrees of data parallelism and their micro-batches."""
    unit, batch, tolerance = site.inputs.per_server, job.global_batch, job.batch_tolerance
    found = []
    for dp in range(1, min(site.limit(job) // ranks, math.floor(batch * (1 + tolerance))) + 1):
        if (ranks * dp) % unit and ranks * dp >= unit:
            continue
        m = max(round(batch / (dp * b)), 1)
        if abs(m * dp * b - batch) <= tolerance * batch:
            found.append((dp, m))
    return found


def spans(site: OracleSite, limit: int) -> list[int]:
    """Accelerators whose data-parallel ranks may share one copy of the sharded state."""
    domain = Device(site.inputs).domain
    return [domain * n for n in (1, 2, 4, 8, 16, 32) if 1 < domain * n < limit]


def grouped(c: Cut) -> bool:
    """Whether the groups that share state divide the data-parallel ranks, and are neither one rank nor all of them."""
    data = c.dp * c.cp
    return c.zero_group == 0 or (1 < c.zero_group < data and data % c.zero_group == 0)


def rows(job: Job, a: Arch, site: OracleSite) -> Iterator[tuple[Cut, Cut, Cut, list[tuple[int, int]]]]:
    """Shard, stage row, row but for its replicas, and the replicas."""
    w = site.inputs.framework
    limit = site.limit(job)
    cuts = list(pipelines(job, a, site))
    for shard in shards(job, site):
        for pp, vpp, zb in cuts:
            ranks = shard.tp * shard.cp * pp
            if ranks > limit:
                continue
            degrees = replicas(job, site, ranks, shard.micro_batch)
            for selective, layers in recomputations(job, site, math.ceil(a.layers / (pp * vpp)) * vpp):
                for activations, optimizer in offloads(job, site):
                    stage = replace(
                        shard,
                        pp=pp,
                        vpp=vpp,
                        zero_bubble=zb,
                        selective=selective,
                        recompute_layers=layers,
                        offload_activations=activations,
                    )
                    for zero in w.zero_stages:
                        if zero < 2 or pp == 1 or w.zero3_with_pipeline:
                            row = replace(stage, zero=zero, offload_optimizer=optimizer)
                            yield shard, stage, row, degrees
                            for span in spans(site, limit) if zero in w.hybrid_zero_stages else ():
                                # A span that holds no whole number of tensor groups is a row, but never a plan.
                                group = 1 if span % shard.tp else span // shard.tp
                                yield shard, stage, replace(row, zero_group=group), degrees


def days_sigma(job: Job, catalog: Catalog, x: Inputs, world: int, wall: float) -> float:
    """Deviation of log days (docs/cost-models.md: intervals)."""
    p, moe = x.profile, job.model.moe is not None
    own = p.moe_log_sigma if moe else p.log_sigma
    cluster = p.moe_cluster_log_sigma if moe else p.cluster_log_sigma
    scale = 0.04 * max(math.log2(world / p.largest), 0) if p.largest > 0 else 0.0
    return math.sqrt(own**2 + cluster**2 + scale**2 + failures_variance(job, catalog, x, world, wall))


def brute_force(job: Job, catalog: Catalog, objective: str = "cost", *, space_only: bool = False) -> Found:
    """The best row of all sites of a job, which compete."""
    found = Found()
    for site in sites(job, catalog):
        _site(job, catalog, site, objective, found, space_only=space_only)
    return found


def _site(job: Job, catalog: Catalog, site: OracleSite, objective: str, found: Found, *, space_only: bool) -> None:
    a, w, v = Arch(job.model), Recipe(site.inputs), Device(site.inputs)
    sizes = range(1, 0 if space_only else site.limit(job) + 1)
    goodput = {world: goodput_of(job, catalog, site.inputs, world) for world in sizes}
    deviations = NormalDist().inv_cdf(job.confidence)
    room = v.capacity * math.exp(-deviations * site.inputs.framework.memory_log_sigma)
    costs: dict[tuple[Cut, bool], Shard] = {}
    current: Cut | None = None
    stages: dict[bool, Stages] = {}
    for shard, stage, row, degrees in rows(job, a, site):
        found.space += len(degrees)
        if space_only or not degrees:
            continue
        selected = replace(shard, selective=stage.selective)
        if stage != current:
            current, stages = stage, {}
        units, share = RankUnits(a, stage), recomputed_share(a, stage)
        best: dict[str, tuple[float, float, float, Cut, Price]] = {}
        for dp, m in degrees:
            if (row.vpp > 1 and m % row.pp) or (row.tp * row.cp * dp) % row.ep:
                continue
            cut = replace(row, dp=dp, micro_batches=m)
            alone = dp == 1 or row.tp * row.cp * dp < 2 * row.ep or (row.zero > 0 and not row.zero_group)
            if not grouped(cut) or (job.recovery == "replica" and alone):
                continue
            runs = beside(a, w, cut, share)
            if (selected, runs) not in costs:
                costs[selected, runs] = shard_costs(a, w, v, cut, job.seq)
            layer = costs[selected, runs]
            if runs not in stages:
                stages[runs] = stages_of(a, v, stage, layer, units)
            step = sum(step_seconds(a, w, v, cut, job.seq, stages[runs]).values())
            _, wall = run_seconds(job.tokens, job.seq, cut, step, goodput[cut.world])
            if wall * math.exp(deviations * days_sigma(job, catalog, site.inputs, cut.world, wall)) > job.deadline_s:
                continue
            fits: bool | None = None
            for price in site.prices:
                cost = sum(bill(price, cut.world, wall).values())
                aim = cost if objective == "cost" else wall
                if cut.world > price.cap or cost > job.budget_usd or aim > found.objective * (1 + 1e-9):
                    continue
                if fits is None:
                    memory, _ = fullest_rank(a, w, cut, job.seq, layer.saved, units)
                    fits = needed(memory) <= room
                found.plans += fits
                if fits and (price.name not in best or (aim, cost, wall) < best[price.name][:3]):
                    best[price.name] = aim, cost, wall, cut, price
        for aim, cost, wall, cut, price in best.values():
            order = (aim, cost, wall, cut.world, *_order(cut), price.name)
            found.near = [(x, c) for x, c in found.near if x <= aim * (1 + 1e-9)]
            found.near.append((aim, cut))
            if not found.order or order < found.order:
                found.order, found.cut, found.price, found.site = order, cut, price, site
                found.cost, found.wall = cost, wall


def _order(c: Cut) -> tuple[int, ...]:
    return (
        c.tp,
        c.sp,
        c.pp,
        c.vpp,
        c.zero_bubble,
        c.dp,
        c.cp,
        c.ep,
        c.etp,
        c.zero,
        c.zero_group,
        c.micro_batch,
        c.micro_batches,
        c.selective,
        c.recompute_layers,
        c.offload_activations,
        c.offload_optimizer,
    )
