"""A short suite on the user's own device: what its matmuls, attention, memory and links reach of their nominal rates.

Needs torch. Every figure is the best of a few repetitions after a warm-up, on the device that torch finds (CUDA or
ROCm, Ascend through torch_npu, else the processor). Collectives run where the process group of a launcher such as
torchrun has several ranks.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from catalogs.inheritance import resolve_profile
from catalogs.profile import Precision, Profile

REPETITIONS = 7
"""Timed repetitions of each kernel; the fastest counts."""

SEQUENCE, HEADS, HEAD_WIDTH = 4096, 16, 128


@dataclass(frozen=True)
class Rates:
    """What a device reached.

    Attributes:
        gemm: FLOP/s of each (m, n, k).
        attention: FLOP/s of fused causal attention, the masked half not counted.
        copy: bytes/s read and written together.
        gather: bytes/s at which a rank receives in an all-gather (None with a single rank).
        ranks: of the process group.
    """

    gemm: dict[tuple[int, int, int], float]
    attention: float
    copy: float
    gather: float | None
    ranks: int


GEMM_SHAPES: tuple[tuple[int, int, int], ...] = (
    (8192, 8192, 8192),
    (4096, 14336, 4096),
    (8192, 10240, 8192),
    (8192, 8192, 28672),
)
"""Products of current models: tokens, output and inner width."""


def measure(
    shapes: Sequence[tuple[int, int, int]] = GEMM_SHAPES, *, sequence: int = SEQUENCE, copied_bytes: int = 2**30
) -> Rates:
    """Run the suite in bf16.

    Raises:
        UnsupportedError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UnsupportedError(
            "measuring a device needs torch; install it with: pip install 'clusterplan[torch]'"
        ) from None
    device, wait = _device(torch)
    gemm = {}
    for m, n, k in shapes:
        left = torch.randn(m, k, device=device, dtype=torch.bfloat16)
        right = torch.randn(k, n, device=device, dtype=torch.bfloat16)
        gemm[m, n, k] = 2.0 * m * n * k / _best(partial(torch.matmul, left, right), wait)
    heads = torch.randn(1, HEADS, sequence, HEAD_WIDTH, device=device, dtype=torch.bfloat16)
    attend = torch.nn.functional.scaled_dot_product_attention
    flops = 4.0 * HEADS * HEAD_WIDTH * sequence * (sequence + 1) / 2.0
    attention = flops / _best(lambda: attend(heads, heads, heads, is_causal=True), wait)
    source = torch.empty(copied_bytes // 2, device=device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    copy = 2.0 * copied_bytes / _best(lambda: target.copy_(source), wait)
    gather, ranks = _gather(torch, device, wait, copied_bytes)
    return Rates(gemm, attention, copy, gather, ranks)


def _device(torch: Any) -> tuple[Any, Callable[[], None]]:
    """The device to measure, and how to wait for it."""
    for name in ("cuda", "npu"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            return torch.device(name, local), module.synchronize
    return torch.device("cpu"), lambda: None


def _best(kernel: Callable[[], Any], wait: Callable[[], None]) -> float:
    """Seconds of the fastest repetition."""
    kernel()
    wait()
    best = math.inf
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        kernel()
        wait()
        best = min(best, time.perf_counter() - began)
    return best


def _gather(torch: Any, device: Any, wait: Callable[[], None], size: int) -> tuple[float | None, int]:
    """Bytes/s that a rank receives in an all-gather of ``size`` bytes, and the number of ranks."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks < 2 or not torch.distributed.is_available():
        return None, 1
    started = not torch.distributed.is_initialized()
    if started:
        backend = {"cuda": "nccl", "npu": "hccl"}.get(device.type, "gloo")
        torch.distributed.init_process_group(backend)
    try:
        own = torch.empty(size // 2 // ranks, device=device, dtype=torch.bfloat16)
        parts = [torch.empty_like(own) for _ in range(ranks)]
        seconds = _best(lambda: torch.distributed.all_gather(parts, own), wait)
    finally:
        if started:
            torch.distributed.destroy_process_group()
    return own.numel() * 2.0 * (ranks - 1) / seconds, ranks


def device_profile(
    catalog: Catalog, accelerator: Accelerator, framework: str, precision: Precision, rates: Rates, *, date: str
) -> Profile:
    """The profile that holds now, with the constants that the suite measured in place of its own.

    What kernels alone do not show (overlaps, launches, jitter, deviations) stays as it was.

    Args:
        catalog: where the present profile is looked up.
        accelerator: what was measured.
        framework: what the profile is for.
        precision: what the profile is for; products are measured in bf16.
        rates: of :func:`measure`.
        date: of the measurement, ISO.

    Raises:
        UnsupportedError: the accelerator has no bf16 peak in the catalog.
    """
    peak = accelerator.peak_flops_per_s.get("bf16")
    if peak is None:
        raise UnsupportedError(f"{accelerator.name} has no bf16 peak in the catalog; the suite measures bf16")
    present, _ = resolve_profile(catalog, accelerator, framework, precision)
    measured = {
        "gemm_efficiency": max(rates.gemm.values()) / peak,
        "attention_efficiency": rates.attention / peak,
        "memory_efficiency": rates.copy / accelerator.memory_bandwidth_bytes_per_s,
    }
    if rates.gather is not None and rates.ranks <= accelerator.scale_up.domain:
        measured["scale_up_efficiency"] = rates.gather / accelerator.scale_up.bandwidth_bytes_per_s
    return Profile.model_validate(
        present.model_dump()
        | {name: float(f"{min(max(value, 1e-3), 1.0):.4g}") for name, value in measured.items()}
        | {
            "name": f"{accelerator.name}.{framework}.{precision}",
            "title": f"{framework} on {accelerator.name}, {precision}",
            "accelerator": accelerator.name,
            "framework": framework,
            "precision": precision,
            "inherited_from": None,
            "rows": 0,
            "campaigns": (),
            "date": date,
            "sources": {
                "*": f"profile {present.name}",
                **dict.fromkeys(measured, "measured with `clusterplan calibrate --device`"),
            },
            "notes": "kernels measured on the device; overlaps, launches and deviations are those of the other profile",
        }
    )
