"""MFU and HFU, both ways: from a predicted step, or from a measured throughput."""

from __future__ import annotations

import numpy as np

from costmodels.adapters import Tuning, tuning_flops_per_token
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.flops import BACKWARD, FLASH_BACKWARD, forward_flops, model_flops_per_token


def mfu(a: Architecture, seq: Column, tokens_per_s_per_accelerator: Column, peak_flops_per_s: Column) -> Column:
    """Model FLOPs utilisation: model FLOPs per second over the dense peak (Chowdhery et al. 2022, appendix B)."""
    return tokens_per_s_per_accelerator * model_flops_per_token(a, seq) / peak_flops_per_s


def hardware_flops_per_token(a: Architecture, seq: Column, recomputed_share: Column, selective: Column) -> Column:
    """Training FLOPs per token with recomputation, attention over the full square: the numerator of published HFU.

    Without recomputation this equals the model FLOPs (Korthikanti et al. 2022, appendix A).

    Args:
        a: architecture.
        seq: sequence length.
        recomputed_share: share of the layers that is fully recomputed.
        selective: 1 if the attention core of the other layers is recomputed.
    """
    forward = forward_flops(a, seq, causal=False)
    return model_flops_per_token(a, seq) + _repeated(forward, recomputed_share, selective)


def executed_flops_per_token(
    a: Architecture, seq: Column, recomputed_share: Column, selective: Column, flash: Column
) -> Column:
    """Training FLOPs per token that the device executes: causal attention where the kernel skips, and recomputation.

    Args:
        a: architecture.
        seq: sequence length.
        recomputed_share: share of the layers that is fully recomputed.
        selective: 1 if the attention core of the other layers is recomputed.
        flash: 1 if attention is fused (skips the masked half; its backward recomputes the scores).
    """
    causal, square = forward_flops(a, seq, causal=True), forward_flops(a, seq, causal=False)
    core = np.where(flash > 0, causal["attention_core"], square["attention_core"])
    core_backward = core * np.where(flash > 0, FLASH_BACKWARD, BACKWARD)
    linear = sum((v for k, v in square.items() if k != "attention_core"), start=np.zeros(()))
    again = _repeated(square | {"attention_core": core}, recomputed_share, selective)
    return np.asarray((1.0 + BACKWARD) * linear + core + core_backward + again)


def tuning_utilisation(
    a: Architecture,
    t: Tuning,
    reach: Column,
    tokens_per_s_per_accelerator: Column,
    peak_flops_per_s: Column,
    recomputed_share: Column,
    selective: Column,
) -> tuple[Column, Column]:
    """MFU and HFU of fine-tuning: the FLOPs that it needs, frozen weights without their gradients, over the peak.

    Args:
        a: architecture.
        t: what is trained.
        reach: tokens over which attention reaches.
        tokens_per_s_per_accelerator: throughput.
        peak_flops_per_s: dense peak.
        recomputed_share: share of the layers that is fully recomputed.
        selective: 1 if the attention core of the other layers is recomputed.
    """
    model = tuning_flops_per_token(a, t, reach, causal=False)
    repeated = _repeated(forward_flops(a, reach, causal=False), recomputed_share, selective)
    rate = tokens_per_s_per_accelerator / peak_flops_per_s
    return rate * model, rate * (model + repeated)


def _repeated(forward: dict[str, Column], recomputed_share: Column, selective: Column) -> Column:
    """Forward FLOPs per token that recomputation repeats (the head never is)."""
    layers = sum((v for k, v in forward.items() if k != "head"), start=np.zeros(()))
    return recomputed_share * layers + (1.0 - recomputed_share) * selective * forward["attention_core"]


def hfu(
    a: Architecture,
    seq: Column,
    tokens_per_s_per_accelerator: Column,
    peak_flops_per_s: Column,
    recomputed_share: Column,
    selective: Column,
) -> Column:
    """Hardware FLOPs utilisation: FLOPs with recomputation per second over the dense peak; never below MFU."""
    flops = hardware_flops_per_token(a, seq, recomputed_share, selective)
    return tokens_per_s_per_accelerator * flops / peak_flops_per_s
