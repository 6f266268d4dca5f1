"""Why combinations are not in the space: the limits of degrees, and the rules by name."""

from __future__ import annotations

MAX_TENSOR_PARALLEL = 64
MAX_PIPELINE = 128
MAX_MICRO_BATCH = 64
MIN_CONTEXT_TOKENS = 4096

MAX_HYBRID_DOMAINS = 32
"""Most scale-up domains that share one copy of the sharded state."""

RULES: dict[str, str] = {
    "tensor-divides-heads": f"tp divides the attention heads and the MLP width and is at most {MAX_TENSOR_PARALLEL}",
    "tensor-matches-kv-heads": "tp divides the key/value heads or is a multiple of them",
    "tensor-aligned": "tp divides the scale-up domain or is a multiple of it, so that no group straddles two domains",
    "context-slices": f"cp is a power of two that leaves at least {MIN_CONTEXT_TOKENS} tokens per rank",
    "expert-divides": "ep divides the experts; experts are not split further (etp = 1)",
    "micro-batch-power": f"micro-batches are powers of two up to {MAX_MICRO_BATCH}",
    "pairs-stay-together": "both answers of a pair are in one micro-batch, so that micro-batches are even",
    "stages-hold-layers": f"at most {MAX_PIPELINE} stages, none empty; only the first and last chunk may be short",
    "whole-servers": "clusters use whole servers, or part of a single one",
    "batch-divides": "the global batch divides over replicas and micro-batches within the stated tolerance",
    "interleaved-multiple": "interleaved schedules need micro-batches in multiples of the stages",
    "experts-within-ranks": "ep divides the ranks of a stage (tp·cp·dp)",
    "zero-with-pipeline": "ZeRO 2 and 3 with pipeline stages only where the framework supports it",
    "hybrid-groups": "state is shared by all data-parallel ranks or, where the framework can, by fewer of them that "
    f"divide them and span 1, 2, 4 … {MAX_HYBRID_DOMAINS} scale-up domains",
    "selective-needs-scores": "selective recomputation only where scores are kept (no flash attention), or by operator",
    "framework-lacks": "degrees, schedules, recomputation or offload that the framework does not have",
    "host-link": "offload needs a known host link",
    "replica-goes-on": "recovery by replica needs a second data-parallel replica that holds the state of the first: no "
    "ZeRO, or within groups (--zero-group), and experts on fewer than all ranks",
}
"""Why combinations are not in the space, by rule name."""
