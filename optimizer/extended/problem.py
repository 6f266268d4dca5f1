"""What is minimised: candidates of all sites evaluated together, each once, and the points to start from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from costmodels.layout import Pipe
from costmodels.run import DAY_S
from optimizer.extended.candidate import EVEN, FITTED, LIMITS, Candidate, Extension, Outcome
from optimizer.extended.domain import Domain
from optimizer.extended.ground import Ground
from optimizer.extended.table import SHARES
from optimizer.job import Job
from optimizer.leaders import Leader
from optimizer.site import Site
from optimizer.space import Spaces, recompute_layers

Objective = Literal["cost", "days", "accelerators", "risk"]

OBJECTIVES: dict[Objective, str] = {
    "cost": "USD of the run",
    "days": "wall-clock days",
    "accelerators": "accelerators in use",
    "risk": "probability that the run ends after the deadline",
}
"""What may be minimised, alone or together."""

IMPOSSIBLE = 1e18
"""Objective of what cannot be built; finite, because samplers compute with it."""

CHUNK = 64
"""Candidates evaluated at once."""


@dataclass(frozen=True)
class Figures:
    """What samplers see of a candidate: the objectives, and by how much each limit is exceeded."""

    values: tuple[float, ...]
    excess: tuple[float, ...]

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return all(value <= 0 for value in self.excess)


class Problem:
    """Sites, objectives and every candidate that was evaluated.

    Sites on which nothing can cost less than ``most_usd``, extended or not, are left out.

    Attributes:
        objectives: what is minimised, in order.
        grounds: the sites.
        domain: the space as samplers see it.
        known: figures by candidate; a candidate is never evaluated twice.
        evaluated: how many were evaluated here.
    """

    def __init__(
        self,
        job: Job,
        found: Sequence[Site],
        catalog: Catalog,
        extend: frozenset[Extension],
        objectives: Sequence[Objective] = ("cost",),
        batch_range: float = 0.0,
        most_usd: float = math.inf,
    ) -> None:
        self.job, self.extend, self.objectives = job, extend, tuple(objectives)
        tolerance = max(batch_range, job.batch_tolerance) if "batch" in extend else job.batch_tolerance
        spaces = Spaces(replace(job, batch_tolerance=tolerance))
        grounds = [Ground(job, site, catalog, spaces, extend) for site in found]
        self.grounds = [ground for ground in grounds if ground.floor <= most_usd]
        self.domain = Domain(job, self.grounds, extend, tolerance)
        self.known: dict[Candidate, Figures] = {}
        self.evaluated = 0

    @property
    def uncapped(self) -> list[Site]:
        """Sites whose offers have caps, without them: where mixing may pay."""
        capped = [g for g in self.grounds if any(price.offer.max_servers is not None for price in g.site.prices)]
        return [ground.enumerable.site for ground in capped]

    def evaluate(self, candidates: Iterable[Candidate]) -> None:
        """Evaluate what is not known yet."""
        new = [one for one in dict.fromkeys(candidates) if one not in self.known]
        # Stages are padded to the deepest pipeline of a chunk: similar depths go together.
        new.sort(key=lambda one: (one.site, one.pp))
        start = 0
        while start < len(new):
            part = [one for one in new[start : start + CHUNK] if one.site == new[start].site]
            part = [one for one in part if one.pp <= 2 * part[0].pp]
            outcomes = self.grounds[part[0].site].evaluate(part)
            self.known |= {one: self.figures(outcome) for one, outcome in zip(part, outcomes, strict=True)}
            start += len(part)
        self.evaluated += len(new)

    @property
    def nothing(self) -> Figures:
        """Figures of a point that means no candidate."""
        return Figures((IMPOSSIBLE,) * len(self.objectives), (1.0,) * len(LIMITS))

    def figures(self, outcome: Outcome) -> Figures:
        """What samplers see of an outcome."""
        values: dict[Objective, float] = {
            "cost": outcome.cost_usd,
            "days": outcome.wall_s / DAY_S,
            "accelerators": float(outcome.accelerators),
            "risk": outcome.late,
        }
        return Figures(
            tuple(min(values[name], IMPOSSIBLE) for name in self.objectives),
            tuple(min(excess, IMPOSSIBLE) for excess in outcome.excess),
        )

    def feasible(self) -> list[tuple[tuple[float, ...], Candidate]]:
        """Objectives and candidates that keep every limit, best first; of equal ones the first found."""
        found = [(figures.values, one) for one, figures in self.known.items() if figures.feasible]
        return sorted(found, key=lambda pair: pair[0])

    def starts(self, leaders: Iterable[Leader]) -> list[Candidate]:
        """Exact solutions as candidates, then each with what can be solved added to it."""
        known = (one for one in map(self.candidate, leaders) if one is not None)
        plain = [one for one in known if one.accelerators <= self.grounds[one.site].limit]
        more: list[Candidate] = []
        for one in plain:
            here = self.domain.sites[one.site]
            more.extend(
                one._replace(split=split, recompute=word)
                for split in here.split
                for word in (one.recompute, FITTED)
                if word in here.recompute and (split == EVEN or one.pp > 1)
            )
        return list(dict.fromkeys([*plain, *more]))

    def candidate(self, leader: Leader) -> Candidate | None:
        """An exact solution as a candidate (None if its site was left out)."""
        site = leader.site
        places = [n for n, g in enumerate(self.grounds) if site is g.site or site is g.enumerable.site]
        if not places:
            return None
        place, d = places[0], leader.layout
        return Candidate(
            site=place,
            **{
                name: d[name]
                for name in ("tp", "cp", "ep", "micro_batch", "pp", "vpp", "zero_bubble", "dp", "zero", "zero_group")
            },
            micro_batches=d["micro_batches"],
            offload_activations=float(d["offload_activations"]),
            offload_optimizer=float(d["offload_optimizer"]),
            recompute=self._word(place, d),
            split=EVEN,
        )

    def _word(self, place: int, degrees: dict[str, int]) -> str:
        """The word for a number of recomputed layers."""
        if degrees["selective"]:
            return "selective"
        pipe = Pipe.from_values(pp=degrees["pp"], vpp=degrees["vpp"], zero_bubble=degrees["zero_bubble"])
        a = self.grounds[place].physics.architecture
        for word, share in SHARES.items():
            if word != "selective" and recompute_layers(a, pipe, np.asarray(share)) == degrees["recompute_layers"]:
                return word
        raise UnsupportedError(f"no word for {degrees['recompute_layers']} recomputed layers; please report this")
