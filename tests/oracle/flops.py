"""Forward FLOPs per token and the three conventions built on them (docs/cost-models.md: FLOPs, utilisation)."""

from __future__ import annotations

from tests.oracle.parameters import Arch


def core_flops(a: Arch, seq: int, *, causal: bool) -> float:
    """Forward FLOPs of scores and context of one sequence in an average layer."""

    def pairs(width: float) -> float:
        return width * (width + 1) / 2 + (seq - width) * width if causal else seq * width

    windowed = pairs(min(a.window, seq)) if a.window_layers else 0.0
    mean = (a.window_layers * windowed + (a.layers - a.window_layers) * pairs(seq)) / a.layers
    return 2 * a.heads * (a.d + a.dv) * mean


def forward_per_token(a: Arch, seq: int, *, causal: bool) -> dict[str, float]:
    if a.mla:
        query = a.q_lora * (a.h + a.q) if a.q_lora > 0 else a.h * a.q
        key_value = a.h * (a.kv_lora + a.rope) + a.kv_lora * a.heads * (a.nope + a.dv)
    else:
        query, key_value = a.h * a.q, 2 * a.h * a.kv
    return {
        "attention_projections": a.layers * 2 * (query + key_value + a.o * a.h),
        "attention_core": a.layers * core_flops(a, seq, causal=causal) / seq,
        "mlp": a.dense_layers * 2 * (2 + a.g) * a.h * a.f,
        "experts": a.moe_layers * a.topk * 2 * (2 + a.g) * a.h * a.fe,
        "shared_experts": a.moe_layers * 2 * (2 + a.g) * a.h * a.fs,
        "router": a.moe_layers * 2 * a.h * a.experts,
        "head": 2 * a.h * a.vocab,
    }


def utilisation(a: Arch, seq: int, rate: float, peak: float, share: float, selective: int) -> tuple[float, float]:
    """MFU and HFU at so many tokens per second and accelerator."""
    forward = forward_per_token(a, seq, causal=False)
    model = 3 * sum(forward.values())
    again = share * (sum(forward.values()) - forward["head"]) + (1 - share) * selective * forward["attention_core"]
    return rate * model / peak, rate * (model + again) / peak
