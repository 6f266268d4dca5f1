"""Fine-tuning on small clusters: full, LoRA or QLoRA, and pairs of answers (DPO) beside a reference model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from costmodels.adapters import (
    MODULES,
    NF4_BYTES,
    Adapters,
    adapter_activations,
    adapter_traffic_bytes,
    dequantised_bytes,
    frozen_weight_bytes,
    layer_adapter_params,
    total_adapter_params,
)
from costmodels.columns import Column
from costmodels.elementwise import HALF
from costmodels.layer import PassSeconds
from costmodels.layout import ALL_LAYERS, Pipe, Replicas, Shard
from costmodels.memory import GATHERED_UNITS, rank_bytes
from costmodels.parameters import attention_params, dense_mlp_params, total_params
from costmodels.stage import Layers, layers_of, stage_bytes, stage_costs
from costmodels.step import data_parallel_seconds
from optimizer.inverse.least import describe, fastest, ground
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.plan import SCHEMA_VERSION
from optimizer.space import divisors, powers_of_two

Method = Literal["full", "lora", "qlora"]
MOST_ACCELERATORS = 64
"""Largest cluster for fine-tuning that is looked at."""

MODULE_SETS: dict[str, tuple[str, ...]] = {"all": MODULES, "attention": ("q", "k", "v", "o"), "qv": ("q", "v")}
"""Words for sets of matrices that carry adapters."""


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned.

    Attributes:
        method: all weights, adapters, or adapters beside four-bit weights.
        rank: of the adapters.
        modules: matrices that carry them.
        pairs: every example is a pair of answers, each also seen by a frozen reference model (DPO). Adapters are
            switched off for the reference, so that it needs no weights of its own.
    """

    method: Method
    rank: int = 16
    modules: tuple[str, ...] = MODULES
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("full", "lora", "qlora"):
            raise UsageError(f"--method is full, lora or qlora, not {self.method!r}")
        if self.rank < 1:
            raise UsageError(f"--rank must be at least 1, not {self.rank}")
        if unknown := [name for name in self.modules if name not in MODULES]:
            raise UsageError(f"--modules: {', '.join(unknown)} is none of {', '.join(MODULES)}, all, attention, qv")
        if not self.modules:
            raise UsageError("--modules names no matrix")
        if self.pairs and self.method == "full":
            raise UsageError("--pairs with all weights trained needs a second model, which is not modelled; use lora")

    @property
    def adapters(self) -> Adapters:
        """The adapters as columns."""
        return Adapters.from_values(rank=self.rank, **{name: float(name in self.modules) for name in MODULES})


@dataclass(frozen=True)
class Tuned:
    """A fine-tuning run.

    Attributes:
        method, hardware, accelerators, framework: what runs where.
        trainable_params, params: of the model.
        memory: bytes by component on the fullest rank.
        capacity_bytes: of the device.
        step_s: seconds of a step.
        tokens_per_s_per_accel: throughput.
        hours: of the whole run, goodput included.
        layout: all degrees.
    """

    method: str
    hardware: str
    accelerators: int
    framework: str
    trainable_params: float
    params: float
    memory: dict[str, float]
    capacity_bytes: float
    step_s: float
    tokens_per_s_per_accel: float
    hours: float
    layout: dict[str, Any]

    @property
    def memory_bytes(self) -> float:
        """Bytes on the fullest rank."""
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"schema_version": SCHEMA_VERSION, **self.__dict__, "memory_bytes": self.memory_bytes}


def sequences(examples: float, epochs: float, mean_tokens: float, seq: int, *, packed: bool, pairs: bool) -> float:
    """Sequences of ``seq`` tokens that a run trains on.

    Packed sequences hold ``seq / mean`` examples each; padded ones hold one. A pair counts as two examples.

    >>> sequences(1000, 3, 512, 4096, packed=True, pairs=False), sequences(1000, 3, 512, 4096, packed=False, pairs=True)
    (375.0, 6000.0)
    """
    if mean_tokens > seq:
        raise UsageError(f"examples of {mean_tokens:g} tokens do not fit sequences of {seq}")
    each = mean_tokens / seq if packed else 1.0
    return examples * epochs * (2.0 if pairs else 1.0) * each


def tune(job: Job, tuning: Tuning, catalog: Catalog, accelerators: int | None = None) -> Tuned:
    """The fastest way to fine-tune on exactly so many accelerators, or on the fewest on which it fits.

    Adapters: tensor and data parallel, frozen weights whole or sharded (ZeRO 3), with and without recomputation. Full
    fine-tuning is training, searched as for a plan.

    Raises:
        InfeasibleError: it does not fit.
        UsageError: the model cannot carry adapters here.
    """
    counts = [accelerators] if accelerators else [n for n in range(1, MOST_ACCELERATORS + 1) if n < 8 or n % 8 == 0]
    for count in counts:
        found = _full(job, catalog, count) if tuning.method == "full" else _adapted(job, tuning, catalog, count)
        if found is not None:
            return found
    raise InfeasibleError(
        f"{tuning.method} fine-tuning of {job.model.name} at {job.seq} tokens does not fit on {counts[-1]} "
        f"{job.hardware[0]}; allow more with --accelerators, shorter sequences, or another --method"
    )


def _full(job: Job, catalog: Catalog, count: int) -> Tuned | None:
    here = replace(job, max_accelerators=count)
    site = ground(here, catalog)
    layout = fastest(here, site, catalog)
    if layout is None:
        return None
    one = describe(here, site, catalog, layout)
    params = float(total_params(Physics.of(here, site, catalog).architecture))
    return Tuned(
        method="full",
        hardware=one.hardware,
        accelerators=one.accelerators,
        framework=one.framework,
        trainable_params=params,
        params=params,
        memory=one.memory,
        capacity_bytes=one.capacity_bytes,
        step_s=one.step_s,
        tokens_per_s_per_accel=one.tokens_per_s_per_accel,
        hours=24.0 * one.days,
        layout=dict(layout.__dict__),
    )


def _adapted(job: Job, tuning: Tuning, catalog: Catalog, count: int) -> Tuned | None:
    """The fastest layout with adapters on exactly ``count`` accelerators (None: none fits)."""
    if job.model.moe is not None:
        raise UsageError(f"{job.model.name} has experts; adapters are modelled for dense models only")
    site = ground(job, catalog)
    if count > site.max_accelerators:
        return None
    physics = Physics.of(job, site, catalog)
    heads, ffn = int(physics.architecture.heads), int(physics.architecture.ffn)
    domain = int(physics.device.scale_up_domain)
    best: Tuned | None = None
    for tp, size, full, zero in product(
        divisors(count), powers_of_two(min(64, job.global_batch)), (False, True), (0, 3)
    ):
        dp = count // tp
        if heads % tp or ffn % tp or (tp > 1 and (domain % tp or not site.framework.tensor_parallel)):
            continue
        if job.global_batch % (dp * size) or (zero and (dp == 1 or 3 not in site.framework.zero_stages)):
            continue
        one = adapted(job, tuning, physics, tp=tp, dp=dp, zero=zero, micro_batch=size, recompute=full)
        if one.memory_bytes <= one.capacity_bytes and (best is None or one.step_s < best.step_s):
            best = one
    return best


def adapted(
    job: Job, tuning: Tuning, physics: Physics, *, tp: int, dp: int, zero: int, micro_batch: int, recompute: bool
) -> Tuned:
    """Memory and time of one layout with adapters, whether or not it fits."""
    a, r, adapters = physics.architecture, physics.recipe, tuning.adapters
    s = Shard.from_values(
        tp=tp, sp=0.0, cp=1.0, ep=1.0, etp=1.0, micro_batch=micro_batch, selective=0.0,
        recompute_layers=ALL_LAYERS if recompute else 0.0, offload_activations=0.0,
    )  # fmt: skip
    pipe = Pipe.from_values(pp=1.0, vpp=1.0, zero_bubble=0.0)
    micro_batches = job.global_batch // (dp * micro_batch)
    replicas = Replicas.from_values(dp=dp, zero=0.0, zero_group=0.0, offload_optimizer=0.0, micro_batches=micro_batches)
    x = physics.setting(s)
    layers = layers_of(x)
    trained = a.layers * layer_adapter_params(a, adapters, s.tp)
    quantised = tuning.method == "qlora"
    seconds = _frozen_seconds(physics, layers, adapters, s, quantised=quantised, pairs=tuning.pairs)
    kept = adapter_activations(a, adapters, s, r, physics.seq)
    thinner = replace(
        seconds, dense_bytes=kept, dense_whole_bytes=kept, scratch_bytes=r.scratch_gradient_bytes * trained / a.layers
    )
    stage = stage_bytes(x, thinner, pipe, np.zeros(()))
    shared = float(dp) if zero >= 3 else 1.0
    frozen = frozen_weight_bytes(a, stage.dense_params, s.tp, quantised=quantised) / shared
    gathered = HALF * (GATHERED_UNITS * layers.unit_dense_params + stage.end_unit_params) if zero >= 3 else np.zeros(())
    expanded = dequantised_bytes(a, s.tp) if quantised else np.zeros(())
    beside = frozen + gathered + expanded
    parts = rank_bytes(replace(stage, dense_params=trained, end_bytes=stage.end_bytes + beside), s, pipe, replicas, r)
    memory = {"frozen_weights": frozen, "adapters": parts.pop("weights")} | parts
    memory["activations"] = memory["activations"] - beside
    memory["gathered"], memory["working"] = memory["gathered"] + gathered, memory["working"] + expanded
    costs = stage_costs(x, seconds, pipe)
    step = physics.step(replace(costs, dense_params=trained), s, pipe, replicas)
    step_s: Column = sum(step.values(), start=np.zeros(()))
    if zero >= 3:
        travels = frozen * shared / stage.dense_params
        silent = replace(r, reduce_bytes=np.zeros(()), gather_bytes=travels)
        whole = replace(replicas, zero=np.asarray(3.0))
        step_s = step_s + data_parallel_seconds(costs, s, whole, silent, physics.device, physics.efficiency)
    wall_s = physics.wall(step_s, s, replicas)
    count = tp * dp
    return Tuned(
        method=tuning.method,
        hardware=physics.site.accelerator.name,
        accelerators=count,
        framework=physics.site.framework.name,
        trainable_params=float(total_adapter_params(a, adapters)),
        params=float(total_params(a)),
        memory={name: float(value) for name, value in memory.items()},
        capacity_bytes=float(physics.device.memory_bytes),
        step_s=float(step_s),
        tokens_per_s_per_accel=float(job.global_batch * physics.seq / step_s / count),
        hours=float(wall_s) / 3600.0,
        layout={
            "tp": tp,
            "dp": dp,
            "zero": zero,
            "micro_batch": micro_batch,
            "micro_batches": micro_batches,
            "global_batch": job.global_batch,
            "recompute": "full" if recompute else "none",
        },
    )


def _frozen_seconds(
    physics: Physics, layers: Layers, adapters: Adapters, s: Shard, *, quantised: bool, pairs: bool
) -> Layers:
    """Layer seconds with frozen weights: no weight gradients, adapters beside, four-bit weights expanded."""
    a, d, e = physics.architecture, physics.device, physics.efficiency
    bandwidth = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    beside = adapter_traffic_bytes(a, adapters, s, physics.seq) / bandwidth
    expand = np.zeros(())
    if quantised:
        expand = (attention_params(a) + dense_mlp_params(a)) / s.tp * (NF4_BYTES + HALF) / bandwidth
    reference = 1.0 if pairs else 0.0

    def frozen(one: PassSeconds, extra: Column) -> PassSeconds:
        return PassSeconds(
            forward=one.forward * (1.0 + reference) + extra + reference * expand,
            backward=one.backward - one.weight_gradient + extra + beside,
            weight_gradient=np.zeros(()),
            selective=one.selective,
        )

    none = np.zeros(())
    return replace(layers, dense=frozen(layers.dense, beside + expand), head=frozen(layers.head, none))


def hours_text(hours: float) -> str:
    """Hours for people.

    >>> hours_text(0.5), hours_text(30.0), hours_text(100.0)
    ('30 min', '30.0 h', '4.2 days')
    """
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"


def whole_batches(count: float, global_batch: int) -> float:
    """Sequences rounded up to whole steps, at least one.

    >>> whole_batches(375.0, 64)
    384.0
    """
    return float(max(math.ceil(count / global_batch), 1) * global_batch)
