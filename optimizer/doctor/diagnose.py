"""What fills the memory, where the time goes, and which measured fact contradicts the model most."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError, UsageError
from catalogs.framework import Framework
from costmodels.layers import layers_of
from costmodels.memory import on_device
from costmodels.partition import stage_layers
from costmodels.schedule import in_flight
from costmodels.stage_bytes import stage_bytes
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.doctor.repairs import Repair, repairs
from optimizer.expert_overlap import told_exchange
from optimizer.inverse.least import fastest, ground
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION
from optimizer.validity import broken_rules, does_not_exist

GIB = 2.0**30


@dataclass(frozen=True)
class Observed:
    """What was seen of a run; everything may be unknown.

    Attributes:
        oom: whether it ran out of memory.
        oom_rank: on which rank.
        peak_bytes: measured peak of one device.
        step_s: measured seconds of a step.
        tokens_per_s_per_accel: measured throughput.
    """

    oom: bool = False
    oom_rank: int | None = None
    peak_bytes: float | None = None
    step_s: float | None = None
    tokens_per_s_per_accel: float | None = None


@dataclass(frozen=True)
class StageMemory:
    """Memory of one rank of a pipeline stage.

    Attributes:
        stage: its index.
        parts: bytes by component.
        over_bytes: by how much they exceed the device (negative: what is left).
        when: when the peak comes.
    """

    stage: int
    parts: dict[str, float]
    over_bytes: float
    when: str

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"stage": self.stage, "bytes": self.parts, "over_bytes": self.over_bytes, "when": self.when}


@dataclass(frozen=True)
class Fact:
    """A measured fact against its prediction.

    Attributes:
        name: what was measured.
        observed, predicted: in SI units.
        deviations: log ratio in standard deviations of the prediction.
    """

    name: str
    observed: float
    predicted: float
    deviations: float


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a layout.

    Attributes:
        configuration: the layout with all figures.
        stages: memory of every stage, fullest first.
        oom_stage: stage of the rank that ran out of memory, where that is known.
        repairs: what makes it fit, least loss of throughput first (empty if it fits).
        best: the fastest layout on the same cluster (None: nothing fits there).
        slower: how many times as long as the best one the layout takes per token (None without a best one).
        measured: seconds of a measured step: the best layout's for the same tokens, what the layout loses by
            prediction, and what the model does not explain (None without a measurement or a best layout).
        time: seconds of a step by component here, and in the best layout for the same tokens.
        facts: measured facts, the one that contradicts the model most first.
        notes: what else is to be said.
    """

    configuration: Configuration
    stages: tuple[StageMemory, ...]
    oom_stage: int | None
    repairs: tuple[Repair, ...]
    best: Configuration | None
    slower: float | None
    measured: dict[str, float] | None
    time: dict[str, tuple[float, float]]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "configuration": self.configuration.to_json(),
            "stages": [one.to_json() for one in self.stages],
            "oom_stage": self.oom_stage,
            "repairs": [one.to_json() for one in self.repairs],
            "best": None if self.best is None else self.best.to_json(),
            "slower": self.slower,
            "measured": self.measured,
            "time": {name: list(pair) for name, pair in self.time.items()},
            "facts": [one.__dict__ for one in self.facts],
            "notes": list(self.notes),
        }


def diagnose(job: Job, layout: Layout, catalog: Catalog, observed: Observed | None = None) -> Diagnosis:
    """Diagnose a layout on the job's (only) hardware.

    Raises:
        UsageError: not exactly one accelerator is named, or what was observed makes no sense.
        UnsupportedError: the layout breaks a rule; the message names it.
    """
    seen = observed or Observed()
    if len(job.hardware) != 1:
        raise UsageError("a diagnosis needs exactly one accelerator; name it with --hardware")
    site = ground(job, catalog)
    physics = Physics.of(job, site, catalog)
    if broken := broken_rules(layout, physics, job):
        raise UnsupportedError(does_not_exist(broken))
    one = configure(physics, layout, None)
    stages = stage_memory(physics, layout)
    wanted = replace(
        job,
        max_accelerators=layout.accelerators,
        global_batch=layout.global_batch,
        batch_tolerance=0.0,
        expert_overlap=True,
    )
    other = fastest(replace(wanted, deadline_s=math.inf), site, catalog)
    switched = Physics.of(wanted, site, catalog)
    best = None if other is None else configure(switched, other, None)
    time: dict[str, tuple[float, float]] = {}
    slower = measured = None
    if best is not None:
        # The best layout may leave accelerators idle; both are compared for the same sequences.
        scale = layout.global_batch / best.layout.global_batch
        time = {name: (one.time.get(name, 0.0), scale * best.time.get(name, 0.0)) for name in {**one.time, **best.time}}
        time = dict(sorted(time.items(), key=lambda item: item[1][1] - item[1][0]))
        slower = one.step_s / (scale * best.step_s)
        measured = _shares(one, scale * best.step_s, seen)
    facts = _facts(physics, one, stages, layout, seen)
    return Diagnosis(
        configuration=one,
        stages=tuple(sorted(stages, key=lambda s: (-s.over_bytes, s.stage))),
        oom_stage=None if seen.oom_rank is None else _stage_of(seen.oom_rank, layout),
        repairs=() if one.fits and not seen.oom else tuple(repairs(job, layout, physics, catalog)),
        best=best,
        slower=slower,
        measured=measured,
        time=time,
        facts=tuple(sorted(facts, key=lambda fact: -abs(fact.deviations))),
        notes=(*_notes(one, stages, layout, seen), *_exchange(one, configure(switched, layout, None), site.framework)),
    )


def stage_memory(physics: Physics, layout: Layout) -> list[StageMemory]:
    """Memory of every pipeline stage, in order."""
    shard, pipe, replicas = layout.shard, layout.pipe, layout.replicas
    x = physics.setting(shard)
    layers = layers_of(x)
    stages = np.arange(layout.pp, dtype=np.float64)
    table = stage_bytes(x, layers, pipe, stages)
    parts = on_device(physics.memory(table, shard, pipe, replicas), physics.device.memory_bytes)
    waiting = np.broadcast_to(in_flight(pipe, replicas.micro_batches, stages), stages.shape)
    rows = {name: np.broadcast_to(value, stages.shape) for name, value in parts.items()}
    capacity = float(physics.device.memory_bytes)
    scratch = np.broadcast_to(layers.scratch_bytes(*stage_layers(x.architecture, pipe, stages)), stages.shape)
    found = []
    for stage in range(layout.pp):
        held = {name: float(value[stage]) for name, value in rows.items()}
        at_loss = stage == layout.pp - 1 and float(layers.logit_bytes) >= held["working"] - float(scratch[stage])
        when = "at the loss" if at_loss else "in the first backward pass"
        count = float(waiting[stage])
        noun = "micro-batch" if count == 1 else "micro-batches"
        found.append(StageMemory(stage, held, sum(held.values()) - capacity, f"{when}, {count:.3g} {noun} in flight"))
    return found


def _stage_of(rank: int, layout: Layout) -> int:
    """Pipeline stage of a rank; stages are the outermost dimension of the rank order."""
    if not 0 <= rank < layout.accelerators:
        raise UsageError(f"rank {rank} does not exist among {layout.accelerators} accelerators")
    return rank // (layout.accelerators // layout.pp)


def _facts(
    physics: Physics, one: Configuration, stages: list[StageMemory], layout: Layout, seen: Observed
) -> list[Fact]:
    memory_sigma = max(float(physics.site.framework.memory_log_sigma), 1e-9)
    step_sigma = max(float(physics.step_sigma(np.asarray(float(layout.accelerators)))), 1e-9)
    facts = []

    def add(name: str, observed: float, predicted: float, sigma: float) -> None:
        if not observed > 0:
            raise UsageError(f"{name} must be above zero, not {observed:g}")
        facts.append(Fact(name, observed, predicted, math.log(observed / predicted) / sigma))

    if seen.peak_bytes is not None:
        add("peak memory", seen.peak_bytes, one.memory_bytes, memory_sigma)
    if seen.oom:
        stage = one.peak_stage if seen.oom_rank is None else _stage_of(seen.oom_rank, layout)
        predicted = sum(stages[stage].parts.values())
        if predicted < one.capacity_bytes:
            add(f"memory of stage {stage}, at least", one.capacity_bytes, predicted, memory_sigma)
    if seen.step_s is not None:
        add("seconds of a step", seen.step_s, one.step_s, step_sigma)
    if seen.tokens_per_s_per_accel is not None:
        add("tokens/s per accelerator", seen.tokens_per_s_per_accel, one.tokens_per_s_per_accel, step_sigma)
    return facts


def _shares(one: Configuration, best_s: float, seen: Observed) -> dict[str, float] | None:
    """Seconds of a measured step by reason."""
    step_s = seen.step_s
    if step_s is None and seen.tokens_per_s_per_accel:
        step_s = one.step_s * one.tokens_per_s_per_accel / seen.tokens_per_s_per_accel
    if step_s is None:
        return None
    return {"best": best_s, "layout": one.step_s - best_s, "unexplained": step_s - one.step_s}


def _exchange(one: Configuration, switched: Configuration, framework: Framework) -> list[str]:
    """Whether the exchange of experts is overlapped, and what switching that on would give."""
    notes = told_exchange(one.layout.ep, one.expert_overlap, framework)
    overlap = switched.expert_overlap
    if one.expert_overlap is not None or overlap is None:
        return notes
    if overlap.on:
        return [*notes, f"switched on, a step would take {switched.step_s:.3g} s instead of {one.step_s:.3g} s"]
    return told_exchange(one.layout.ep, overlap, framework)


def _notes(one: Configuration, stages: list[StageMemory], layout: Layout, seen: Observed) -> list[str]:
    notes = []
    if seen.oom_rank is not None:
        stage = _stage_of(seen.oom_rank, layout)
        over = stages[stage].over_bytes / GIB
        verdict = f"{over:.2f} GiB over" if over > 0 else f"{-over:.2f} GiB to spare"
        notes.append(f"rank {seen.oom_rank} is on stage {stage}, which the model has {verdict}")
        if stage != one.peak_stage:
            notes.append(f"the model has stage {one.peak_stage} fuller than stage {stage}")
    if seen.oom and one.fits:
        notes.append(
            "the model says it fits: look for memory that it does not know (other processes, longer sequences than "
            "stated, evaluation with larger batches, memory leaks, allocator settings)"
        )
    return notes
