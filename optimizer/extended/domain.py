"""The space as samplers see it: a box of few, ordered parameters, every point of which means a candidate.

Degrees exclude each other in many ways. Instead of proposing what does not exist, every parameter is a wish that is
rounded to what exists given those before it; the number of replicas is a place between the fewest that could meet the
deadline and the most there may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from costmodels.columns import Column
from optimizer.extended.candidate import EVEN, FITTED, SOLVED, Candidate, Extension
from optimizer.extended.ground import Ground
from optimizer.extended.table import SHARES
from optimizer.job import Job

Parameters = dict[str, Any]

SHARE_STEP = 1 / 16
"""Steps of the shares of offload."""

REMEMBERED = 4096
"""Lists of numbers of replicas that are kept, for the same ones are asked for again and again."""

SIZE_POWER = 2.0
"""The place of a cluster size between least and most is squared, for the best sizes are near the least."""


class Domain:
    """Parameters of some sites.

    Attributes:
        grounds: the sites.
        sites: which values exist at each.
        batch: least and most sequences per step.
        lists: the values of each degree, in order, at any site.
        distributions: of the parameters that have more than one value.
    """

    def __init__(self, job: Job, grounds: Sequence[Ground], extend: frozenset[Extension], tolerance: float) -> None:
        self.job, self.grounds, self.extend = job, grounds, extend
        self.batch = (max(job.global_batch * (1 - tolerance), 1.0), job.global_batch * (1 + tolerance))
        self.sites = [Degrees(ground, job, extend) for ground in grounds]
        self.lists: dict[str, list[int]] = {
            name: sorted(set().union(*(getattr(site, name) for site in self.sites)))
            for name in ("tp", "cp", "ep", "micro_batch", "pp", "vpp", "zero", "zero_span")
        }
        self._words = {
            "recompute": _union(site.recompute for site in self.sites),
            "split": _union(site.split for site in self.sites),
        }
        self._zero_bubble = any(site.zero_bubble for site in self.sites)
        self.distributions = self._box()
        self._replicas = lru_cache(REMEMBERED)(self._all_replicas)

    def _box(self) -> dict[str, BaseDistribution]:
        box: dict[str, BaseDistribution] = {}
        if len(self.grounds) > 1:
            box["site"] = CategoricalDistribution(range(len(self.grounds)))
        for name, values in self.lists.items():
            if len(values) > 1:
                box[name] = IntDistribution(0, len(values) - 1)
        for name, words in self._words.items():
            if len(words) > 1:
                box[name] = CategoricalDistribution(words)
        if self._zero_bubble:
            box["zero_bubble"] = CategoricalDistribution((0, 1))
        box["size"] = FloatDistribution(0.0, 1.0)
        flags = sorted({flag for site in self.sites for flag in site.offload})
        if len(flags) > 1:
            box["offload"] = CategoricalDistribution([f"{activations}{optimizer}" for activations, optimizer in flags])
            if "offload" in self.extend:
                box["offload_share"] = FloatDistribution(SHARE_STEP, 1.0, step=SHARE_STEP)
        if "batch" in self.extend:
            box["batch"] = FloatDistribution(*self.batch)
        return box

    def candidate(self, wish: Parameters) -> Candidate | None:
        """What a point of the box means; None where no cluster exists (too few accelerators, batch does not divide)."""
        place = int(wish.get("site", 0))
        site = self.sites[place]
        tp, cp, ep, micro_batch = site.shard(*(self._wanted(name, wish) for name in ("tp", "cp", "ep", "micro_batch")))
        pp = _nearest([n for n in site.pp if tp * cp * n <= site.limit] or [1], self._wanted("pp", wish))
        vpp, zero_bubble = site.cut(pp, self._wanted("vpp", wish), int(wish.get("zero_bubble", 0)))
        batch = float(wish.get("batch", self.job.global_batch))
        degrees, turns = self._replicas(site, (tp, cp, ep, micro_batch), (pp, vpp), batch)
        if not degrees.size:
            return None
        low, high = float(degrees[0]), float(degrees[-1])
        wanted = low * (high / low) ** (float(wish["size"]) ** SIZE_POWER)
        chosen = int(np.argmin(np.abs(np.log(degrees / wanted))))
        activations, optimizer = site.offloads(str(wish.get("offload", "00")), float(wish.get("offload_share", 1.0)))
        dp = int(degrees[chosen])
        zero = _nearest(site.zero_of(pp), self._wanted("zero", wish))
        recompute = str(wish.get("recompute", self._words["recompute"][0]))
        split = str(wish.get("split", EVEN))
        return Candidate(
            site=place,
            tp=tp,
            cp=cp,
            ep=ep,
            micro_batch=micro_batch,
            pp=pp,
            vpp=vpp,
            zero_bubble=zero_bubble,
            dp=dp,
            micro_batches=int(turns[chosen]),
            zero=zero,
            zero_group=site.zero_group(zero, self._wanted("zero_span", wish), tp, cp * dp),
            offload_activations=activations,
            offload_optimizer=optimizer,
            recompute=recompute if recompute in site.recompute else site.recompute[0],
            split=split if split in site.split and pp > 1 else EVEN,
        )

    def parameters(self, one: Candidate) -> Parameters:
        """A point of the box that means a candidate."""
        batch = {"batch": float(one.global_batch)} if "batch" in self.extend else {}
        share = max(one.offload_activations, one.offload_optimizer)
        wish: Parameters = {
            "site": one.site,
            **{name: values.index(getattr(one, name)) for name, values in self.lists.items()},
            "recompute": one.recompute,
            "split": one.split,
            "zero_bubble": one.zero_bubble,
            "size": _place(self._sizes(one, batch), one.dp),
            "offload": f"{int(one.offload_activations > 0)}{int(one.offload_optimizer > 0)}",
            "offload_share": share or 1.0,
            **batch,
        }
        return {name: wish[name] for name in self.distributions}

    def resized(self, wish: Parameters, accelerators: float) -> Parameters:
        """The same point with a cluster of about so many accelerators."""
        one = self.candidate(wish)
        return wish if one is None else wish | {"size": _place(self._sizes(one, wish), accelerators / one.world)}

    def shifted(self, wish: Parameters, places: int) -> Parameters:
        """The same point so many places further in the list of its numbers of replicas."""
        one = self.candidate(wish)
        if one is None:
            return wish
        degrees = self._sizes(one, wish)
        place = int(np.searchsorted(degrees, one.dp)) + places
        return wish | {"size": _place(degrees, degrees[min(max(place, 0), len(degrees) - 1)])}

    def scaled(self, wish: Parameters, name: str, factor: float) -> Parameters:
        """The same point with a degree as near as can be to so many times its own, but another one if there is."""
        values, place = self.lists[name], int(wish[name])
        others = range(place + 1, len(values)) if factor > 1 else range(place)
        if not others:
            return wish
        wanted = math.log(values[place] * factor)
        return wish | {name: min(others, key=lambda n: abs(math.log(values[n]) - wanted))}

    def _sizes(self, one: Candidate, wish: Parameters) -> Column:
        """Data-parallel degrees that a candidate could have instead of its own."""
        batch = float(wish.get("batch", self.job.global_batch))
        shard = (one.tp, one.cp, one.ep, one.micro_batch)
        return self._replicas(self.sites[one.site], shard, (one.pp, one.vpp), batch)[0]

    def _wanted(self, name: str, wish: Parameters) -> int:
        return self.lists[name][int(wish.get(name, 0))]

    def _all_replicas(
        self, site: Degrees, shard: tuple[int, int, int, int], cut: tuple[int, int], batch: float
    ) -> tuple[Column, Column]:
        """Data-parallel degrees and micro-batches of a wanted global batch, within the range.

        Too few replicas to meet the deadline at the peak of the arithmetic are left out, unless there are no others.
        """
        tp, cp, ep, micro_batch = shard
        pp, vpp = cut
        world = tp * cp * pp
        dp = np.arange(1.0, min(site.limit // world, math.floor(self.batch[1])) + 1.0)
        whole = (np.mod(world * dp, site.server) == 0) | (world * dp < site.server)
        dp = dp[whole & (np.mod(tp * cp * dp, ep) == 0)]
        # Interleaved schedules need micro-batches in multiples of the stages.
        multiple = pp if vpp > 1 else 1
        grain = multiple if "batch" in self.extend else 1
        turns = np.maximum(np.round(batch / (dp * micro_batch * grain)), 1.0) * grain
        used = turns * dp * micro_batch
        low, high = self.batch
        good = (np.mod(turns, multiple) == 0) & (used >= low * (1 - 1e-12)) & (used <= high * (1 + 1e-12))
        dp, turns = dp[good], turns[good]
        enough = world * dp >= site.least
        return (dp[enough], turns[enough]) if enough.any() else (dp[-1:], turns[-1:])


class Degrees:
    """Which values exist at a site."""

    def __init__(self, ground: Ground, job: Job, extend: frozenset[Extension]) -> None:
        space, framework = ground.enumerable.space, ground.site.framework
        s, c = space.shards, space.choices
        columns = (s.tp, s.cp, s.ep, s.micro_batch)
        shards = list(zip(*(column.astype(int).tolist() for column in columns), strict=True))
        self._shards = np.array(shards, dtype=np.float64)
        self.shard = lru_cache(REMEMBERED)(self._nearest_shard)
        self.tp, self.cp, self.ep, self.micro_batch = (set(column.astype(int).tolist()) for column in columns)
        self.zero_of: Callable[[int], list[int]] = lambda pp: sorted(
            {zero for act in (0, 1) for zero, _ in space.replica_choices(pp, act)}
        )
        cuts = set(zip(*(x.astype(int).tolist() for x in (c.pipe.pp, c.pipe.vpp, c.pipe.zero_bubble)), strict=True))
        # Some frameworks have no ZeRO stage that goes with pipeline stages.
        self._cuts = sorted(cut for cut in cuts if self.zero_of(cut[0]))
        self.pp, self.vpp = {cut[0] for cut in self._cuts}, {cut[1] for cut in self._cuts}
        self.zero_bubble = any(cut[2] for cut in self._cuts)
        self.zero = {*space.zero}
        self.zero_span = {0, *space.spans}
        self._hybrid = framework.hybrid_zero_stages
        self.offload = space.offload
        self.least, self.limit, self.server = ground.least, ground.limit, ground.site.server_accelerators
        self.recompute = _recompute_words(ground, job, extend)
        uneven = (
            "stages" in extend and framework.uneven_pipeline and (job.model.moe is None or job.model.moe.every == 1)
        )
        self.split = [EVEN, SOLVED] if uneven and framework.pipeline_parallel else [EVEN]

    def _nearest_shard(self, tp: int, cp: int, ep: int, micro_batch: int) -> tuple[int, int, int, int]:
        """The nearest shard that exists: tensor-parallel degree first."""
        left: NDArray[np.float64] = self._shards
        for place, wanted in enumerate((tp, cp, ep, micro_batch)):
            column = left[:, place]
            left = left[column == _nearest(column.tolist(), wanted)]
        tp, cp, ep, micro_batch = (int(value) for value in left[0])
        return tp, cp, ep, micro_batch

    def cut(self, pp: int, vpp: int, zero_bubble: int) -> tuple[int, int]:
        """Chunks and zero bubble of a number of stages."""
        ways = [(v, z) for p, v, z in self._cuts if p == pp]
        if (1, zero_bubble) in ways and zero_bubble:
            return 1, 1
        return _nearest([v for v, z in ways if not z], vpp), 0

    def zero_group(self, zero: int, span: int, tp: int, ranks: int) -> int:
        """Ranks that share one copy of the sharded state where so many accelerators may; else 0, all ``ranks``."""
        group, rest = divmod(span, tp)
        divides = not rest and 1 < group < ranks and ranks % group == 0
        return group if divides and zero in self._hybrid else 0

    def offloads(self, word: str, share: float) -> tuple[float, float]:
        """Shares of activations and optimizer state."""
        flags = (int(word[0]), int(word[1]))
        activations, optimizer = flags if flags in self.offload else self.offload[0]
        return activations * share, optimizer * share


def _recompute_words(ground: Ground, job: Job, extend: frozenset[Extension]) -> list[str]:
    """Recomputation that exists in the enumerable space, and what is fitted to the memory."""
    words = [word for word in SHARES if word in _enumerable_words(ground, job)]
    full = "full" in ground.site.framework.recompute and {"full", "partial"} & set(job.recompute)
    return [*words, FITTED] if "recompute" in extend and full else words


def _enumerable_words(ground: Ground, job: Job) -> set[str]:
    framework = ground.site.framework
    wanted: set[str] = set(job.recompute)
    words = wanted & {"none", "full"} & set(framework.recompute)
    if (ground.enumerable.space.choices.selective > 0).any():
        words.add("selective")
    if "partial" in wanted and "full" in framework.recompute:
        words |= {word for word, share in SHARES.items() if 0 < share < 1}
    return words


def _place(degrees: Column, wanted: float) -> float:
    """The parameter that means a number of replicas."""
    low, high = float(degrees[0]), float(degrees[-1])
    share = math.log(min(max(wanted, low), high) / low) / math.log(high / low) if high > low else 0.0
    return float(share ** (1 / SIZE_POWER))


def _nearest(values: Iterable[float], wanted: float) -> int:
    """The nearest value in proportion; of equally near ones the smaller."""
    return int(
        min(
            values,
            key=lambda value: (abs(math.log(value / wanted)) if value and wanted else abs(value - wanted), value),
        )
    )


def _union(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(word for one in lists for word in one))
