"""One point of the extended space, and what the models say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Extension = Literal["stages", "recompute", "offload", "batch", "offers"]

EXTENSIONS: dict[Extension, str] = {
    "stages": "any number of layers on every pipeline stage",
    "recompute": "as many recomputed layers on every stage as its memory needs",
    "offload": "any share of the optimizer state (and activations) in host memory",
    "batch": "any global batch within the range",
    "offers": "servers of several offers of one provider",
}
"""What may be added to the enumerable space, in words."""

EVEN, SOLVED = "even", "solved"
"""Layers per stage: as the enumerable space has them, or such that the slowest stage is as fast as can be."""

FITTED = "fitted"
"""Recomputation: on every stage the fewest layers that let it fit."""


class Candidate(NamedTuple):
    """A point of the space; equal points are the same candidate and are evaluated once.

    ``site`` is an index into the problem's sites, ``recompute`` and ``split`` are words, the offloads are shares, all
    else is as in a layout.
    """

    site: int
    tp: int
    cp: int
    ep: int
    micro_batch: int
    pp: int
    vpp: int
    zero_bubble: int
    dp: int
    micro_batches: int
    zero: int
    zero_group: int
    offload_activations: float
    offload_optimizer: float
    recompute: str
    split: str

    @property
    def zero_span(self) -> int:
        """Accelerators that share one copy of the sharded state (0: all replicas)."""
        return self.zero_group * self.tp

    @property
    def world(self) -> int:
        """Accelerators of one replica."""
        return self.tp * self.cp * self.pp

    @property
    def accelerators(self) -> int:
        """Accelerators in use."""
        return self.world * self.dp

    @property
    def global_batch(self) -> int:
        """Sequences per step."""
        return self.dp * self.micro_batch * self.micro_batches


LIMITS = ("memory", "deadline", "budget", "offers", "split")
"""What a candidate must keep; the order of the constraints that samplers see."""


@dataclass(frozen=True)
class Outcome:
    """What the models say of a candidate.

    Attributes:
        cost_usd, wall_s, step_s: of the run and of one step.
        goodput: share of the time in which training makes progress.
        accelerators: in use.
        late: probability that the run ends after the deadline (0 without one).
        excess: by how much, as a share, each of :data:`LIMITS` is exceeded; feasible if none is above zero.
        layers: per stage.
        recomputed: fully recomputed layers per stage.
        memory_bytes: per stage, that each of its ranks must have.
        servers: by offer name.
    """

    cost_usd: float
    wall_s: float
    goodput: float
    step_s: float
    accelerators: int
    late: float
    excess: tuple[float, ...]
    layers: tuple[int, ...]
    recomputed: tuple[int, ...]
    memory_bytes: tuple[float, ...]
    servers: dict[str, int]

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return all(value <= 0 for value in self.excess)
