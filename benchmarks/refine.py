"""Sampling against the exact search: what samplers reach on spaces whose optimum is proven, and what lies beyond them.

python benchmarks/refine.py cold       the default sampler without a start, on spaces seen and not seen before
python benchmarks/refine.py samplers   every sampler, alone and with neighbours of the best
python benchmarks/refine.py fronts     three objectives
python benchmarks/refine.py shares     continuous variables alone; cma and gp need: pip install cmaes torch scipy
python benchmarks/refine.py gains      plans beyond the enumerable space
python benchmarks/refine.py all --record

--record writes the tables into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.spaces import DAY_S, Enumerable, drawn, named
from catalogs import Catalog
from costmodels.goodput import goodput
from optimizer.extended.candidate import LIMITS, Candidate
from optimizer.extended.ground import Ground
from optimizer.extended.problem import Objective, Problem
from optimizer.extended.refine import refine
from optimizer.extended.sampler import SAMPLERS, SamplerName, default_sampler, make_sampler
from optimizer.extended.study import BATCH, NEIGHBOURS, Sampling
from optimizer.job import Job
from optimizer.request import read_job
from optimizer.search import search

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"

NEAR = 0.005
"""A plan is near the optimum if it costs at most so much more."""

EVALUATIONS = 2000
MOST_POINTS = 2 * EVALUATIONS
"""Points of a run at most: a sampler that asks for what is known comes to an end too."""

CHOSEN, UNSEEN = 1, 2026
"""Seeds of the spaces on which the constants of the sampling were chosen, and of those looked at once, afterwards."""

THREE: tuple[Objective, ...] = ("cost", "days", "accelerators")
FRONT_NEAR = 0.01

BEYOND: tuple[tuple[str, float, float, str], ...] = (
    ("deepseek-v3", 14.8e12, 90, "ascend-910b"),
    ("kimi-k2", 15.5e12, 90, "h100-sxm-80g"),
    ("qwen3-235b-a22b", 5e12, 60, "h100-sxm-80g"),
    ("gemma-3-27b", 6e12, 60, "a100-sxm-40g"),
    ("bloom-176b", 3.6e11, 90, "a100-sxm-80g"),
    ("gpt3-175b", 3e11, 30, "v100-sxm-32g"),
    ("llama-2-70b", 2e12, 90, "a800-sxm-80g"),
    ("llama-3.1-405b", 15.6e12, 80, "h100-sxm-80g"),
)
"""Spaces to go beyond, those without a gain included."""

MIXED, A800 = ("llama-2-70b", 2e12), "a800-sxm-80g"

POOLS = """
- {name: pool-contract, provider: one cloud, accelerator: a800-sxm-80g, accelerators_per_server: 8, tenure: on_demand,
   price: 0.80, currency: USD, unit: accelerator_hour, max_servers: 64, date: '2026-11', sources: {'*': an example}}
- {name: pool-list, provider: one cloud, accelerator: a800-sxm-80g, accelerators_per_server: 8, tenure: on_demand,
   price: 1.40, currency: USD, unit: accelerator_hour, date: '2026-11', sources: {'*': an example}}
"""
"""Sixty-four servers under contract, and as many as wanted at list price."""

Row = Sequence[str]
A, R = TypeVar("A"), TypeVar("R")


@cache
def catalog() -> Catalog:
    return Catalog()


def apart(function: Callable[[A], R], tasks: Iterable[A], processes: int) -> Iterator[R]:
    """Results in the order of the tasks, from several processes."""
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(function, tasks)


@dataclass(frozen=True)
class Run:
    """A cold run: how it samples, and from which seed."""

    space: Enumerable
    sampler: SamplerName
    seed: int
    near: float = NEIGHBOURS
    objectives: tuple[Objective, ...] = ("cost",)

    def sampling(self) -> Sampling:
        problem = Problem(self.space.job, self.space.sites, catalog(), frozenset(), self.objectives)
        return Sampling(problem, self.sampler, self.seed, near=self.near)


@dataclass(frozen=True)
class Reached:
    """How near a run came, and after how many evaluations it was near enough."""

    above: float
    near_after: int | None
    process_s: float

    @property
    def cell(self) -> str:
        if self.near_after is not None:
            return f"{self.near_after:,}"
        return f"no ({self.above:.2%})" if math.isfinite(self.above) else "no plan"


def cold(run: Run) -> Reached:
    """Sample an enumerable space until the optimum is near, or so many candidates have been evaluated."""
    sampling = run.sampling()
    problem = sampling.problem
    start, above = time.process_time(), float("inf")
    while above > NEAR and problem.evaluated < EVALUATIONS and sampling.points < MOST_POINTS:
        sampling.run(BATCH)
        feasible = problem.feasible()
        above = feasible[0][0][0] / run.space.optimum_usd - 1 if feasible else above
    near = above <= NEAR and problem.evaluated <= EVALUATIONS
    return Reached(above, problem.evaluated if near else None, time.process_time() - start)


def summary(reached: Sequence[Reached]) -> str:
    """So many near of all, the median of their evaluations, and the worst of the others."""
    after = [one.near_after for one in reached if one.near_after is not None]
    others = [one.above for one in reached if one.near_after is None]
    far = [above for above in others if math.isfinite(above)]
    text = f"{len(after)} of {len(reached)}, median {median(after):,.0f}, most {max(after):,}"
    if far:
        text += f"; the worst of the others {max(far):.2%} above"
    return text if len(far) == len(others) else f"{text}; {len(others) - len(far)} without any feasible plan"


def show_cold(processes: int) -> str:
    seeds = range(3)
    groups = {
        "the ten": list(named(catalog())),
        "drawn while choosing": list(drawn(catalog(), CHOSEN, 20)),
        "not seen before": list(drawn(catalog(), UNSEEN, 20)),
    }
    spaces = [(group, space) for group, members in groups.items() for space in members]
    runs = [Run(space, default_sampler(("cost",)), seed) for _, space in spaces for seed in seeds]
    found = list(apart(cold, runs, processes))
    lines, reached = [], {group: list[Reached]() for group in groups}
    for place, (group, space) in enumerate(spaces):
        part = found[place * len(seeds) : (place + 1) * len(seeds)]
        reached[group].extend(part)
        lines.append([group, space.name, f"{space.rows:,}", *(one.cell for one in part)])
    heads = ["spaces", "space", "rows", *(f"seed {seed}" for seed in seeds)]
    said = [f"- {group} ({len(groups[group])} spaces): {summary(part)}" for group, part in reached.items()]
    return "\n".join(said) + "\n\n" + table(heads, lines)


def show_samplers(processes: int) -> str:
    spaces, lines = list(named(catalog())), []
    for near in (NEIGHBOURS, 0.0):
        for sampler in (name for name in SAMPLERS if name != "nsga3"):
            found = list(apart(cold, [Run(space, sampler, 7, near) for space in spaces], processes))
            slow = sum(one.process_s for one in found)
            lines.append([sampler, f"{near:.0%}", summary(found), f"{slow:.0f}"])
    return table(["sampler", "neighbours", "within 0.5% of the optimum", "seconds in all"], lines)


def front_reached(run: Run) -> tuple[float, float]:
    """Share of the exact front that a cold run comes near to in all objectives, and seconds."""
    leaders, _ = search(run.space.job, run.space.sites, catalog(), front=True)
    exact = np.array([[one.cost_usd, one.wall_s / DAY_S, one.accelerators] for one in leaders])
    sampling, start = run.sampling(), time.process_time()
    while sampling.problem.evaluated < EVALUATIONS and sampling.points < MOST_POINTS:
        sampling.run(BATCH)
    found = np.array([values for values, _ in sampling.problem.feasible()]).reshape(-1, len(THREE))
    near = [(found <= point * (1 + FRONT_NEAR)).all(axis=1).any() for point in exact]
    return float(np.mean(near)), time.process_time() - start


def show_fronts(processes: int) -> str:
    spaces = list(named(catalog()))[2:5]
    lines = []
    for sampler in SAMPLERS:
        found = list(apart(front_reached, [Run(space, sampler, 7, NEIGHBOURS, THREE) for space in spaces], processes))
        shares = [share for share, _ in found]
        cells = [f"{share:.0%}" for share in shares]
        lines.append([sampler, *cells, f"{np.mean(shares):.0%}", f"{sum(seconds for _, seconds in found):.0f}"])
    return table(["sampler", *(space.name for space in spaces), "mean", "seconds in all"], lines)


@dataclass(frozen=True)
class Shares:
    """A plan whose shares of offload, batch and checkpoint interval are to be found; all else stays."""

    ground: Ground
    plan: Candidate

    def figures(self, share: float, micro_batches: int, interval: float) -> tuple[float, tuple[float, ...]]:
        """USD and excess; the interval is a factor on the one that the goodput model solves for."""
        one = self.plan._replace(offload_optimizer=share, micro_batches=micro_batches)
        (outcome,) = self.ground.evaluate([one])
        resilience, accelerators = self.ground.physics.resilience, np.asarray(float(one.accelerators))
        reliability = resilience.on(accelerators)
        solved = resilience.interval_s(accelerators)

        def good(interval_s: np.ndarray) -> float:
            mtbi = reliability.mtbi_s(accelerators)
            return float(goodput(mtbi, interval_s, reliability.checkpoint_s, reliability.recovery))

        longer = good(solved) / good(solved * interval)
        wall, deadline = outcome.wall_s * longer, LIMITS.index("deadline")
        cost, _ = self.ground.pools.cheapest(accelerators[None], np.asarray([wall]))
        excess = list(outcome.excess)
        excess[deadline] = (1.0 + excess[deadline]) * longer - 1.0
        return float(cost[0]), tuple(excess)

    @property
    def batches(self) -> tuple[int, int]:
        """Fewest and most micro-batches within the job's tolerance."""
        if self.plan.vpp > 1:  # whole turns only
            return self.plan.micro_batches, self.plan.micro_batches
        job, each = self.ground.job, self.plan.dp * self.plan.micro_batch
        low, high = job.global_batch * (1 - job.batch_tolerance), job.global_batch * (1 + job.batch_tolerance)
        return -int(-low // each), int(high // each)

    def best(self) -> float:
        """The cheapest of a fine grid, with the solved interval."""
        low, high = self.batches
        grid = [(share, turns) for share in np.linspace(0, 1, 129).tolist() for turns in range(low, high + 1)]
        plans = [self.plan._replace(offload_optimizer=share, micro_batches=turns) for share, turns in grid]
        return min(outcome.cost_usd for outcome in self.ground.evaluate(plans) if outcome.feasible)


@cache
def shares(place: int) -> Shares:
    """The cheapest plan with offload of one of the ten spaces."""
    space = list(named(catalog()))[place]
    leaders, _ = search(space.job, space.sites, catalog(), keep=40)
    problem = Problem(space.job, space.sites, catalog(), frozenset({"offload", "batch"}))
    plans = [one for one in map(problem.candidate, leaders) if one is not None and one.offload_optimizer]
    # Interleaved schedules take whole turns of micro-batches, which leaves hardly a batch to choose.
    plan = next((one for one in plans if one.vpp == 1), plans[0])
    return Shares(problem.grounds[plan.site], plan)


def continuous(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "cma":
        return optuna.samplers.CmaEsSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=10, deterministic_objective=True)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    return make_sampler(name, seed)  # type: ignore[arg-type]


def shares_reached(task: tuple[str, int, int, int]) -> tuple[int | None, float, float, float]:
    """Evaluations until within 0.1% of the grid, how far above it in the end, with what interval, seconds."""
    name, place, seed, evaluations = task
    problem = shares(place)
    low, high = problem.batches
    box = {"share": FloatDistribution(0.0, 1.0), "interval": FloatDistribution(0.05, 20.0, log=True)}
    if high > low:
        box["turns"] = IntDistribution(low, high)
    best, start = problem.best(), time.process_time()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    study = optuna.create_study(sampler=continuous(name, seed))
    near, least, interval = None, float("inf"), float("nan")
    for count in range(1, evaluations + 1):
        trial = study.ask(box)
        x = trial.params
        cost, excess = problem.figures(x["share"], x.get("turns", low), x["interval"])
        for limit, value in zip(LIMITS, excess, strict=True):
            trial.set_constraint(limit, value)
        # CMA-ES knows no constraints.
        penalty = float(np.prod([1.0 + max(value, 0.0) for value in excess])) if name == "cma" else 1.0
        study.tell(trial, cost * penalty)
        if max(excess) <= 0 and cost < least:
            least, interval = cost, x["interval"]
        if near is None and least <= best * 1.001:
            near = count
    return near, least / best - 1, interval, time.process_time() - start


def show_shares(processes: int) -> str:
    names = ["tpe", "nsga2", "random"]
    for name, module in (("cma", "cmaes"), ("gp", "torch")):
        # Not imported here: processes are forked from this one, and torch has threads.
        if find_spec(module) is not None:
            names.append(name)
        else:
            print(f"{name} left out: pip install {module}", file=sys.stderr)
    places, seeds, evaluations, lines = (3, 7, 9), range(2), 60, []
    for name in names:
        tasks = [(name, place, seed, evaluations) for place in places for seed in seeds]
        found = list(apart(shares_reached, tasks, processes))
        cells = []
        for place in range(len(places)):
            part = found[place * len(seeds) : (place + 1) * len(seeds)]
            after = ", ".join("no" if near is None else str(near) for near, *_ in part)
            cells.append(f"{after}; {median(above for _, above, *_ in part):+.2%}")
        _, best, interval, _ = min(found, key=lambda one: one[1])
        lines.append([name, *cells, f"{best:+.3%}", f"{interval:.3f}", f"{sum(one[-1] for one in found):.0f}"])
    titles = [list(named(catalog()))[place].name for place in places]
    return table(["sampler", *titles, "best of all", "its interval, times the solved one", "seconds in all"], lines)


def gain(job: Job, source: Catalog) -> Row:
    """The exact optimum, the plan refined from it, and what the difference is made of."""
    got = refine(job, source, points=1000)
    if got.start is None:
        raise SystemExit(f"{job.model.name}: nothing enumerable to compare with")
    best, start = got.to_json()["best"], got.start
    layout = best["layout"]
    pipes = f"pp{start.layout.pp} vpp{start.layout.vpp} to pp{layout['pp']} vpp{layout['vpp']}"
    layers = layout["layers"]
    parts = [
        f"{start.accelerators:,} to {best['accelerators']:,} accelerators",
        pipes,
        f"layers {runs_of(layers)}, recomputed {runs_of(layout['recomputed_layers'])}",
        f"batch {start.layout.global_batch:,} to {layout['global_batch']:,}",
    ]
    if len(best["offers"]) > 1:
        parts.append("servers " + ", ".join(f"{name} {count}" for name, count in best["offers"].items()))
    if best["bubble_beyond_closed_form_s"] > 0:
        parts.append(f"bubble {best['bubble_beyond_closed_form_s']:.3f} s beyond the closed form, charged")
    days = job.deadline_s / DAY_S
    return [
        f"{job.model.name}, {job.tokens:.3g}, {days:g} days, {job.hardware[0]}",
        f"${start.cost_usd / 1e6:,.3f}M" if start.cost_usd is not None else "",
        f"${best['cost_usd'] / 1e6:,.3f}M",
        f"{got.gain:.1%}",
        "; ".join(parts),
    ]


def runs_of(numbers: Sequence[int]) -> str:
    """Equal neighbours together.

    >>> runs_of([3, 3, 2])
    '2x3 1x2'
    """
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][1] == number:
            groups[-1][0] += 1
        else:
            groups.append([1, number])
    return " ".join(f"{count}x{number}" for count, number in groups)


def show_gains(_processes: int) -> str:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "offers").mkdir()
        (Path(folder) / "offers" / "pools.yaml").write_text(POOLS, encoding="utf-8")
        pools, names = Catalog([folder]), ["pool-contract", "pool-list"]
        for days in (90, 120):
            job = read_job(pools, *MIXED, deadline_s=days * DAY_S, hardware=[A800], offers=names)
            lines.append(gain(job, pools))
    for model, tokens, days, hardware in BEYOND:
        lines.append(gain(read_job(catalog(), model, tokens, deadline_s=days * DAY_S, hardware=[hardware]), catalog()))
    return table(["job", "exact optimum", "refined", "gain", "from and to"], lines)


def table(head: Row, rows: Iterable[Row]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


WHAT: dict[str, Callable[[int], str]] = {
    "cold": show_cold,
    "samplers": show_samplers,
    "fronts": show_fronts,
    "shares": show_shares,
    "gains": show_gains,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*WHAT, "all"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args()
    for name in WHAT if options.what == "all" else [options.what]:
        text = WHAT[name](options.processes)
        print(f"{name}\n\n{text}\n", flush=True)
        if options.record:
            before, begin, rest = PAGE.read_text("utf-8").partition(f"<!-- {name}: begin -->")
            _, end, after = rest.partition(f"<!-- {name}: end -->")
            date = datetime.date.today().isoformat()
            PAGE.write_text(f"{before}{begin}\n\nMeasured on {date}.\n\n{text}\n\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
