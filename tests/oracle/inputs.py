"""What the oracle is given: a site's records, the degrees of a layout, and the page's symbols read off them."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.accelerator import Accelerator
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.profile import Profile

OPERAND = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "mxfp8": 1.03125, "nvfp4": 0.5625}
PEAK_DTYPE = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4"}
MOMENTS = {"adamw": 8, "adamw-8bit": 2, "lion": 4, "sgd-momentum": 4, "muon": 4, "adafactor": 0}
UNKNOWN_LATENCY = 3e-6


@dataclass(frozen=True)
class Cut:
    """The degrees of one layout."""

    tp: int
    sp: int
    cp: int
    ep: int
    etp: int
    micro_batch: int
    pp: int = 1
    vpp: int = 1
    zero_bubble: int = 0
    dp: int = 1
    zero: int = 1
    zero_group: int = 0
    micro_batches: int = 1
    selective: int = 0
    recompute_layers: int = 0
    offload_activations: float = 0
    offload_optimizer: float = 0

    @property
    def world(self) -> int:
        return self.tp * self.cp * self.pp * self.dp


@dataclass(frozen=True)
class Inputs:
    """The records that seconds and bytes depend on."""

    accelerator: Accelerator
    framework: Framework
    profile: Profile
    fabric: Fabric
    out: float
    per_server: int
    precision: str
    optimizer: str = "adamw"
    spot: bool = False


class Device:
    """The page's symbols of device, network and profile."""

    def __init__(self, x: Inputs) -> None:
        accelerator, up = x.accelerator, x.accelerator.scale_up
        self.peak = accelerator.peak_flops_per_s[PEAK_DTYPE[x.precision]]
        self.half_peak = accelerator.peak_flops_per_s["fp16" if x.precision == "fp16" else "bf16"]
        self.bandwidth = accelerator.memory_bandwidth_bytes_per_s
        self.capacity = accelerator.memory_bytes
        self.units = accelerator.compute_units or 0
        self.host = max(accelerator.host_link_bytes_per_s or 0.0, 1.0)
        self.up = up.bandwidth_bytes_per_s
        self.domain = up.domain if up.topology == "torus" else min(up.domain, x.per_server)
        self.mesh = up.topology == "mesh"
        self.out = x.out
        self.up_latency = UNKNOWN_LATENCY if up.latency_s is None else up.latency_s
        self.out_latency = x.fabric.latency_s
        self.over = x.fabric.oversubscription
        self.leaf = x.fabric.radix * self.over / (1 + self.over) * x.per_server
        self.per_server = x.per_server

        p = x.profile
        self.e_mm, self.e_at, self.e_mem = p.gemm_efficiency, p.attention_efficiency, p.memory_efficiency
        self.e_up, self.e_out = p.scale_up_efficiency, p.scale_out_efficiency
        self.v_dp, self.v_tp = p.data_overlap, p.tensor_overlap
        self.e_ex, self.v_ex, self.n_rt = p.expert_efficiency, p.expert_overlap, p.routing_passes
        self.t_col, self.t_step = p.collective_s, p.step_overhead_s
        self.t_launch, self.jitter = p.layer_launch_s, p.jitter_per_doubling


class Recipe:
    """The page's number formats."""

    def __init__(self, x: Inputs) -> None:
        w = x.framework
        self.operand = OPERAND[x.precision]
        quantised = w.quantised_operands and self.operand < 2
        self.saved = self.operand if quantised else 2.0
        self.cast = 2 * self.operand if quantised else 0.0
        self.narrow = self.operand < 2
        self.parameter, self.gradient = w.parameter_bytes, w.gradient_bytes
        if quantised and x.precision in w.low_precision_weights:
            self.parameter = self.cast = self.operand
        self.step_gradient, self.scratch = w.step_gradient_bytes, w.scratch_gradient_bytes
        self.master, self.moment = w.master_bytes, MOMENTS[x.optimizer]
        self.gather_bytes, self.reduce_bytes = w.gather_bytes, w.reduce_bytes
        self.flash, self.fact, self.floss = w.flash_attention, int(w.fused_mlp_activation), w.fused_softmax_loss
        self.overlaps = int(w.data_overlap)
        self.overlaps_experts, self.merge = int(len(w.expert_overlap) > 0), 0
        self.overlap_needs, self.overlap_or_data = set(w.expert_overlap_needs), w.expert_overlap_or_data
        self.loss_bytes = w.loss_bytes
        self.split_loss_bytes = w.split_loss_bytes or w.loss_bytes
        self.norm = 0 if w.fused_norm else 4
        self.repeated = w.repeated_keys
        self.spelled_gelu, self.matrices = w.spelled_gelu, w.bias_matrices
        self.live, self.update, self.by_tensor = w.live_parameters, w.update_bytes, w.update_by_tensor
        self.op_recompute = w.operator_recompute
        self.op_products = 0 if x.precision == "nvfp4" else 1
        self.gathered_inputs, self.stage_outputs = w.gathered_inputs, int(w.stage_outputs)
        if x.precision == "fp16":
            self.parameter = w.fp16_parameter_bytes or self.parameter
            if w.fp16_gradient_bytes:
                self.gradient = self.reduce_bytes = w.fp16_gradient_bytes
                if self.master:
                    self.update, self.by_tensor = 4, False
        self.reserve, self.fragmentation = w.reserve_bytes, w.fragmentation
