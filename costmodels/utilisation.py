"""MFU and HFU, both ways: from a predicted step, or from a measured throughput."""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.flops import BACKWARD, FLASH_BACKWARD, forward_flops, model_flops_per_token


def mfu(a: Architecture, seq: Column, tokens_per_s_per_accelerator: Column, peak_flops_per_s: Column) -> Column:
    """Model FLOPs utilisation: model FLOPs per second over the dense peak (Chowdhery et al. 2022, appendix B)."""
    return tokens_per_s_per_accelerator * model_flops_per_token(a, seq) / peak_flops_per_s


def hardware_flops_per_token(
    a: Architecture, seq: Column, recomputed_share: Column, selective: Column, flash: Column
) -> Column:
    """FLOPs per token that the device executes: causal attention where the kernel skips, recomputation included.

    Args:
        a, seq: architecture and sequence length.
        recomputed_share: share of the layers that is fully recomputed.
        selective: 1 if the attention core of the other layers is recomputed.
        flash: 1 if attention is fused (skips the masked half; its backward recomputes the scores).
    """
    causal, square = forward_flops(a, seq, causal=True), forward_flops(a, seq, causal=False)
    core = np.where(flash > 0, causal["attention_core"], square["attention_core"])
    core_backward = core * np.where(flash > 0, FLASH_BACKWARD, BACKWARD)
    linear = sum((v for k, v in square.items() if k not in {"attention_core", "head"}), start=np.zeros(()))
    again = recomputed_share * (linear + core) + (1.0 - recomputed_share) * selective * core
    return (1.0 + BACKWARD) * (linear + square["head"]) + core + core_backward + again


def hfu(
    a: Architecture,
    seq: Column,
    tokens_per_s_per_accelerator: Column,
    peak_flops_per_s: Column,
    recomputed_share: Column,
    selective: Column,
    flash: Column,
) -> Column:
    """Hardware FLOPs utilisation: executed FLOPs per second over the dense peak."""
    executed = hardware_flops_per_token(a, seq, recomputed_share, selective, flash)
    return tokens_per_s_per_accelerator * executed / peak_flops_per_s
