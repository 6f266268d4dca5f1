"""The question: which model on how many tokens by when, and what may be used for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from catalogs.errors import UsageError
from catalogs.model import Model
from catalogs.offer import Tenure
from catalogs.profile import Precision
from optimizer.tuning import FineTuning

RecomputeChoice = Literal["none", "selective", "full", "partial"]
OffloadChoice = Literal["none", "optimizer", "activations"]
RecoveryName = Literal["automatic", "manual", "replica"]
"""After an interruption machines restart the whole job, people do, or the other data-parallel replicas go on."""

MAX_ACCELERATORS = 2**20
"""Largest cluster that can be asked for."""

MAX_TOKENS = 1e18
"""Most training tokens, and tokens in one step, that can be asked for."""

DEFAULT_TENURES: tuple[Tenure, ...] = ("on_demand", "reserved_1y", "reserved_3y", "capacity_block", "purchase")
"""Every tenure but spot, which is considered when asked for: its interruptions are little known."""

EVEN = 0.5
"""Probability that every plan has whose predicted memory and days are within the limits."""

SURE = 0.9
"""Probability of fitting and of meeting the deadline below which a surer choice is pointed out."""


@dataclass(frozen=True)
class Job:
    """One planning question, in SI units.

    Attributes:
        model: what to train.
        tokens: how many tokens to train on.
        deadline_s: latest wall-clock end, in seconds from the start (infinite = none).
        hardware: accelerator names to consider (empty = all in the catalog).
        budget_usd: most money to spend (infinite = no limit).
        max_accelerators: largest cluster to consider.
        seq: sequence length in tokens.
        global_batch: sequences per optimizer step.
        batch_tolerance: share by which the global batch may differ so that it divides over replicas (0 = exactly it).
        precision: training precision, or ``auto``: bf16 where the accelerator has it, else fp16.
        frameworks: framework names to consider (empty = the usual one of each vendor).
        optimizer: optimizer name.
        tenures: ways of paying to consider.
        offers: names of the only offers to consider (empty = all of ``tenures``).
        micro_batches: micro-batches in the space, in sequences (empty: powers of two).
        recompute: recomputation choices in the space.
        offload: offload choices in the space.
        goodput: share of wall-clock time that makes progress, or None for that of modelled failures and checkpoints.
        recovery: how it recovers from an interruption (a stated goodput leaves it without effect on time).
        confidence: probability with which the deadline must be met, and the memory must suffice; 0.5 takes predicted
            time and memory as they are.
        tuning: how the model is fine-tuned (None: it is trained from scratch, all of it).
        expert_overlap: whether the framework's switch that overlaps the exchange of experts, if it has one, is on
            wherever the layout allows it; False: nowhere.
        assumptions: what was assumed in reading the question, in words.
    """

    model: Model
    tokens: float
    deadline_s: float = math.inf
    hardware: tuple[str, ...] = ()
    budget_usd: float = math.inf
    max_accelerators: int = 16384
    seq: int = 4096
    global_batch: int = 1024
    batch_tolerance: float = 0.05
    precision: Precision | Literal["auto"] = "auto"
    frameworks: tuple[str, ...] = ()
    optimizer: str = "adamw"
    tenures: tuple[Tenure, ...] = DEFAULT_TENURES
    offers: tuple[str, ...] = ()
    micro_batches: tuple[int, ...] = ()
    recompute: tuple[RecomputeChoice, ...] = ("none", "selective", "full", "partial")
    offload: tuple[OffloadChoice, ...] = ("none", "optimizer")
    goodput: float | None = None
    recovery: RecoveryName = "automatic"
    confidence: float = EVEN
    tuning: FineTuning | None = None
    expert_overlap: bool = True
    assumptions: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("tokens", "deadline_s", "budget_usd", "max_accelerators", "seq", "global_batch"):
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"{name} must be above zero, not {value!r}")
        for name, value in (("tokens", self.tokens), ("tokens of one step", self.seq * self.global_batch)):
            if not value <= MAX_TOKENS:
                raise UsageError(f"{name} must be at most {MAX_TOKENS:.0e}, not {float(value):.3g}")
        if self.max_accelerators > MAX_ACCELERATORS:
            raise UsageError(f"max_accelerators must be at most {MAX_ACCELERATORS:,}, not {self.max_accelerators:,}")
        if self.goodput is not None and not 0 < self.goodput <= 1:
            raise UsageError(f"goodput is a share of time between 0 and 1, not {self.goodput!r}")
        if self.recovery not in get_args(RecoveryName):
            raise UsageError(f"recovery is one of {', '.join(get_args(RecoveryName))}, not {self.recovery!r}")
        if not EVEN <= self.confidence < 1:
            raise UsageError(f"confidence is a probability from {EVEN} to below 1, not {self.confidence!r}")
        if not 0 <= self.batch_tolerance <= 0.5:
            raise UsageError(f"batch_tolerance is a share between 0 and 0.5, not {self.batch_tolerance!r}")
        if self.tuning is not None:
            self.tuning.check(self.model)
        if self.model.learned_positions and self.seq > self.model.learned_positions:
            raise UsageError(
                f"{self.model.name} has learned positions for {self.model.learned_positions} tokens; "
                f"a sequence of {self.seq} does not fit"
            )
