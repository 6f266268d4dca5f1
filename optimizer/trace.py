"""One training step as a Chrome trace: a row per pipeline stage, in the order in which the schedule runs its passes.

The format is the *Trace Event Format* of chrome://tracing and Perfetto: complete events (``ph`` ``X``) with ``ts`` and
``dur`` in microseconds. The passes come from the schedule's graph; waiting is a slice of its own, so that the slices
of every row fill the predicted step exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UsageError
from costmodels.columns import Column
from costmodels.layers import layers_of
from costmodels.partition import layers_of_chunk
from costmodels.stage_seconds import StageSeconds, stage_seconds
from optimizer.atomic import write_atomically
from optimizer.configuration import Configuration
from optimizer.job import Job
from optimizer.market import site_of
from optimizer.physics import Physics
from optimizer.pipeline_graph import Passes, StepGraph, Task

MICROSECOND = 1e-6

MAX_PASSES = 400_000
"""Passes of one step beyond which a trace is refused: viewers do not open such files."""

AFTER = ("data_comm", "optimizer", "overhead", "jitter")
"""Components of the step that follow the last pass, in this order."""

Slice = tuple[str, float, dict[str, int]]
"""Name, seconds and arguments of one slice."""


def write_trace(path: Path, job: Job, one: Configuration, catalog: Catalog) -> None:
    """Write the trace of one step of an estimated configuration; the file is whole or not there.

    Raises:
        UsageError: the file cannot be written, or the step has too many passes to look at.
    """
    site = site_of(catalog.accelerators[one.hardware], job, catalog)
    document = step_trace(Physics.of(job, site, catalog), one)
    write_atomically(path, json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")


def step_trace(physics: Physics, one: Configuration) -> dict[str, Any]:
    """The trace of one step: every stage's slices, end to end, from zero to the predicted seconds of the step.

    Where the stages are uneven, the closed form of the step is not exactly the schedule's longest path: what it is
    longer becomes waiting, what it is shorter shrinks the passes. ``otherData`` has both.

    Raises:
        UsageError: the step has too many passes to look at.
    """
    layout = one.layout
    count = 2 * layout.pp * layout.vpp * layout.micro_batches
    if count > MAX_PASSES:
        raise UsageError(
            f"--trace: a step of {count:,} passes is too long to look at (at most {MAX_PASSES:,}); "
            "estimate it with a smaller --global-batch"
        )
    graph = StepGraph(layout.pp, layout.vpp, layout.micro_batches, zero_bubble=layout.schedule == "zero_bubble")
    seconds = _chunk_seconds(physics, one)
    message = np.full((layout.pp, layout.vpp), _message_s(one))
    passes = Passes(
        forward=seconds.forward + message,
        backward=seconds.backward - seconds.weight_gradient + seconds.recompute + seconds.offload + message,
        weight=seconds.weight_gradient,
        message=np.zeros(()),
    )
    ends = graph.ends(passes)
    longest = float(np.max(ends))
    after = [(name, one.time[name]) for name in AFTER]
    predicted = one.step_s - sum(s for _, s in after)
    scale = min(predicted / longest, 1.0)
    times = dict(zip(graph.tasks, zip(ends.tolist(), graph.seconds(passes).tolist(), strict=True), strict=True))
    events = [{"name": "process_name", "ph": "M", "pid": 0, "args": {"name": f"{one.hardware}, one step"}}]
    for stage, order in enumerate(graph.orders):
        events.append({"name": "thread_name", "ph": "M", "pid": 0, "tid": stage, "args": {"name": f"stage {stage}"}})
        slices = [*_row(order, times, seconds, float(message[0, 0]), graph.splits, scale, predicted)]
        slices += [(name, s, {}) for name, s in after]
        events.extend(_events(stage, slices, one.step_s))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"step_s": one.step_s, "passes_closed_form_s": predicted, "passes_longest_path_s": longest},
    }


def _chunk_seconds(physics: Physics, one: Configuration) -> StageSeconds:
    """Seconds of every stage (first axis) and chunk (second)."""
    pipe, shape = one.layout.pipe, (one.layout.pp, one.layout.vpp)
    index = (
        np.arange(one.layout.vpp, dtype=np.float64) * one.layout.pp
        + np.arange(one.layout.pp, dtype=np.float64)[:, None]
    )
    dense, moe = layers_of_chunk(physics.architecture, pipe, index)
    x = physics.setting(one.layout.shard)
    last = np.where(index == one.layout.pp * one.layout.vpp - 1, 1.0, 0.0)
    beside = physics.beside(one.layout.shard, pipe, one.layout.replicas)
    seconds = stage_seconds(x, layers_of(x), pipe, dense, moe, last, beside=beside)
    return seconds.map(lambda column: np.broadcast_to(column, shape))


def _message_s(one: Configuration) -> float:
    """Exposed seconds of the message that belongs to one pass."""
    layout = one.layout
    return one.time["pipeline_comm"] / (2.0 * (layout.micro_batches * layout.vpp + layout.pp - 1))


def _row(
    order: list[Task],
    times: dict[Task, tuple[float, float]],
    seconds: StageSeconds,
    message_s: float,
    splits: bool,
    scale: float,
    end_s: float,
) -> Iterator[Slice]:
    """A stage's slices end to end until ``end_s``, waiting included."""
    now = 0.0
    for task in order:
        end, lasts = times[task]
        if (end - lasts) * scale > now:
            yield "bubble", (end - lasts) * scale - now, {}
        for name, part in _parts(task, seconds, message_s, splits):
            if part > 0:
                yield name, part * scale, {"micro_batch": task.micro_batch, "chunk": task.chunk}
        now = end * scale
    if end_s > now:
        yield "bubble", end_s - now, {}


def _parts(task: Task, seconds: StageSeconds, message_s: float, splits: bool) -> list[tuple[str, float]]:
    """What one pass is made of."""

    def of(column: Column) -> float:
        return float(column[task.stage, task.chunk])

    if task.kind == "forward":
        return [("forward", of(seconds.forward)), ("pipeline_comm", message_s)]
    if task.kind == "weight":
        return [("weight gradient", of(seconds.weight_gradient))]
    gradient = of(seconds.backward) - (of(seconds.weight_gradient) if splits else 0.0)
    return [
        ("recompute", of(seconds.recompute)),
        ("offload", of(seconds.offload)),
        ("backward", gradient),
        ("pipeline_comm", message_s),
    ]


def _events(stage: int, slices: list[Slice], step_s: float) -> Iterator[dict[str, Any]]:
    """Complete events of a row; each begins where the one before it ends, and the last ends with the step."""
    ends = np.cumsum([0.0, *(seconds for _, seconds, _ in slices)])
    # Rounding of a long sum is put into nothing but the scale, so that rows end together.
    ends *= step_s / ends[-1]
    for (name, seconds, args), (begin, end) in zip(slices, pairwise(ends.tolist()), strict=True):
        if seconds > 0:
            yield {
                "name": name,
                "cat": "communication" if name.endswith("_comm") else "idle" if name == "bubble" else "compute",
                "ph": "X",
                "pid": 0,
                "tid": stage,
                "ts": begin / MICROSECOND,
                "dur": (end - begin) / MICROSECOND,
                "args": args,
            }
