"""What is solved instead of sampled, against trying everything."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.layout import Pipe
from costmodels.schedule import bubble_seconds
from optimizer.extended.pools import Pools
from optimizer.extended.settle import TURNS
from optimizer.extended.split import balanced, fewest_recomputed
from optimizer.pipeline_graph import Passes, step_graph
from optimizer.site import Price
from optimizer.tariff import Tariff
from tests.extended.jobs import CATALOG, found


@given(data=st.data(), stages=st.integers(1, 4), total=st.integers(1, 9))
@settings(deadline=None, max_examples=150)
def test_no_split_has_a_faster_slowest_stage(data: st.DataObject, stages: int, total: int) -> None:
    most = data.draw(st.integers(1, total))
    grows = st.lists(st.floats(0.1, 5.0), min_size=most, max_size=most)
    seconds = np.array([np.cumsum(data.draw(grows)) for _ in range(stages)])
    for stage in range(stages):
        seconds[stage, data.draw(st.integers(0, most)) :] = np.inf
    least = np.array([data.draw(st.integers(0, 2)) for _ in range(stages)])

    def slowest(split: tuple[int, ...]) -> float:
        return max((seconds[stage, n - 1] for stage, n in enumerate(split) if n), default=0.0)

    every = [s for s in product(range(most + 1), repeat=stages) if sum(s) == total and (np.array(s) >= least).all()]
    best = min((slowest(split) for split in every), default=np.inf)
    layers, possible = balanced(seconds[None], least[None], total)
    assert possible[0] == np.isfinite(best)
    if possible[0]:
        assert tuple(layers[0]) in every
        assert slowest(tuple(layers[0])) == best


@given(
    layers=st.integers(1, 12),
    first=st.floats(0.0, 5.0),
    each=st.floats(-0.5, 2.0),
    none=st.floats(1.0, 40.0),
    capacity=st.floats(1.0, 40.0),
)
@settings(deadline=None, max_examples=200)
def test_as_few_layers_are_recomputed_as_fit(
    layers: int, first: float, each: float, none: float, capacity: float
) -> None:
    """Memory jumps with the first recomputed layer and falls in a line from there on."""

    def memory(share: np.ndarray) -> np.ndarray:
        count = np.round(share * layers)
        return np.where(count > 0, none + first - each * count, none)

    fitting = [n for n in range(layers + 1) if memory(np.asarray(n / layers)) <= capacity]
    chosen, fits = fewest_recomputed(memory, np.asarray(float(layers)), np.asarray(capacity))
    assert bool(fits) == bool(fitting)
    if fitting:
        assert int(chosen) == fitting[0]


@pytest.mark.parametrize(("accelerators", "days"), [(8, 10), (64, 100), (100, 400), (128, 30), (256, 700)])
def test_the_mix_of_offers_is_the_cheapest_of_all_mixes(accelerators: int, days: float) -> None:
    site = found("dense")[0]
    offer = site.prices[0].offer
    pools = []
    for name, provider, tenure, cap, usd in (
        ("a", "one", "reserved_1y", 6, 1.0),
        ("b", "one", "on_demand", 5, 2.0),
        ("c", "one", "reserved_3y", 3, 0.4),
        ("d", "two", "on_demand", 20, 2.5),
    ):
        made = offer.model_copy(update={"name": name, "provider": provider, "tenure": tenure, "max_servers": cap})
        pools.append(Price(made, usd))
    mixed = Pools(replace(site, prices=tuple(pools)), CATALOG, mixed=True)
    size, wall_s = site.server_accelerators, np.asarray([days * 86400.0])
    servers = -(-accelerators // size)

    def price(tariff: Tariff, count: int) -> float:
        return float(tariff.total(np.asarray([float(count * size)]), wall_s)[0]) if count else 0.0

    best = np.inf
    for group in mixed.groups:
        caps = [tariff.price.offer.max_servers or 0 for tariff in group]
        for counts in product(*(range(cap + 1) for cap in caps)):
            if sum(counts) == servers:
                best = min(best, sum(price(tariff, n) for tariff, n in zip(group, counts, strict=True)))
    cost, used = mixed.cheapest(np.asarray([float(accelerators)]), wall_s)
    if np.isfinite(best):
        assert cost[0] == pytest.approx(best, rel=1e-12)
        assert sum(used[0].values()) == servers
    else:
        assert accelerators > mixed.limit


@given(data=st.data(), p=st.integers(1, 6), v=st.integers(1, 3), zero_bubble=st.booleans())
@settings(deadline=None, max_examples=60)
def test_the_bubble_does_not_grow_with_more_turns(data: st.DataObject, p: int, v: int, zero_bubble: bool) -> None:
    """So the longest path of a short step is on the safe side of that of a long one."""
    zero_bubble = zero_bubble and p > 1
    v = 1 if p == 1 or zero_bubble else v
    columns = [np.array([[data.draw(st.floats(0.2, 3.0))] * v for _ in range(p)]) for _ in range(3)]
    x = Passes(*columns, message=np.asarray(0.0))
    slowest = float(max(sum(c[stage].sum() for c in columns) for stage in range(p)))

    def bubble(turns: int) -> float:
        return float(step_graph(p, v, turns * p, zero_bubble).makespan(x)) - turns * p * slowest

    assert bubble(2 * TURNS) <= bubble(TURNS) + 1e-9 * slowest * p * TURNS


def test_equal_stages_wait_as_long_as_the_closed_form_says() -> None:
    """The check of the check: what makes a path longer is that stages differ."""
    x = Passes.of_stages(np.ones(4), np.full(4, 2.0), np.zeros(4))
    pipe = Pipe.from_values(pp=4, vpp=1, zero_bubble=0)
    closed = bubble_seconds(pipe, np.asarray(3.0), np.asarray(12.0), np.asarray(0.0))
    assert float(step_graph(4, 1, 16).makespan(x)) - 16 * 3.0 == pytest.approx(float(closed))
