"""DualPipe: micro-batches enter the pipeline from both ends, so that two directions fill each other's gaps.

Every rank holds two stages of the model: rank k the stages k and p-1-k. Half of the micro-batches run up the ranks, the
other half down. The order is that of DeepSeek-V3 (arXiv:2412.19437, section 3.2.1, figure 5): on every rank eight
phases, in the first and last of which backward passes are split as in ZB-H1. A forward and a backward pass that overlap
run as one here: they begin when both can, and both have ended when their seconds together have passed (what overlapping
saves must be in the seconds that are given).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from catalogs.errors import UsageError
from optimizer.pipeline_graph import Kind, StepGraph, Task

UP, DOWN = 0, 1
"""Directions; a task's ``chunk``. Seconds of direction ``DOWN`` on rank k are those of the model's stage p-1-k."""


class DualPipe(StepGraph):
    """The graph of a DualPipe step on ``ranks`` ranks; a task's ``micro_batch`` counts within its direction."""

    def __init__(self, ranks: int, micro_batches: int) -> None:
        self._overlapped: dict[Task, Task] = {}
        super().__init__(ranks, 2, micro_batches, zero_bubble=True)
        # Both directions hold whole stages.
        self.parts = 1

    def _check(self, stages: int, chunks: int, micro_batches: int, zero_bubble: bool) -> None:
        if stages % 2 or micro_batches % 2 or micro_batches < 2 * stages:
            raise UsageError("DualPipe needs an even number of ranks and of micro-batches, at least two for each rank")

    def _order(self, stage: int) -> Iterator[Task]:
        ranks, each = self.stages, self.micro_batches // 2
        outside = min(stage, ranks - 1 - stage)  # ranks between this one and the nearer end
        inside = ranks // 2 - outside - 1
        near, far = (UP, DOWN) if stage < ranks // 2 else (DOWN, UP)
        done = {(kind, way): 0 for kind in ("forward", "backward") for way in (near, far)}
        waiting: deque[Task] = deque()

        def next_task(kind: Kind, way: int) -> Task:
            count = done[kind, way]
            done[kind, way] = count + 1
            return Task(kind, stage, way, count)

        def split(way: int) -> Task:
            task = next_task("backward", way)
            waiting.append(task._replace(kind="weight"))
            return task

        for _ in range(2 * inside):
            yield next_task("forward", near)
        for _ in range(outside + 1):
            yield next_task("forward", near)
            yield next_task("forward", far)
        for _ in range(inside):
            yield split(far)
            yield waiting.popleft()
            yield next_task("forward", far)

        def both(way: int) -> tuple[Task, Task]:
            pair = next_task("forward", way), next_task("backward", DOWN - way)
            self._overlapped[pair[0]] = pair[1]
            return pair

        for place in range(each - ranks + outside + 1):
            if place == 0 and inside == 0:  # in the middle the first two would wait for each other
                yield from (next_task("forward", near), next_task("backward", far))
            else:
                yield from both(near)
            yield from both(far)
        for _ in range(inside):
            yield next_task("backward", far)
            yield from both(far)
        # From the middle of the drain on, weight gradients wait for the gaps.
        last = outside + 1
        for place in range(2 * last):
            way = near if place % 2 else far
            yield split(way) if place >= last else next_task("backward", way)
        for _ in range(inside):
            yield waiting.popleft()
            yield split(near)
        yield from waiting

    def _senders(self, task: Task) -> list[Task]:
        senders = super()._senders(task)
        if task in self._overlapped:
            senders += super()._senders(self._overlapped[task])
        return [self._overlapped.get(sender, sender) for sender in senders]

    def _sender(self, task: Task) -> Task | None:
        kind, stage, way, _ = task
        if kind == "weight":
            return task._replace(kind="backward")
        ahead = 1 if way == UP else -1
        source = stage - ahead if kind == "forward" else stage + ahead
        if 0 <= source < self.stages:
            return task._replace(stage=source)
        return None if kind == "forward" else task._replace(kind="forward")
