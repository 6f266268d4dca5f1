"""Closed forms of the schedules against the longest path of their dependency graphs."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import UsageError
from costmodels.columns import Column
from costmodels.layout import Pipe
from costmodels.schedule import bubble_seconds, in_flight
from optimizer.dual_pipe import DOWN, UP, DualPipe
from optimizer.pipeline_graph import Passes, StepGraph, Task, step_graph

SECONDS = st.floats(0.1, 10.0)


def passes(forward: Column, backward: Column, weight: Column, chunks: int = 1, message: float = 0.0) -> Passes:
    """Passes of stages, split evenly over their chunks."""
    cut = [np.repeat(np.asarray(x)[..., None] / chunks, chunks, axis=-1) for x in (forward, backward, weight)]
    return Passes(cut[0], cut[1], cut[2], np.asarray(message))


def equal(graph: StepGraph, forward: float, backward: float, weight: float) -> Passes:
    one = np.ones(graph.stages)
    return passes(forward * one, backward * one, weight * one, graph.chunks)


def closed_form(graph: StepGraph, stage_s: Column, weight_s: float = 0.0) -> float:
    pipe = Pipe.from_values(pp=graph.stages, vpp=graph.chunks, zero_bubble=float(graph.splits))
    slow = np.max(stage_s)
    return float(
        graph.micro_batches * slow + bubble_seconds(pipe, slow, np.asarray(np.sum(stage_s)), np.asarray(weight_s))
    )


@given(p=st.integers(1, 9), v=st.integers(1, 4), turns=st.integers(1, 4), f=SECONDS, b=SECONDS, w=SECONDS)
@settings(deadline=None, max_examples=60)
def test_equal_stages_take_the_closed_form(p: int, v: int, turns: int, f: float, b: float, w: float) -> None:
    graph = step_graph(p, v if p > 1 else 1, p * turns)
    expected = closed_form(graph, np.full(p, f + b + w))
    assert float(graph.makespan(equal(graph, f, b, w))) == pytest.approx(expected, rel=1e-12)


@given(p=st.integers(1, 9), m=st.integers(1, 30), f=SECONDS, b=SECONDS)
@settings(deadline=None, max_examples=60)
def test_1f1b_with_any_number_of_micro_batches(p: int, m: int, f: float, b: float) -> None:
    graph = step_graph(p, 1, m)
    assert float(graph.makespan(equal(graph, f, b, 0.0))) == pytest.approx((m + p - 1) * (f + b), rel=1e-12)


@given(p=st.integers(2, 9), more=st.integers(0, 20), f=SECONDS, b=SECONDS, share=st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=60)
def test_zero_bubble_takes_the_closed_form(p: int, more: int, f: float, b: float, share: float) -> None:
    """Weight gradients no longer than the other two passes, and a micro-batch for every stage."""
    graph, w = step_graph(p, 1, p + more, True), share * min(f, b)
    expected = closed_form(graph, np.full(p, f + b + w), w)
    assert expected == pytest.approx((p + more) * (f + b + w) + (p - 1) * (f + b - w), rel=1e-12)
    assert float(graph.makespan(equal(graph, f, b, w))) == pytest.approx(expected, rel=1e-12)


@given(p=st.integers(2, 9), m=st.integers(1, 20), f=SECONDS, b=SECONDS, w=SECONDS)
@settings(deadline=None, max_examples=60)
def test_zero_bubble_beyond_the_published_form(p: int, m: int, f: float, b: float, w: float) -> None:
    """Few micro-batches or long weight gradients fill less: (p-1)(F+B) - (min(p,m)-1)·min(F,B,W)."""
    graph = step_graph(p, 1, m, True)
    bubble = (p - 1) * (f + b) - (min(p, m) - 1) * min(f, b, w)
    assert float(graph.makespan(equal(graph, f, b, w))) == pytest.approx(m * (f + b + w) + bubble, rel=1e-12)


@given(forward=st.lists(SECONDS, min_size=1, max_size=8), ratio=st.floats(0.2, 5.0), m=st.integers(1, 24))
@settings(deadline=None, max_examples=150)
def test_uneven_1f1b_is_never_longer_than_the_closed_form(forward: list[float], ratio: float, m: int) -> None:
    """And never shorter than the slowest stage, between the passes that must come before and after it.

    Backward passes are as many times longer than forward passes on every stage.
    """
    first = np.array(forward)
    graph = step_graph(len(forward), 1, m)
    longest = float(graph.makespan(passes(first, ratio * first, 0 * first)))
    stage = (1 + ratio) * first
    before = np.cumsum(stage) - stage
    assert longest <= closed_form(graph, stage) * (1 + 1e-12)
    assert longest >= np.max(m * stage + before) * (1 - 1e-12)


def test_the_closed_form_is_no_bound_where_backward_passes_are_not_in_proportion() -> None:
    forward, backward = np.array([1.0, 4.0, 1.0]), np.array([4.0, 1.0, 1.0])
    graph = step_graph(3, 1, 2)
    assert float(graph.makespan(passes(forward, backward, 0 * forward))) == 18.0
    assert closed_form(graph, forward + backward) == 17.0


@given(times=st.lists(SECONDS, min_size=2, max_size=8), ratio=st.floats(0.2, 5.0), m=st.integers(1, 16))
@settings(deadline=None, max_examples=60)
def test_uneven_1f1b_is_exact_where_the_last_stage_is_slowest(times: list[float], ratio: float, m: int) -> None:
    forward = np.array(sorted(times))
    backward = ratio * forward
    graph = step_graph(len(times), 1, m)
    longest = float(graph.makespan(passes(forward, backward, 0 * forward)))
    assert longest == pytest.approx(closed_form(graph, forward + backward), rel=1e-12)


@given(data=st.data(), p=st.integers(2, 6), v=st.integers(2, 3), turns=st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_uneven_interleaved_is_bounded_by_its_slowest_stage(data: st.DataObject, p: int, v: int, turns: int) -> None:
    """The closed form is near, not a bound; the bounds are the slowest stage alone and every stage as slow as it."""
    forward = np.array(data.draw(st.lists(SECONDS, min_size=p, max_size=p)))
    graph = step_graph(p, v, p * turns)
    longest = float(graph.makespan(passes(forward, 2 * forward, 0 * forward, v)))
    slow = 3 * forward.max()
    assert p * turns * slow * (1 - 1e-12) <= longest <= closed_form(graph, np.full(p, slow)) * (1 + 1e-12)


@given(p=st.integers(1, 9), m=st.integers(1, 20), zero_bubble=st.booleans())
@settings(deadline=None, max_examples=40)
def test_in_flight_without_chunks(p: int, m: int, zero_bubble: bool) -> None:
    pipe = Pipe.from_values(pp=p, vpp=1, zero_bubble=zero_bubble)
    expected = in_flight(pipe, np.asarray(float(m)), np.arange(p, dtype=float))
    assert step_graph(p, 1, m, zero_bubble).peak_in_flight() == expected.tolist()


@given(p=st.integers(2, 8), v=st.integers(2, 4), turns=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_in_flight_interleaved(p: int, v: int, turns: int) -> None:
    pipe = Pipe.from_values(pp=p, vpp=v, zero_bubble=0)
    expected = in_flight(pipe, np.asarray(float(p * turns)), np.arange(p, dtype=float))
    assert step_graph(p, v, p * turns).peak_in_flight() == pytest.approx(expected.tolist())


@pytest.mark.parametrize(("p", "m"), [(4, 8), (4, 2), (8, 24)])
def test_what_weight_gradients_need_waits_as_long_as_on_the_first_stage(p: int, m: int) -> None:
    """Qi et al. 2023: the peak of ZB-H1 is that of 1F1B, which its first stage has; here every stage reaches it."""
    assert step_graph(p, 1, m, True).peak_in_flight(until="weight") == [min(p, m)] * p


@pytest.mark.parametrize(("p", "v", "m", "zero_bubble"), [(4, 1, 6, False), (3, 2, 6, False), (4, 1, 6, True)])
def test_every_pass_runs_once_and_after_what_it_needs(p: int, v: int, m: int, zero_bubble: bool) -> None:
    graph = StepGraph(p, v, m, zero_bubble=zero_bubble)
    assert nx.is_directed_acyclic_graph(graph.graph)
    assert len(graph.tasks) == len(set(graph.tasks)) == p * v * m * (3 if zero_bubble else 2)
    rng = np.random.default_rng(0)
    x = Passes(*(rng.uniform(1, 2, (p, v)) for _ in range(3)), message=np.asarray(0.25))
    end = dict(zip(graph.tasks, graph.ends(x).tolist(), strict=True))
    start = {t: end[t] - s for t, s in zip(graph.tasks, graph.seconds(x).tolist(), strict=True)}
    for order in graph.orders:
        assert all(start[b] >= end[a] - 1e-12 for a, b in pairwise(order))
    for i in range(m):
        for chunk in range(v):
            forward = [Task("forward", stage, chunk, i) for stage in range(p)]
            backward = [Task("backward", stage, chunk, i) for stage in range(p)]
            assert all(start[b] >= end[a] + 0.25 - 1e-12 for a, b in pairwise(forward))
            assert all(start[a] >= end[b] + 0.25 - 1e-12 for a, b in pairwise(backward))
            assert all(start[b] >= end[f] - 1e-12 for f, b in zip(forward, backward, strict=True))


def test_the_longest_path_of_networkx_is_the_makespan() -> None:
    graph = StepGraph(4, 2, 8)
    rng = np.random.default_rng(1)
    x = Passes(*(rng.uniform(1, 2, (4, 2)) for _ in range(3)), message=np.asarray(0.125))
    path = graph.critical_path(x)
    seconds = dict(zip(graph.tasks, graph.seconds(x).tolist(), strict=True))
    waits = sum(graph.graph.edges[edge]["message"] * 0.125 for edge in pairwise(path))
    assert sum(seconds[t] for t in path) + waits == pytest.approx(float(graph.makespan(x)), rel=1e-12)


def test_many_candidates_at_once_are_the_same_as_one_by_one() -> None:
    graph = StepGraph(4, 1, 7, zero_bubble=True)
    rng = np.random.default_rng(2)
    table = [rng.uniform(1, 2, (5, 4, 1)) for _ in range(3)]
    together = graph.makespan(Passes(*table, message=np.full(5, 0.1)))
    alone = [float(graph.makespan(Passes(*(t[i] for t in table), message=np.asarray(0.1)))) for i in range(5)]
    assert together.tolist() == pytest.approx(alone, rel=1e-15)


@pytest.mark.parametrize("shape", [(0, 1, 4, False), (4, 2, 6, False), (4, 2, 8, True)])
def test_impossible_schedules_are_refused(shape: tuple[int, int, int, bool]) -> None:
    with pytest.raises(UsageError):
        StepGraph(*shape[:3], zero_bubble=shape[3])


@given(p=st.integers(1, 5), more=st.integers(0, 6), f=SECONDS, share=st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=40)
def test_dual_pipe_has_the_published_bubble(p: int, more: int, f: float, share: float) -> None:
    """DeepSeek-V3, table 2: (PP/2 - 1)(F&B + B - 3W), B with its weight gradient; input gradients as long as F."""
    p, w = 2 * p, share * f
    m = 2 * p + 2 * more
    whole = f + w
    bubble = (p / 2 - 1) * (f + whole + whole - 3 * w)
    assert float(DualPipe(p, m).makespan(dual(p, f, f, w))) == pytest.approx(m * (f + whole) + bubble, rel=1e-12)


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (4, 14), (8, 16)])
def test_dual_pipe_holds_one_micro_batch_more_than_it_has_ranks(p: int, m: int) -> None:
    """DeepSeek-V3, table 2: activations of PP + 1 micro-batches, on every rank."""
    assert DualPipe(p, m).peak_in_flight() == [p + 1] * p


def test_dual_pipe_runs_half_of_the_micro_batches_each_way() -> None:
    graph = DualPipe(4, 10)
    assert nx.is_directed_acyclic_graph(graph.graph)
    for order in graph.orders:
        for way in (UP, DOWN):
            assert [t.micro_batch for t in order if t.kind == "forward" and t.chunk == way] == [*range(5)]
            assert [t.micro_batch for t in order if t.kind == "backward" and t.chunk == way] == [*range(5)]
        weights = [t for t in order if t.kind == "weight"]
        assert weights
        assert all(order.index(t._replace(kind="backward")) < order.index(t) for t in weights)
    end = dict(zip(graph.tasks, graph.ends(dual(4, 1.0, 1.0, 0.5)).tolist(), strict=True))
    for i in range(5):
        up = [end["forward", rank, UP, i] for rank in range(4)]
        down = [end["forward", rank, DOWN, i] for rank in range(4)]
        assert up == sorted(up)
        assert down == sorted(down, reverse=True)
        assert end["backward", 3, UP, i] > up[3]
        assert end["backward", 0, DOWN, i] > down[0]


def dual(p: int, f: float, b: float, w: float) -> Passes:
    return Passes(*(np.full((p, 2), x) for x in (f, b, w)), message=np.asarray(0.0))


@pytest.mark.parametrize("shape", [(3, 12), (4, 6), (4, 9)])
def test_impossible_dual_pipes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        DualPipe(*shape)
