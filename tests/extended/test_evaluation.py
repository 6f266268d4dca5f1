"""Candidates of the extended space against the exact search where both exist, and against the oracle beyond it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from statistics import NormalDist

import numpy as np
import pytest

from costmodels.adapters import total_adapter_params
from costmodels.goodput import goodput, lost_time_sigma_s, optimal_interval_s
from costmodels.interval import NORMAL_90
from costmodels.layout import Pipe, Shard
from costmodels.stage_params import stage_params
from optimizer.configure import configure
from optimizer.extended.candidate import EVEN, FITTED, SOLVED, Candidate, Outcome
from optimizer.extended.describe import described
from optimizer.extended.ground import Ground
from optimizer.extended.problem import Problem
from optimizer.extended.settle import settle
from optimizer.layout import Layout
from tests.extended.jobs import ALL, CATALOG, JOBS, exact, found, problem
from tests.optimizer.site_inputs import oracle_inputs
from tests.oracle import memory as oracle_memory
from tests.oracle import step as oracle_step
from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.memory import needed, rank_memory
from tests.oracle.overlap import beside
from tests.oracle.parameters import Arch, RankUnits, stage_parameters
from tests.oracle.step import Stages, run_seconds, shard_costs, stage_seconds, step_seconds


def some_points(p: Problem, number: int, seed: int = 0) -> list[Candidate]:
    """Candidates at random places of the box."""
    rng = np.random.default_rng(seed)
    found: dict[Candidate, None] = {}
    for _ in count():
        wish = {name: d.to_external_repr(_place(d, rng)) for name, d in p.domain.distributions.items()}
        one = p.domain.candidate(wish)
        if one is not None:
            found[one] = None
        if len(found) == number:
            return list(found)
    raise AssertionError


def _place(distribution: object, rng: np.random.Generator) -> float:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return float(rng.integers(len(choices)))
    low, high, step = distribution.low, distribution.high, distribution.step  # type: ignore[attr-defined]
    if step is None:
        return float(rng.uniform(low, high))
    return float(low + step * rng.integers(round((high - low) / step) + 1))


@pytest.mark.parametrize("name", JOBS)
def test_exact_solutions_have_the_figures_of_the_exact_search(name: str) -> None:
    p = problem(name)
    for leader in exact(name):
        one = p.candidate(leader)
        assert one is not None
        (outcome,) = p.grounds[one.site].evaluate([one])
        known = configure(leader.physics, Layout.of(leader.layout), leader.tariff)
        assert p.grounds[one.site].expert_overlap(one) == known.expert_overlap
        assert outcome.feasible
        assert outcome.cost_usd == pytest.approx(leader.cost_usd, rel=1e-12)
        assert outcome.wall_s == pytest.approx(leader.wall_s, rel=1e-12)
        assert max(outcome.memory_bytes) == pytest.approx(needed(known.memory), rel=1e-12)
        assert 1 - outcome.late == pytest.approx(known.p_deadline, rel=1e-9)
        assert described(p, settle(p, one))["p_fits"] == pytest.approx(known.p_fits, rel=1e-9)
        assert outcome.servers == {known.offer: known.servers}


@pytest.mark.parametrize("name", JOBS)
def test_nothing_enumerable_is_better_than_the_exact_optimum(name: str) -> None:
    p = problem(name)
    p.evaluate(some_points(p, 60))
    assert all(values[0] >= exact(name)[0].cost_usd * (1 - 1e-12) for values, _ in p.feasible())


@pytest.mark.parametrize("extend", [(), ALL], ids=["enumerable", "extended"])
@pytest.mark.parametrize("name", JOBS)
def test_every_candidate_is_a_point_of_the_box(name: str, extend: tuple) -> None:  # type: ignore[type-arg]
    p = problem(name, *extend)
    starts = p.starts(exact(name))
    for one in [*starts, *some_points(p, 40)]:
        assert p.domain.candidate(p.domain.parameters(one)) == one


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.tuning is None])
def test_extended_candidates_are_what_the_oracle_says_of_their_stages(name: str) -> None:
    p = problem(name, *ALL, batch_range=0.2)
    ready = [one for one in [*p.starts(exact(name)), *some_points(p, 24)] if one.pp <= 16]
    for one in ready:
        ground = p.grounds[one.site]
        (outcome,) = ground.evaluate([one])
        if outcome.excess[-1] <= 0:
            check_against_oracle(ground, one, outcome)


def check_against_oracle(ground: Ground, one: Candidate, outcome: Outcome) -> None:
    """The page's formulas, stage by stage, with the stage's own layers and recomputation."""
    site, job = ground.site, ground.job
    x = oracle_inputs(site, job)
    a, w, v = Arch(job.model), Recipe(x), Device(x)
    cut = Cut(
        tp=one.tp,
        sp=int(one.tp > 1 and site.framework.sequence_parallel),
        cp=one.cp,
        ep=one.ep,
        etp=1,
        micro_batch=one.micro_batch,
        pp=one.pp,
        vpp=one.vpp,
        zero_bubble=one.zero_bubble,
        dp=one.dp,
        zero=one.zero,
        zero_group=one.zero_group,
        micro_batches=one.micro_batches,
        selective=int(one.recompute == "selective"),
        offload_activations=one.offload_activations,
        offload_optimizer=one.offload_optimizer,
    )
    # The switch for the exchange of experts is one for all stages.
    most = max(again / layers for layers, again in zip(outcome.layers, outcome.recomputed, strict=True))
    shard, units = shard_costs(a, w, v, cut, job.seq, most), RankUnits(a, cut)
    overlap = ground.expert_overlap(one)
    assert (overlap is not None and overlap.on) == (one.ep > 1 and beside(a, w, cut, most))
    assert sum(outcome.layers) == a.layers
    seconds, held, params = [], [], []
    if one.split == EVEN and one.recompute != FITTED:
        return  # the exact search is checked against the oracle elsewhere
    for stage, (layers, again) in enumerate(zip(outcome.layers, outcome.recomputed, strict=True)):
        last = int(stage == one.pp - 1)
        dense, moe = layers, 0
        if a.moe_layers:
            dense = min(a.layers - a.moe_layers, layers) if stage == 0 else 0
            moe = layers - dense
        if one.split == EVEN:
            dense, moe = oracle_memory.stage_layers(a, one.pp, one.vpp, stage)
        share = again / layers
        with pytest.MonkeyPatch.context() as patch:
            for module in (oracle_memory, oracle_step):
                patch.setattr(module, "recomputed_share", lambda *_, share=share: share)
                patch.setattr(module, "stage_layers", lambda *_, dense=dense, moe=moe: (dense, moe))
            seconds.append(stage_seconds(a, v, cut, shard, dense, moe, last, a.mtp))
            held.append(needed(rank_memory(a, w, cut, job.seq, shard.saved, units, stage)))
        extra = last * a.mtp
        with_mtp = (dense, moe + extra) if a.moe_layers else (dense + extra, moe)
        params.append(stage_parameters(a, cut, units, stage, *with_mtp))
    stages = Stages(
        slow=max(s.total for s in seconds),
        where=[],
        forward=max(s.forward for s in seconds),
        backward=max(s.backward + s.recompute for s in seconds),
        wgrad=sum(s.wgrad for s in seconds) / one.pp,
        non_expert=max(n[0] for n in params),
        expert=max(n[1] for n in params),
        all_layers=sum(s.total for s in seconds),
        share=most,
    )
    step = sum(step_seconds(a, w, v, cut, job.seq, stages).values())
    _, wall = run_seconds(job.tokens, job.seq, cut, step, outcome.goodput)
    assert outcome.step_s == pytest.approx(step, rel=1e-9)
    assert outcome.wall_s == pytest.approx(wall, rel=1e-9)
    assert outcome.memory_bytes == pytest.approx(held, rel=1e-9)


@pytest.mark.parametrize("name", ["adapters", "experts' adapters"])
def test_uneven_stages_hold_all_adapters_and_all_frozen_weights_together(name: str) -> None:
    ground = problem(name, *ALL).grounds[0]
    a, tuning = ground.physics.architecture, ground.physics.tuning
    assert tuning is not None
    layers = np.array([1.0, 9.0, float(a.layers) - 10.0])
    moe = layers if a.experts > 0 else np.zeros(3)
    pipe, one = Pipe.from_values(pp=3, vpp=1, zero_bubble=0), Shard.from_values(**(dict.fromkeys(Shard.names(), 1.0)))
    held = stage_params(ground.physics.setting(one), pipe, np.arange(3.0), layers - moe, moe)
    assert np.sum(held.dense_params + held.expert_params) == pytest.approx(total_adapter_params(a, tuning.adapters))
    each = stage_params(
        ground.physics.setting(one), pipe, np.ones(1), np.ones(1) - moe[:1] / layers[0], moe[:1] / layers[0]
    )
    assert held.dense_bytes[1] == pytest.approx(9 * each.dense_bytes[0])
    assert held.expert_bytes[1] == pytest.approx(9 * each.expert_bytes[0])


@pytest.mark.parametrize(("accelerators", "checkpoint"), [(8, 300.0), (4096, 60.0), (16384, 3.0), (131072, 60.0)])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_no_interval_between_checkpoints_is_better_than_the_solved_one(
    accelerators: int, checkpoint: float, confidence: float
) -> None:
    """So neither Optuna nor anything else has to look for it: cost and days fall with goodput, and spares stay."""
    resilience = replace(problem("deep").grounds[0].physics.resilience, longest_checkpoint_s=np.asarray(checkpoint))
    n, work = np.asarray(float(accelerators)), 60 * 86400.0
    reliability, solved = resilience.on(n), resilience.interval_s(n)
    tried = np.append(solved * np.geomspace(0.01, 100.0, 4001), solved)
    mtbi = reliability.mtbi_s(n)
    share = goodput(mtbi, tried, reliability.checkpoint_s, reliability.recovery)
    spread = lost_time_sigma_s(np.asarray(work), mtbi, tried, reliability.recovery)
    # Who finds that failures are more frequent checkpoints as much more often.
    often = mtbi * np.exp(-NORMAL_90 * resilience.rate_log_sigma)
    shorter = tried / solved * optimal_interval_s(often, reliability.checkpoint_s)
    rates = np.log(share / goodput(often, shorter, reliability.checkpoint_s, reliability.recovery)) / NORMAL_90
    sigma = np.hypot(rates, spread * share / work)
    latest = work / share * np.exp(NormalDist().inv_cdf(confidence) * np.hypot(sigma, 0.1))
    assert latest[-1] <= latest.min() * (1 + 1e-4)


def test_a_solved_split_is_no_slower_than_the_even_one_and_fits_where_it_can() -> None:
    p = problem("deep", *ALL)
    ground = p.grounds[0]
    even = [one for one in some_points(p, 80) if one.pp > 1 and one.recompute != FITTED]
    even = [one._replace(split=EVEN) for one in even]
    before, after = ground.evaluate(even), ground.evaluate([one._replace(split=SOLVED) for one in even])
    fitting = [
        (one, solved)
        for plain, one, solved in zip(even, before, after, strict=True)
        if one.excess[0] <= 0 and plain.recompute in {"none", "full"}
    ]
    assert len(fitting) >= 5
    for one, solved in fitting:
        assert solved.excess[-1] <= 0
        assert solved.step_s <= one.step_s * (1 + 1e-9)


def test_fitted_recomputation_fits_wherever_full_recomputation_does_and_is_no_slower() -> None:
    p = problem("deep", *ALL)
    ground = p.grounds[0]
    full = [one._replace(recompute="full") for one in some_points(p, 80, seed=1)]
    fitted = [one._replace(recompute=FITTED) for one in full]
    pairs = zip(ground.evaluate(full), ground.evaluate(fitted), strict=True)
    fitting = [(before, after) for before, after in pairs if before.excess[0] <= 0]
    assert len(fitting) >= 5
    for before, after in fitting:
        assert after.excess[0] <= 0
        assert after.step_s <= before.step_s * (1 + 1e-9)


def test_candidates_are_evaluated_once_and_together_as_alone() -> None:
    p = Problem(JOBS["moe"], found("moe"), CATALOG, frozenset(ALL))
    points = some_points(p, 50)
    p.evaluate(points)
    p.evaluate(points[:20])
    assert p.evaluated == 50
    for one in points:
        (alone,) = p.grounds[one.site].evaluate([one])
        assert p.known[one].values == pytest.approx(p.figures(alone).values, rel=1e-12)
        assert p.known[one].excess == pytest.approx(p.figures(alone).excess, rel=1e-9, abs=1e-12)
        assert all(math.isfinite(x) for x in p.known[one].excess)
