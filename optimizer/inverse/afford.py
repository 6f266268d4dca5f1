"""What money buys: the most tokens, or the largest compute-optimal model, within a budget and a date, per offer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnsupportedError, UsageError
from catalogs.model import Model
from catalogs.shapes import LARGEST, SMALLEST, model_from_size
from costmodels.architecture import Architecture
from costmodels.parameters import total_params
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.inverse.largest import largest_of
from optimizer.job import MAX_TOKENS, Job
from optimizer.layout import Layout
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.search import search
from optimizer.site import Price, Refusal, Site
from optimizer.tariff import way_of_paying

CHINCHILLA = 20.0
"""Training tokens per parameter of a compute-optimal model (Hoffmann et al. 2022, table 3)."""


@dataclass(frozen=True)
class Affordable:
    """The most that one offer gives within the budget and the date.

    Attributes:
        offer, hardware: which.
        tokens: most training tokens.
        params: parameters of the model.
        model: its name.
        step: one unit of what was maximised (tokens or parameters).
        binding: which constraint, lifted alone, would allow a unit more.
        configuration: the plan that does it, with cost and days.
    """

    offer: str
    hardware: str
    tokens: float
    params: float
    model: str
    step: float
    binding: str
    configuration: Configuration

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "offer": self.offer,
            "hardware": self.hardware,
            "tokens": self.tokens,
            "params": self.params,
            "model": self.model,
            "step": self.step,
            "binding": self.binding,
            "configuration": self.configuration.to_json(),
        }


def most_tokens(job: Job, catalog: Catalog) -> tuple[list[Affordable], list[Refusal]]:
    """The most tokens that each offer trains within the job's budget and deadline, best first.

    Tokens are whole steps of the nominal batch. Cost and time of every layout grow with the tokens, so what is
    affordable is so up to one number: bisection between a number that some plan was found for and one that none was.

    Raises:
        UsageError: neither budget nor deadline bounds the tokens.
        InfeasibleError: no offer affords a single step.
    """
    _bounded(job)
    unit = job.global_batch * job.seq

    def of(site: Site) -> Affordable | None:
        def at(steps: int) -> Leader | None:
            return _cheapest(replace(job, tokens=float(steps * unit)), site, catalog)

        best, low = at(1), 1
        if best is None:
            return None
        high = _most_steps(job, site, catalog, unit)
        guess = low
        while high - low > 1:
            # Gallop first: most answers are far above one step and far below the bound.
            guess = min(guess * 64, low + (high - low) // 2) if guess == low else low + (high - low) // 2
            found = at(guess)
            if found is None:
                high = guess
            else:
                best, low = found, guess
        return _affordable(job, best, float(low * unit), job.model, float(unit), catalog, site, at_next=low + 1)

    return _every(job, catalog, of, f"one step of {unit:,} tokens", lambda one: -one.tokens)


def largest_optimal(
    job: Job, catalog: Catalog, *, ratio: float = CHINCHILLA, step: float = 1e9
) -> tuple[list[Affordable], list[Refusal]]:
    """The largest dense model that each offer trains on ``ratio`` tokens per parameter, best first.

    Sizes are multiples of ``step`` of the rule for bare sizes. Shapes differ in what divides them, so every size above
    the one that bisection finds is looked at, up to the one that no layout can afford at the full peak.

    Args:
        job: budget, deadline, batch and sequence; its model and tokens do not matter.
        catalog: where names are looked up.
        ratio: training tokens per parameter.
        step: parameters between two sizes.

    Raises:
        UsageError: neither budget nor deadline bounds the model.
        InfeasibleError: no offer affords the smallest size.
    """
    _bounded(job)
    low = max(math.ceil(SMALLEST / step), 1)

    def job_of(units: int) -> Job | None:
        try:
            model = model_from_size(f"{units * step / 1e6:.10f}".rstrip("0").rstrip(".") + "M")[0]
        except UsageError:
            return None
        tokens = ratio * float(total_params(Architecture.of(model)))
        return replace(job, model=model, tokens=tokens) if tokens <= MAX_TOKENS else None

    def of(site: Site) -> Affordable | None:
        known: dict[int, Leader | None] = {}

        def holds(units: int) -> bool:
            if units not in known:
                one = job_of(units)
                known[units] = None if one is None else _cheapest(one, site, catalog)
            return known[units] is not None

        # 6 · N · ratio · N within the FLOPs that money and time buy at the full peak.
        flops = _peak_flops(job, site)
        high = math.floor(min(math.sqrt(flops / (6.0 * ratio)) * 1.05, LARGEST) / step)
        best = largest_of(low, high, holds)
        leader = None if best is None else known[best]
        answer = None if best is None else job_of(best)
        if best is None or leader is None or answer is None:
            return None
        following = job_of(best + 1)
        one = _affordable(answer, leader, answer.tokens, answer.model, step, catalog, site)
        return replace(
            one, binding="no shape of the next size" if following is None else _binding(following, site, catalog)
        )

    return _every(job, catalog, of, f"a model of {low * step:.3g} parameters", lambda one: -one.params)


def _bounded(job: Job) -> None:
    if math.isinf(job.budget_usd) and math.isinf(job.deadline_s):
        raise UsageError("give --budget, --deadline or both: without them there is no end to what can be afforded")


def _cheapest(job: Job, site: Site, catalog: Catalog) -> Leader | None:
    ranked, _ = search(job, [site], catalog, keep=1)
    return ranked[0] if ranked else None


def _every(
    job: Job,
    catalog: Catalog,
    of: Callable[[Site], Affordable | None],
    least: str,
    order: Callable[[Affordable], float],
) -> tuple[list[Affordable], list[Refusal]]:
    """The answer of every offer, one at a time."""
    found, refused = sites(job, catalog)
    answers = []
    for site in found:
        cheapest: dict[tuple[object, ...], Price] = {}
        for price in sorted(site.prices, key=lambda p: (p.usd, p.offer.name)):
            cheapest.setdefault(way_of_paying(price.offer), price)
        for price in site.prices:
            name = price.offer.name
            if price not in cheapest.values():
                refused.append(Refusal(name, "a cheaper offer of the same kind is considered"))
                continue
            answer = of(replace(site, prices=(price,)))
            if answer is None:
                refused.append(Refusal(name, f"does not even afford {least}"))
            else:
                answers.append(answer)
    if not answers:
        raise InfeasibleError(f"no offer affords {least} within the constraints; raise --budget or --deadline")
    return sorted(answers, key=lambda one: (order(one), one.configuration.cost_usd or 0.0, one.offer)), refused


def _peak_flops(job: Job, site: Site) -> float:
    """FLOPs that the most accelerators deliver at their full peak within the date and the money."""
    price = site.prices[0]
    from catalogs.profile import PEAK_DTYPE

    peak = float(
        {str(name): value for name, value in site.accelerator.peak_flops_per_s.items()}[PEAK_DTYPE[site.precision]]
    )
    accelerator_s = min(job.max_accelerators, site.max_accelerators) * job.deadline_s
    if not price.bought:
        accelerator_s = min(accelerator_s, job.budget_usd / price.usd * 3600.0)
    if not math.isfinite(accelerator_s):
        # Bought without a date: a century of every server that the money buys.
        servers = job.budget_usd / price.usd
        accelerator_s = min(servers * site.server_accelerators, job.max_accelerators) * 100 * 365 * 86400.0
    return peak * accelerator_s


def _most_steps(job: Job, site: Site, catalog: Catalog, unit: int) -> int:
    """A number of steps that no layout can afford: more than the full peak delivers at 2 FLOPs per active parameter."""
    from costmodels.parameters import active_params

    per_token = 2.0 * float(active_params(Architecture.of(job.model)))
    return int(min(_peak_flops(job, site) / per_token, MAX_TOKENS) / unit) + 2


def _affordable(
    job: Job,
    leader: Leader,
    tokens: float,
    model: Model,
    step: float,
    catalog: Catalog,
    site: Site,
    *,
    at_next: int | None = None,
) -> Affordable:
    exact = replace(leader.physics, tokens=np.asarray(tokens))
    one = configure(exact, Layout.of(leader.layout), leader.tariff)
    binding = ""
    if at_next is not None:
        binding = _binding(replace(job, tokens=min(at_next * step, MAX_TOKENS)), site, catalog)
    return Affordable(
        offer=leader.tariff.price.offer.name,
        hardware=site.accelerator.name,
        tokens=tokens,
        params=float(total_params(Architecture.of(model))),
        model=model.name,
        step=step,
        binding=binding,
        configuration=one,
    )


def _binding(job: Job, site: Site, catalog: Catalog) -> str:
    """Which constraints, lifted alone, would allow a job that nothing affords."""
    lifted = {
        "budget": replace(job, budget_usd=math.inf),
        "date": replace(job, deadline_s=math.inf),
        "accelerators": replace(job, max_accelerators=min(4 * job.max_accelerators, 2**20)),
    }
    binds = []
    for name, one in lifted.items():
        try:
            if _cheapest(one, site, catalog) is not None:
                binds.append(name)
        except UnsupportedError:
            continue
    return " or ".join(binds) or "budget and date together"
