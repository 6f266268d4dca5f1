"""One site's physics for one job: the bundles that every level of the evaluation starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.framework import Framework, OverlapNeed
from costmodels.adapters import Tuning, total_adapter_params
from costmodels.architecture import Architecture
from costmodels.bill import HOUR_S
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.flops import forward_flops
from costmodels.goodput import Resilience
from costmodels.interval import combined_sigma
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.memory import needed_bytes, rank_bytes
from costmodels.overlap import Overlap, unmet
from costmodels.parameters import total_params
from costmodels.recipe import Recipe
from costmodels.recomputation import OPERATOR_SHARE, recomputed_share
from costmodels.run import training_steps, wall_seconds
from costmodels.setting import Setting
from costmodels.stage_bytes import StageBytes
from costmodels.stage_costs import StageCosts
from costmodels.step import step_seconds, whole_step_seconds
from costmodels.storage import checkpoint_bytes
from costmodels.utilisation import hfu, mfu, tuning_utilisation
from optimizer.failure_rates import failure_rate
from optimizer.job import Job
from optimizer.recovery import recovery
from optimizer.site import Site
from optimizer.trust import step_sigma

MONTH_S = 30.0 * 86400.0
"""The month over which providers count how many spot servers they took back."""


@dataclass(frozen=True)
class Physics:
    """A site and a job as columns.

    Attributes:
        site: the catalog side.
        architecture, device, recipe, efficiency: columns, each 0-d.
        seq, tokens: of the job, 0-d.
        resilience: what interrupts the job, and its checkpoints.
        stated_goodput: of the job, where it gives one: taken as it is for every cluster.
        deadline_s: of the job (infinite = none).
        confidence: of the job: probability with which the memory must suffice.
        span: tokens over which attention reaches (None: the sequence).
        tuning: what of the model is trained (None: all of it).
        overlap: the framework's switch that overlaps the exchange of experts (None: it has none, there are no experts,
            or the job has it off).
    """

    site: Site
    architecture: Architecture
    device: Device
    recipe: Recipe
    efficiency: Efficiency
    seq: Column
    tokens: Column
    resilience: Resilience
    stated_goodput: float | None
    deadline_s: float
    confidence: float
    span: Column | None = None
    tuning: Tuning | None = None
    overlap: Overlap | None = None

    @classmethod
    def of(cls, job: Job, site: Site, catalog: Catalog) -> Physics:
        """The physics of a site for a job.

        Raises:
            UnsupportedError: the accelerator cannot train at the precision, or the framework lacks the optimizer.
        """
        device = Device.of(
            site.accelerator, site.server_accelerators, site.fabric, site.precision, site.scale_out_bytes_per_s
        )
        tuning = job.tuning
        packed = None if tuning is None else tuning.example_tokens
        recipe = Recipe.of(site.framework, site.precision, job.optimizer)
        overlap = _overlap(job, site.framework)
        if overlap is None:
            recipe = replace(recipe, overlaps_experts=np.zeros(()))
        return cls(
            site=site,
            architecture=Architecture.of(job.model),
            device=device,
            recipe=recipe,
            efficiency=Efficiency.of(site.profile),
            seq=np.asarray(float(job.seq)),
            tokens=np.asarray(float(job.tokens)),
            resilience=resilience(job, site, catalog),
            stated_goodput=job.goodput,
            deadline_s=job.deadline_s,
            confidence=job.confidence,
            span=None if packed is None else np.asarray(float(packed)),
            tuning=None if tuning is None else tuning.columns(site.framework),
            overlap=overlap,
        )

    def setting(self, shard: Shard) -> Setting:
        """What the layer level needs, for these shards."""
        return Setting(
            self.architecture,
            shard,
            self.recipe,
            self.device,
            self.efficiency,
            self.seq,
            span=self.span,
            tuning=self.tuning,
            overlap=self.overlap,
        )

    def overlap_lacks(
        self, shard: Shard, pipe: Pipe, replicas: Replicas, share: Column | None = None
    ) -> list[OverlapNeed] | None:
        """What one layout lacks for the overlap of its experts' exchange: nothing if it runs (None: no such switch).

        ``share`` of the layers are fully recomputed, on the stage that recomputes most; by default as the shard says.
        """
        if self.overlap is None:
            return None
        share = recomputed_share(self.setting(shard), pipe) if share is None else share
        return unmet(self.overlap, self.architecture, shard, pipe, share, replicas.micro_batches)

    def beside(self, shard: Shard, pipe: Pipe, replicas: Replicas) -> NDArray[np.bool_]:
        """Whether the exchange of experts of one layout runs beside another micro-batch."""
        return np.asarray(self.overlap_lacks(shard, pipe, replicas) == [])

    def memory(self, stage: StageBytes, shard: Shard, pipe: Pipe, replicas: Replicas) -> dict[str, Column]:
        """Bytes by component on one rank of a stage."""
        return rank_bytes(stage, shard, pipe, replicas, self.recipe)

    def needed(self, stage: StageBytes, shard: Shard, pipe: Pipe, replicas: Replicas) -> Column:
        """Bytes that one rank of a stage must have."""
        return needed_bytes(self.memory(stage, shard, pipe, replicas))

    @property
    def room_bytes(self) -> float:
        """What a rank may need, so that the memory suffices with the job's confidence."""
        margin = NormalDist().inv_cdf(self.confidence) * self.site.framework.memory_log_sigma
        return float(self.device.memory_bytes) * math.exp(-margin)

    def step(self, stage: StageCosts, shard: Shard, pipe: Pipe, replicas: Replicas) -> dict[str, Column]:
        """Seconds of a step by component."""
        return step_seconds(self.setting(shard), stage, pipe, replicas)

    def whole_step(self, stage: StageCosts, shard: Shard, pipe: Pipe, replicas: Replicas) -> Column:
        """Seconds of a step."""
        return whole_step_seconds(self.setting(shard), stage, pipe, replicas)

    @property
    def ideal_accelerator_s(self) -> float:
        """Accelerator-seconds of the job's matrix products outside attention, at the peak."""
        forward = forward_flops(self.architecture, self.seq, causal=True)
        linear = sum(float(flops) for name, flops in forward.items() if name != "attention_core")
        # Frozen weights have no gradients.
        passes = 3.0 if self.tuning is None else 3.0 - float(self.tuning.frozen)
        return passes * linear * float(self.tokens) / float(self.device.peak_flops_per_s)

    def step_sigma(self, accelerators: Column) -> Column:
        """Standard deviation of log step time on so many accelerators of a cluster that was not measured."""
        moe = bool(self.architecture.experts > 0)
        return step_sigma(self.site.profile, moe=moe, accelerators=accelerators)

    def goodput(self, accelerators: Column) -> Column:
        """Share of wall-clock time that makes progress on so many accelerators."""
        if self.stated_goodput is not None:
            return np.full(np.shape(accelerators), self.stated_goodput)
        return self.resilience.goodput(accelerators)

    def utilisation(self, tokens_per_s: Column, recomputed_share: Column, selective: Column) -> tuple[Column, Column]:
        """MFU and HFU at a throughput per accelerator."""
        by_operator = selective * self.recipe.operator_recompute
        recomputed_share = recomputed_share + (1.0 - recomputed_share) * OPERATOR_SHARE * by_operator
        selective = selective - by_operator
        a, peak = self.architecture, self.device.peak_flops_per_s
        if self.tuning is not None:
            reach = self.seq if self.span is None else np.minimum(self.span, self.seq)
            return tuning_utilisation(a, self.tuning, reach, tokens_per_s, peak, recomputed_share, selective)
        return (
            mfu(a, self.seq, tokens_per_s, peak),
            hfu(a, self.seq, tokens_per_s, peak, recomputed_share, selective),
        )

    def days_sigma(self, accelerators: Column, wall_s: Column, goodput: Column) -> Column:
        """Standard deviation of log wall-clock time: that of the step, and of failures unless the goodput is stated."""
        step = self.step_sigma(accelerators)
        if self.stated_goodput is not None:
            return step
        return combined_sigma(step, self.resilience.log_sigma(accelerators, wall_s, goodput))

    def wall(self, step_s: Column, shard: Shard, replicas: Replicas, goodput: Column) -> Column:
        """Wall-clock seconds of the job."""
        global_batch = replicas.micro_batches * replicas.dp * shard.micro_batch
        return wall_seconds(training_steps(self.tokens, global_batch, self.seq), step_s, goodput)


def _overlap(job: Job, framework: Framework) -> Overlap | None:
    """The framework's switch for the exchange of experts, if the job has experts to exchange and does not forgo it."""
    if not framework.expert_overlap or job.model.moe is None or not job.expert_overlap:
        return None
    return Overlap(framework.expert_overlap_needs, or_data=framework.expert_overlap_or_data)


def resilience(job: Job, site: Site, catalog: Catalog) -> Resilience:
    """What interrupts a job on a site, and what it writes to survive that."""
    assumed = catalog.assumption
    a, recipe = Architecture.of(job.model), Recipe.of(site.framework, site.precision, job.optimizer)
    trained = total_params(a)
    if job.tuning is not None and job.tuning.adapted:
        trained = total_adapter_params(a, job.tuning.columns(site.framework).adapters)
    rate = failure_rate(site.accelerator, catalog)
    failures = 1.0 / (rate.hours * HOUR_S)
    if site.spot:
        # Of so many servers, this share is taken back within a month, whatever their age.
        taken = -math.log1p(-assumed("spot-share-taken-per-month")) / MONTH_S
        failures += taken / site.server_accelerators
    return Resilience.from_values(
        failures_per_accelerator_s=failures,
        rate_log_sigma=rate.log_sigma,
        checkpoint_bytes=checkpoint_bytes(trained, recipe),
        accelerator_bytes_per_s=assumed("checkpoint-bytes-per-s-per-accelerator"),
        longest_checkpoint_s=assumed("checkpoint-write-s"),
        recovery=recovery(job.recovery, catalog),
    )
