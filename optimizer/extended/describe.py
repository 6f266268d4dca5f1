"""A refined plan as the object of the documented schema."""

from __future__ import annotations

from typing import Any

import numpy as np

from costmodels.interval import probability_below
from costmodels.run import DAY_S
from optimizer.extended.candidate import EVEN, LIMITS
from optimizer.extended.problem import Problem
from optimizer.extended.settle import Settled


def described(problem: Problem, one: Settled) -> dict[str, Any]:
    """All figures of a plan; lists are by pipeline stage."""
    ground, candidate, outcome = problem.grounds[one.candidate.site], one.candidate, one.outcome
    site = ground.site
    deadline, memory_sigma = problem.job.deadline_s, np.asarray(site.framework.memory_log_sigma)
    overlap = ground.expert_overlap(candidate)
    fits = probability_below(ground.physics.device.memory_bytes, np.asarray(max(outcome.memory_bytes)), memory_sigma)
    return {
        "hardware": site.accelerator.name,
        "server": site.server.name,
        "framework": site.framework.name,
        "precision": site.precision,
        "accelerators": outcome.accelerators,
        "servers": sum(outcome.servers.values()),
        "offers": outcome.servers,
        "days": outcome.wall_s / DAY_S,
        "goodput": outcome.goodput,
        "p_deadline": 1.0 - outcome.late if deadline < float("inf") else None,
        "p_fits": float(fits),
        "cost_usd": outcome.cost_usd,
        "step_s": outcome.step_s,
        "layout": {
            **{name: getattr(candidate, name) for name in ("tp", "cp", "pp", "vpp", "dp", "ep", "zero", "zero_group")},
            "schedule": "zero_bubble" if candidate.zero_bubble else "interleaved" if candidate.vpp > 1 else "1f1b",
            "micro_batch": candidate.micro_batch,
            "micro_batches": candidate.micro_batches,
            "global_batch": candidate.global_batch,
            "recompute": candidate.recompute,
            "even": candidate.split == EVEN,
            "layers": list(outcome.layers),
            "recomputed_layers": list(outcome.recomputed),
            "offload_optimizer": candidate.offload_optimizer,
            "offload_activations": candidate.offload_activations,
        },
        "memory_bytes": list(outcome.memory_bytes),
        "capacity_bytes": float(ground.physics.device.memory_bytes),
        "time": one.time,
        "bubble_beyond_closed_form_s": one.longer_s,
        "expert_overlap": None if overlap is None else overlap.to_json(),
        "excess": dict(zip(LIMITS, outcome.excess, strict=True)),
    }
