"""A configuration: a cluster, a layout and what the models say about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optimizer.expert_overlap import ExpertOverlap
from optimizer.layout import Layout


@dataclass(frozen=True)
class Configuration:
    """A cluster, a layout and what the models say about it; one entry of ``best`` or ``alternatives``.

    Attributes:
        hardware, server, framework, precision: catalog names.
        offer, provider, tenure: how it is paid for (None in an estimate without any offer).
        accelerators, servers: cluster size (servers are billed whole).
        days: wall-clock days of the run, goodput included.
        goodput: share of them in which training makes progress.
        interruptions, checkpoint_s, checkpoint_interval_s: expected interruptions of the run, seconds that a checkpoint
            stops it, and seconds of work between two (None where the goodput is stated).
        spares: spare servers that are bought along (0 when rented).
        steps: optimizer steps.
        step_s: seconds of one step.
        step_s_interval, days_interval: bounds that hold the actual figure with probability 0.9.
        p_fits: probability that the memory suffices.
        p_deadline: probability that the run ends by the deadline (None without one).
        tokens_per_s_per_accel: while training progresses.
        mfu, hfu: model and hardware FLOPs utilisation against the dense peak of the precision.
        cost_usd: sum of ``cost``.
        fits: whether ``memory`` is within capacity.
        layout: the degrees.
        memory: bytes by component on the fullest rank, and its pipeline stage.
        peak_stage: which stage that is.
        capacity_bytes: of the device.
        time: seconds of one step by component.
        cost: USD by component.
        profile: name of the fitted profile and how it was found.
        expert_overlap: whether dispatch and combine of experts are overlapped (None: there are none between ranks, or
            no switch for it, or it is off).
    """

    hardware: str
    server: str
    framework: str
    precision: str
    offer: str | None
    provider: str | None
    tenure: str | None
    accelerators: int
    servers: int
    days: float
    goodput: float
    interruptions: float | None
    checkpoint_s: float | None
    checkpoint_interval_s: float | None
    spares: int
    steps: int
    step_s: float
    step_s_interval: tuple[float, float]
    days_interval: tuple[float, float]
    p_fits: float
    p_deadline: float | None
    tokens_per_s_per_accel: float
    mfu: float
    hfu: float
    cost_usd: float | None
    fits: bool
    layout: Layout
    memory: dict[str, float]
    peak_stage: int
    capacity_bytes: float
    time: dict[str, float]
    cost: dict[str, float]
    profile: str
    expert_overlap: ExpertOverlap | None

    @property
    def memory_bytes(self) -> float:
        """Bytes on the fullest rank."""
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        layout = self.layout
        return {
            "hardware": self.hardware,
            "server": self.server,
            "offer": self.offer,
            "provider": self.provider,
            "tenure": self.tenure,
            "framework": self.framework,
            "precision": self.precision,
            "accelerators": self.accelerators,
            "servers": self.servers,
            "days": self.days,
            "days_interval": list(self.days_interval),
            "p_deadline": self.p_deadline,
            "goodput": self.goodput,
            "interruptions": self.interruptions,
            "checkpoint_s": self.checkpoint_s,
            "checkpoint_interval_s": self.checkpoint_interval_s,
            "spares": self.spares,
            "cost_usd": self.cost_usd,
            "fits": self.fits,
            "p_fits": self.p_fits,
            "mfu": self.mfu,
            "hfu": self.hfu,
            "steps": self.steps,
            "step_s": self.step_s,
            "step_s_interval": list(self.step_s_interval),
            "tokens_per_s_per_accel": self.tokens_per_s_per_accel,
            "layout": {name: getattr(layout, name) for name in Layout.__dataclass_fields__},
            "memory": self.memory
            | {
                "total_bytes": self.memory_bytes,
                "capacity_bytes": self.capacity_bytes,
                "peak_stage": self.peak_stage,
            },
            "time": self.time,
            "cost": self.cost,
            "profile": self.profile,
            "expert_overlap": None if self.expert_overlap is None else self.expert_overlap.to_json(),
        }
