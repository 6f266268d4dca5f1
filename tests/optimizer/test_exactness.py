"""The search against plain enumeration on random small jobs, and every bound against the rows that it stands for."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnsupportedError
from optimizer.bounds import Objective
from optimizer.job import Job
from optimizer.market import sites
from optimizer.planning import pareto, plan
from optimizer.search import search
from optimizer.site import Site
from optimizer.site_search import SiteSearch
from optimizer.space import Spaces
from tests.optimizer.drawn import DAY_S, drawn_job, with_limits
from tests.optimizer.site_inputs import oracle_inputs
from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.memory import fullest_rank, needed
from tests.oracle.parameters import Arch, RankUnits
from tests.oracle.run import goodput_of, spares_of
from tests.oracle.search import brute_force, days_sigma, grouped
from tests.oracle.step import Price, bill, run_seconds, shard_costs, stages_of, step_seconds

JOBS, FAST_JOBS = 280, 16
PROOFS, FAST_PROOFS = 30, 3
FRONTS, FAST_FRONTS = 24, 2
BLOCKS, FAST_BLOCKS = 60, 4


def seeds(count: int, fast: int) -> list[object]:
    return [seed if seed < fast else pytest.param(seed, marks=pytest.mark.slow) for seed in range(count)]


def limited_job(seed: int) -> tuple[Job, list[Site], Catalog]:
    """A random job whose limits lie about its cheapest and its fastest plan without any."""
    job, catalog = drawn_job(seed)
    try:
        found, _ = sites(job, catalog)
    except UnsupportedError:
        pytest.skip("nothing that was drawn works together")
    cheapest, _ = search(job, found, catalog, keep=1)
    fastest, _ = search(job, found, catalog, "time", keep=1)
    if cheapest:
        extremes = [(one.cost_usd, one.wall_s) for one in (cheapest[0], fastest[0])]
        job = with_limits(job, seed, *extremes)
    return job, found, catalog


# --- the optimum --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(JOBS, FAST_JOBS))
def test_the_optimum_of_a_random_job_is_that_of_plain_enumeration(seed: int) -> None:
    job, found, catalog = limited_job(seed)
    objective: Objective = "time" if seed % 3 == 2 else "cost"
    pruned, certificate = search(job, found, catalog, objective, keep=3)
    whole, proof = search(job, found, catalog, objective, keep=3, prune=False)
    best = brute_force(job, catalog, objective)

    assert certificate.space == proof.space == best.space
    assert certificate.evaluated + sum(certificate.pruned.values()) == best.space
    assert proof.evaluated + proof.pruned.get("memory", 0) == best.space
    assert [one.order for one in pruned] == [one.order for one in whole]
    if best.cut is None:
        assert not pruned
        return
    assert pruned
    winner = pruned[0]
    assert winner.score == pytest.approx(best.objective, rel=1e-9)
    assert certificate.bound >= best.objective * (1 - 1e-9)
    # Of equal plans rounding may decide otherwise.
    assert Cut(**winner.layout) in [cut for aim, cut in best.near if aim <= best.objective * (1 + 1e-9)]
    if len(best.near) == 1:
        assert Cut(**winner.layout) == best.cut
        assert best.price is not None
        assert winner.tariff.price.offer.name == best.price.name
        assert (winner.cost_usd, winner.wall_s) == pytest.approx((best.cost, best.wall), rel=1e-9)


@pytest.mark.parametrize("seed", seeds(PROOFS, FAST_PROOFS))
def test_the_certificate_of_a_random_job_is_proved_by_full_enumeration(seed: int) -> None:
    job, _, catalog = limited_job(1000 + seed)
    try:
        answer = plan(job, catalog, top=2, prove=True)
    except InfeasibleError:
        assert brute_force(job, catalog).cut is None
        return
    proof = answer.certificate
    best = brute_force(job, catalog)
    assert answer.best.cost_usd == pytest.approx(best.cost, rel=1e-9)
    assert proof.gap(answer.best.cost_usd or 0.0) == 0
    assert proof.proved_rows is not None
    assert proof.evaluated <= proof.proved_rows <= best.space
    assert proof.evaluated + sum(proof.pruned.values()) == best.space


@pytest.mark.parametrize("seed", seeds(FRONTS, FAST_FRONTS))
def test_the_front_of_a_random_job_holds_the_optimum_under_any_limits(seed: int) -> None:
    job, catalog = drawn_job(3000 + seed)
    job = replace(job, confidence=0.5)
    try:
        front, certificate = pareto(job, catalog)
    except (InfeasibleError, UnsupportedError):
        pytest.skip("nothing that was drawn works together")
    assert certificate.space == certificate.evaluated + sum(certificate.pruned.values())
    figures = [(one.cost_usd or 0.0, one.days * DAY_S, one.accelerators) for one in front]
    rng = random.Random(seed)
    for _ in range(3):
        deadline_s = rng.choice(figures)[1] * rng.uniform(0.8, 1.5)
        most = rng.randint(1, job.max_accelerators)
        held = [cost for cost, wall_s, size in figures if wall_s <= deadline_s and size <= most]
        best = brute_force(replace(job, deadline_s=deadline_s, max_accelerators=most), catalog)
        assert best.cost == pytest.approx(min(held, default=math.inf), rel=1e-9)


# --- the bounds ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A stage row: its degrees but for the replicas, the bounds that it falls under, and where each way first fits."""

    cut: Cut
    degrees: list[int]
    bounds: dict[str, float]
    first_fit: dict[tuple[int, int, int], int]


def blocks(one: SiteSearch, rng: random.Random, count: int) -> Iterator[Block]:
    """Random blocks of a site's space, with every bound that would prune them."""
    shard_floors = one.shard_floors
    shards = np.flatnonzero(one.space.shard_rows > 0)
    for shard in rng.sample(list(shards), min(count, len(shards))):
        stages = one._expand(np.array([shard]))
        stage_floors = one.bounds.stage_floors(stages)
        row = rng.choice(list(np.flatnonzero(stages.rows > 0)))
        part = one._complete(stages.take(np.array([row])))
        world, b = int(part.world[0]), int(part.shard.micro_batch[0])
        degrees = one.space.replicas.values(world, b)
        s, p = part.shard, part.pipe
        ways = one.space.ways(int(p.pp[0]), int(s.offload_activations[0]))
        assert len(degrees) * len(ways) == part.rows[0]
        start, whole = np.zeros(1, dtype=np.int64), np.array([len(degrees)])
        cut = Cut(
            tp=int(s.tp[0]),
            sp=int(s.sp[0]),
            cp=int(s.cp[0]),
            ep=int(s.ep[0]),
            etp=int(s.etp[0]),
            micro_batch=b,
            pp=int(p.pp[0]),
            vpp=int(p.vpp[0]),
            zero_bubble=int(p.zero_bubble[0]),
            selective=int(s.selective[0]),
            recompute_layers=int(s.recompute_layers[0]),
            offload_activations=int(s.offload_activations[0]),
        )
        yield Block(
            cut,
            [int(d) for d in degrees],
            {"site bound": one.floor, "shard bound": float(shard_floors[shard]), "stage bound": stage_floors[row]},
            {way: int(one._first_fit(part, degrees, start, whole, way)[0]) for way in ways},
        )


def frictionless(site: Site) -> Site:
    """The site without overheads: what bounds leave out is then as small as it can be."""
    perfect = {"data_overlap": 1.0, "tensor_overlap": 1.0, "expert_overlap": 1.0}
    none = dict.fromkeys(("collective_s", "step_overhead_s", "layer_launch_s", "jitter_per_doubling"), 0.0)
    return replace(site, profile=site.profile.model_copy(update=perfect | none))


@pytest.mark.parametrize("seed", seeds(BLOCKS, FAST_BLOCKS))
def test_no_row_of_a_pruned_block_beats_its_bound(seed: int) -> None:
    """Every rule: values are the oracle's, for rows that meet the constraints; memory for all of them."""
    job, found, catalog = limited_job(2000 + seed)
    rng = random.Random(seed)
    objective: Objective = "time" if seed % 3 == 2 else "cost"
    for site in found[:3]:
        site = frictionless(site) if seed % 2 else site
        one = SiteSearch(job, site, catalog, objective, Spaces(job))
        for block in blocks(one, rng, 25):
            check_block(one, block, job, catalog)


def check_block(one: SiteSearch, block: Block, job: Job, catalog: Catalog) -> None:
    x = oracle_inputs(one.site, job)
    a, w, v = Arch(job.model), Recipe(x), Device(x)
    deviations = NormalDist().inv_cdf(job.confidence)
    room = v.capacity * math.exp(-deviations * x.framework.memory_log_sigma)
    units = RankUnits(a, block.cut)
    assert block.bounds["site bound"] <= block.bounds["shard bound"]
    for (zero, offload, span), first in block.first_fit.items():
        if span and (span % block.cut.tp or span == block.cut.tp):
            continue
        for place, dp in enumerate(block.degrees):
            m = max(round(job.global_batch / (dp * block.cut.micro_batch)), 1)
            cut = replace(block.cut, dp=dp, zero=zero, offload_optimizer=offload, micro_batches=m)
            cut = replace(cut, zero_group=span // cut.tp)
            costs = shard_costs(a, w, v, cut, job.seq)
            memory, _ = fullest_rank(a, w, cut, job.seq, costs.saved, units)
            assert (needed(memory) <= room) == (place >= first), cut
            if (cut.vpp > 1 and m % cut.pp) or (cut.tp * cut.cp * dp) % cut.ep or not grouped(cut):
                continue
            stages = stages_of(a, v, cut, costs, units)
            step = sum(step_seconds(a, w, v, cut, job.seq, stages).values())
            _, wall = run_seconds(job.tokens, job.seq, cut, step, goodput_of(job, catalog, x, cut.world))
            if wall * math.exp(deviations * days_sigma(job, catalog, x, cut.world, wall)) > job.deadline_s:
                continue
            for tariff in one.tariffs:
                offer = tariff.price.offer
                cap = offer.max_servers * x.per_server if offer.max_servers else math.inf
                terms = (tariff.server_w, tariff.pue, tariff.usd_per_kwh)
                spares = partial(spares_of, unit=x.per_server, accelerator=x.accelerator, catalog=catalog)
                price = Price(
                    offer.name,
                    offer.tenure,
                    tariff.price.usd,
                    x.per_server,
                    *terms,
                    cap,
                    spares,
                    offer.min_servers or 1,
                    offer.min_hours or 0.0,
                )
                cost = sum(bill(price, cut.world, wall).values())
                if cut.world <= cap and cost <= job.budget_usd:
                    value = cost if one.objective == "cost" else wall
                    for rule, bound in block.bounds.items():
                        assert bound <= value, (rule, cut, offer.name)
