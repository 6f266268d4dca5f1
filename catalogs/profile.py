"""Profiles: the few fitted constants of an accelerator × framework × precision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt

from catalogs.quantity import Seconds
from catalogs.record import Record

Precision = Literal["bf16", "fp16", "fp8", "mxfp8", "nvfp4"]

PEAK_DTYPE: dict[Precision, str] = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4"}
"""Training precision to the dtype whose dense peak its matmuls run at."""


class Profile(Record):
    """How well one framework drives one accelerator at one precision.

    Each constant has a physical meaning and a range; none belongs to a single run.

    Attributes:
        accelerator, framework, precision: what the constants hold for.
        inherited_from: name of the relative these constants were taken from, if nothing was measured here.
        rows: measured rows the fit used (0 = inherited or datasheet).
        gemm_efficiency: share of the dense peak that a large, well-shaped matmul reaches.
        attention_efficiency: share of the dense peak that fused attention reaches.
        memory_efficiency: share of nominal memory bandwidth that element-wise kernels reach.
        scale_up_efficiency, scale_out_efficiency: share of nominal link bandwidth that collectives reach.
        data_overlap: share of data-parallel traffic that may hide behind backward compute.
        tensor_overlap: share of tensor- and context-parallel traffic that may hide behind compute.
        expert_efficiency: rate of grouped expert matmuls over that of one matmul of the same shape.
        routing_passes: reads and writes of the routed tokens, each way, besides the fused sorting to experts and back:
            copies around the exchange, sorting what arrived, padding, what a framework does not fuse.
        expert_overlap: share of expert-parallel dispatch and combine that may hide behind compute.
        collective_s: seconds of a collective without payload: launch, and waiting for all members.
        step_overhead_s: seconds per step outside the model: batch loading, gradient norm, host synchronisation.
        layer_launch_s: host time to launch the forward kernels of one layer (a floor, not an addition).
        jitter_per_doubling: fractional slow-down of a step per doubling of the number of servers.
        log_sigma: standard deviation of log(measured / predicted) step time of dense models on clusters and software
            among ``campaigns``, of groups of runs that were held apart from the fit.
        moe_log_sigma: the same of models with experts.
        cluster_log_sigma: what a cluster or software campaign that is not among ``campaigns`` adds in quadrature, of
            sources that were held apart whole; dense models.
        moe_cluster_log_sigma: the same of models with experts.
        campaigns: sources of the fitted runs.
        largest: accelerators of the largest fitted run (0 = none).
        shifts: log step time under a software release or switch over that of an average one, by label
            ("release dense nemo-25.07", "switch moe hybridep"); what a plan assumes is an average release, shift 0.
    """

    accelerator: str
    framework: str
    precision: Precision
    inherited_from: str | None = None
    rows: NonNegativeInt
    gemm_efficiency: float = Field(gt=0, le=1.0)
    attention_efficiency: float = Field(gt=0, le=1.0)
    memory_efficiency: float = Field(gt=0, le=1.0)
    scale_up_efficiency: float = Field(gt=0, le=1.0)
    scale_out_efficiency: float = Field(gt=0, le=1.0)
    data_overlap: float = Field(ge=0, le=1.0)
    tensor_overlap: float = Field(ge=0, le=1.0)
    expert_efficiency: float = Field(default=0.8, gt=0, le=1.0)
    routing_passes: float = Field(default=0.0, ge=0, le=100.0)
    expert_overlap: float = Field(default=0.2, ge=0, le=1.0)
    collective_s: Seconds = Field(default=2e-5, ge=0, le=1e-3)
    step_overhead_s: Seconds = Field(default=0.01, ge=0, le=1.0)
    layer_launch_s: Seconds = Field(ge=0, le=0.1)
    jitter_per_doubling: float = Field(ge=0, le=0.2)
    log_sigma: float = Field(ge=0, le=1.0)
    moe_log_sigma: float = Field(default=0.25, ge=0, le=1.0)
    cluster_log_sigma: float = Field(default=0.1, ge=0, le=1.0)
    moe_cluster_log_sigma: float = Field(default=0.1, ge=0, le=1.0)
    campaigns: tuple[str, ...] = ()
    largest: NonNegativeInt = 0
    shifts: dict[str, float] = Field(default={})

    @property
    def combination(self) -> tuple[str, str, Precision]:
        """Accelerator, framework and precision."""
        return self.accelerator, self.framework, self.precision
