"""Pipeline schedules as graphs: every pass of one training step, what it waits for, and the longest path.

A *task* is the forward pass, the backward pass or the weight gradient of one micro-batch through one chunk of one
stage. It waits for the task before it on its own stage (the schedule's order) and for the pass that sends to it, plus
a message where that one stands on another stage. The longest path is the step. The closed forms of
:mod:`costmodels.schedule` are checked against these graphs.

Orders: 1F1B and interleaved as Megatron-LM runs them (Narayanan et al. 2021, section 2.2; ``schedules.py``), ZB-H1 as
in Qi et al. 2023, section 2.3: the backward pass is split, stage k puts weight gradients off by k micro-batches, and
those left over fill the drain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UsageError
from costmodels.columns import Column

Kind = Literal["forward", "backward", "weight"]

KINDS: tuple[Kind, ...] = ("forward", "backward", "weight")


class Task(NamedTuple):
    """One pass of a micro-batch through a chunk; ``weight`` only where the schedule splits the backward pass."""

    kind: Kind
    stage: int
    chunk: int
    micro_batch: int


@dataclass(frozen=True)
class Passes:
    """Seconds of the passes of one micro-batch, in columns whose last two axes are stages and chunks.

    Attributes:
        forward: of the forward pass.
        backward: of the backward pass, recomputation included, without the weight gradients.
        weight: of the weight gradients.
        message: from a stage to the next, as long as nothing hides it; its axes are those before the last two.
    """

    forward: Column
    backward: Column
    weight: Column
    message: Column

    @classmethod
    def of_stages(cls, forward: Column, backward: Column, weight: Column, message: float = 0.0) -> Passes:
        """Passes of stages with one chunk each (the last axis is stages)."""
        return cls(forward[..., None], backward[..., None], weight[..., None], np.asarray(float(message)))


class StepGraph:
    """The dependency graph of one step, and the times that follow from the seconds of its passes.

    Attributes:
        stages, chunks, micro_batches: its shape.
        splits: whether weight gradients are tasks of their own, at least some.
        parts: into how many chunks the activations of one micro-batch on a stage are cut.
        orders: the tasks of every stage, in order.
        graph: tasks and what they wait for; an edge's ``message`` is 1 if it crosses stages.
    """

    def __init__(self, stages: int, chunks: int, micro_batches: int, *, zero_bubble: bool = False) -> None:
        if min(stages, chunks, micro_batches) < 1:
            raise UsageError("a pipeline has at least one stage, chunk and micro-batch")
        self.parts = chunks
        self._check(stages, chunks, micro_batches, zero_bubble)
        self.stages, self.chunks, self.micro_batches, self.splits = stages, chunks, micro_batches, zero_bubble
        self.orders = [list(self._order(stage)) for stage in range(stages)]
        self.graph = self._build()
        self.tasks: list[Task] = []
        self._levels: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
        self._index()

    def _check(self, stages: int, chunks: int, micro_batches: int, zero_bubble: bool) -> None:
        if chunks > 1 and (zero_bubble or micro_batches % stages):
            raise UsageError("interleaved schedules need micro-batches in multiples of the stages, and are not ZB-H1")

    def _order(self, stage: int) -> Iterator[Task]:
        if self.chunks > 1:
            return self._interleaved(stage)
        return self._split(stage) if self.splits else self._one_forward_one_backward(stage)

    def _one_forward_one_backward(self, stage: int) -> Iterator[Task]:
        m = self.micro_batches
        warm_up = min(self.stages - stage - 1, m)
        yield from (Task("forward", stage, 0, i) for i in range(warm_up))
        for i in range(m):
            if i + warm_up < m:
                yield Task("forward", stage, 0, i + warm_up)
            yield Task("backward", stage, 0, i)

    def _split(self, stage: int) -> Iterator[Task]:
        """ZB-H1: as 1F1B, with the weight gradient of a micro-batch ``stage`` micro-batches later."""
        m = self.micro_batches
        warm_up = min(self.stages - stage - 1, m)
        yield from (Task("forward", stage, 0, i) for i in range(warm_up))
        done = 0
        for i in range(m):
            if i + warm_up < m:
                yield Task("forward", stage, 0, i + warm_up)
            yield Task("backward", stage, 0, i)
            if i >= stage:
                yield Task("weight", stage, 0, done)
                done += 1
        yield from (Task("weight", stage, 0, i) for i in range(done, m))

    def _interleaved(self, stage: int) -> Iterator[Task]:
        p, v, m = self.stages, self.chunks, self.micro_batches
        total = m * v
        warm_up = min(2 * (p - stage - 1) + (v - 1) * p, total)

        def task(kind: Kind, place: int) -> Task:
            group, within = divmod(place, p * v)
            chunk = within // p
            return Task(kind, stage, chunk if kind == "forward" else v - 1 - chunk, group * p + within % p)

        yield from (task("forward", place) for place in range(warm_up))
        for place in range(total):
            if place + warm_up < total:
                yield task("forward", place + warm_up)
            yield task("backward", place)

    def _build(self) -> nx.DiGraph[Task]:
        graph: nx.DiGraph[Task] = nx.DiGraph()
        for order in self.orders:
            graph.add_nodes_from(order)
            graph.add_edges_from(pairwise(order), message=0.0)
            for task in order:
                for sender in self._senders(task):
                    graph.add_edge(sender, task, message=float(sender.stage != task.stage))
        return graph

    def _senders(self, task: Task) -> list[Task]:
        """The passes elsewhere, and the earlier ones here, that a task waits for."""
        sender = self._sender(task)
        return [] if sender is None else [sender]

    def _sender(self, task: Task) -> Task | None:
        """The pass whose result a task needs from elsewhere."""
        kind, stage, chunk, i = task
        if kind == "forward":
            if stage > 0:
                return Task(kind, stage - 1, chunk, i)
            return Task(kind, self.stages - 1, chunk - 1, i) if chunk > 0 else None
        if kind == "weight":
            return Task("backward", stage, chunk, i)
        if stage < self.stages - 1:
            return Task(kind, stage + 1, chunk, i)
        return Task(kind, 0, chunk + 1, i) if chunk < self.chunks - 1 else Task("forward", stage, chunk, i)

    def _index(self) -> None:
        """Topological generations as arrays: tasks, what they wait for (padded), and which waits carry a message."""
        place: dict[Task, int] = {}
        for generation in nx.topological_generations(self.graph):
            before = [list(self.graph.pred[task].items()) for task in generation]
            wide = max((len(one) for one in before), default=0)
            waits = np.full((len(generation), wide), -1, dtype=np.intp)
            messages = np.zeros((len(generation), wide))
            for row, one in enumerate(before):
                for column, (task, edge) in enumerate(one):
                    waits[row, column] = place[task]
                    messages[row, column] = edge["message"]
            first = len(self.tasks)
            for task in generation:
                place[task] = len(self.tasks)
                self.tasks.append(task)
            self._levels.append((np.arange(first, len(self.tasks)), waits, messages))
        # A backward pass whose weight gradient is no task of its own does both.
        self._kind = np.array(
            [
                len(KINDS) if task.kind == "backward" and not self._is_split(task) else KINDS.index(task.kind)
                for task in self.tasks
            ]
        )
        self._stage = np.array([task.stage for task in self.tasks])
        self._chunk = np.array([task.chunk for task in self.tasks])

    def _is_split(self, task: Task) -> bool:
        """Whether the weight gradient of a pass is a task of its own."""
        return task._replace(kind="weight") in self.graph

    def seconds(self, passes: Passes) -> Column:
        """Seconds of every task, in the order of :attr:`tasks` on the last axis."""
        together = passes.backward + passes.weight
        of_kind = np.stack(np.broadcast_arrays(passes.forward, passes.backward, passes.weight, together))
        seconds: Column = np.moveaxis(of_kind[self._kind, ..., self._stage, self._chunk], 0, -1)
        return seconds

    def ends(self, passes: Passes) -> Column:
        """When every task ends, from the start of the step, in the order of :attr:`tasks` on the last axis."""
        seconds = self.seconds(passes)
        # One task more, that ends at zero, is what the padding of a row waits for.
        ends = np.zeros((*seconds.shape[:-1], len(self.tasks) + 1))
        message = passes.message[..., None, None]
        for here, waits, messages in self._levels:
            begin = np.max(ends[..., waits] + messages * message, axis=-1, initial=0.0)
            ends[..., here] = begin + seconds[..., here]
        return ends[..., :-1]

    def makespan(self, passes: Passes) -> Column:
        """Seconds from the first forward to the last backward pass: the longest path."""
        return np.asarray(np.max(self.ends(passes), axis=-1))

    def critical_path(self, passes: Passes) -> list[Task]:
        """The tasks of one longest path (passes without leading axes)."""
        seconds = dict(zip(self.tasks, self.seconds(passes).tolist(), strict=True))
        weighted: nx.DiGraph[Task] = nx.DiGraph()
        weighted.add_nodes_from(self.graph)
        for task, follower, edge in self.graph.edges(data=True):
            weighted.add_edge(task, follower, weight=seconds[task] + edge["message"] * float(passes.message))
        # The last task has no edge that would carry its seconds.
        for task in [one for one, followers in self.graph.out_degree() if followers == 0]:
            weighted.add_edge(task, Task("weight", -1, 0, 0), weight=seconds[task])
        path: list[Task] = nx.dag_longest_path(weighted)
        return path[:-1]

    def peak_in_flight(self, *, until: Kind = "backward") -> list[float]:
        """Micro-batches whose activations each stage holds at its peak, in units of whole stages.

        Args:
            until: what releases the activations: the backward pass, or the weight gradient behind it.
        """
        return [max(held for _, held in self.in_flight(stage, until=until)) for stage in range(self.stages)]

    def in_flight(self, stage: int, *, until: Kind = "backward") -> list[tuple[Task, float]]:
        """Every task of a stage with the micro-batches held while it runs, in units of whole stages."""
        held = 0
        rows = []
        for task in self.orders[stage]:
            held += task.kind == "forward"
            rows.append((task, held / self.parts))
            held -= task.kind == (until if self._is_split(task) else "backward")
        return rows


@lru_cache(maxsize=64)
def step_graph(stages: int, chunks: int, micro_batches: int, zero_bubble: bool = False) -> StepGraph:
    """The graph of a schedule, built once."""
    return StepGraph(stages, chunks, micro_batches, zero_bubble=zero_bubble)
