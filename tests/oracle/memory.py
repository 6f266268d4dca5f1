"""Bytes of the fullest rank, by component (docs/cost-models.md: bytes of a stage, memory of a rank)."""

from __future__ import annotations

from tests.oracle.activations import Saved
from tests.oracle.inputs import Cut, Recipe
from tests.oracle.layer import tokens
from tests.oracle.overlap import allowed
from tests.oracle.parameters import Arch, RankUnits, candidate_stages, stage_layers, stage_parameters


def recomputed_share(a: Arch, c: Cut) -> float:
    full = -(-a.layers // (c.pp * c.vpp)) * c.vpp
    return min(c.recompute_layers, full) / full


def saved_activations(share: float, s: Saved, dense: int, moe: int) -> float:
    return (1 - share) * (dense * s.dense + moe * s.moe) + share * (dense + moe) * s.input


def in_flight(c: Cut, stage: int) -> float:
    if c.vpp == 1:
        return min(c.pp - stage, c.micro_batches)
    chunks = 2 * (c.pp - stage - 1) + (c.vpp - 1) * c.pp + 1
    return min(chunks, c.micro_batches * c.vpp) / c.vpp


def rank_memory(a: Arch, w: Recipe, c: Cut, seq: int, s: Saved, u: RankUnits, stage: int) -> dict[str, float]:
    t, _, _ = tokens(a, c, seq)
    last = int(stage == c.pp - 1)
    extra = last * a.mtp
    dense, moe = stage_layers(a, c.pp, c.vpp, stage)
    if a.moe_layers > 0:
        moe += extra
    else:
        dense += extra
    share = recomputed_share(a, c)

    act = saved_activations(share, s, dense, moe)
    two_layers = min(2 * act / max(dense + moe, 1), act)
    act = max((1 - c.offload_activations) * act, two_layers)
    again = 0.0
    for count, whole, kept in ((dense, s.whole_dense, s.dense), (moe, s.whole_moe, s.moe)):
        if count > 0:
            again = max(again, whole - (s.input if share > 0 else kept))
    sent = w.stage_outputs * (1 if c.pp > 1 else 0) * c.vpp * s.input
    end = (last + extra) * s.head + extra * 4.0 * a.vocab / c.tp * t
    if allowed(a, w, c, share):
        kept = [size for count, size in ((dense, s.dense), (moe, s.moe)) if count]
        end += (1 - c.offload_activations) * max(kept, default=0.0)
    kinds = [part for count, part in ((dense, u.mlp), (moe, u.shared)) if count > 0]
    working = w.scratch * (u.attn + max(kinds) if kinds else 0.0) + max(s.transient + again, last * s.logits)

    pd, pe, end_unit = stage_parameters(a, c, u, stage, dense, moe)
    data = c.dp * c.cp
    ranks = min(c.zero_group, data) if c.zero_group > 0 else data
    same_experts = c.tp * c.cp * c.dp / (c.ep * c.etp)
    expert_ranks = max(min(same_experts, ranks) if c.zero_group > 0 else same_experts, 1)

    def state(size: float, from_stage: int) -> float:
        if c.zero >= from_stage:
            return size * (pd / ranks + pe / expert_ranks)
        return size * (pd + pe)

    own = w.parameter > w.gather_bytes
    if own and c.zero == 2:
        copies = (2 if c.pp > 1 else 1) * (pd + pe)
    elif c.zero >= 3 and w.live > 0:
        copies = min(max(w.live, (u.unit_d + u.unit_e) / 3), pd + pe)
    elif c.zero >= 3:
        copies = 2 * (u.unit_d + u.unit_e) + end_unit
    else:
        copies = 0.0
    bucket = 0.0
    if c.zero >= 2 and (w.reduce_bytes > w.scratch or w.live > 0):
        bucket = w.reduce_bytes * (u.unit_d + u.unit_e)
    stays = 1 - c.offload_optimizer
    parts = {
        "weights": state(w.parameter, 2 if own else 3) + state(w.cast, 3),
        "gradients": state(w.gradient, 2) + stays * state(w.step_gradient, 1),
        "master_weights": stays * state(w.master, 1),
        "optimizer": stays * state(w.moment, 1),
        "gathered": w.gather_bytes * copies + bucket,
        "activations": (act + sent) * in_flight(c, stage) + end,
        "working": working,
    }
    temporaries = state(w.update, 1)
    if w.by_tensor:
        temporaries = min(temporaries, w.update * max(end_unit, u.unit_e * 2 / 3))
    parts["update"] = max(stays * temporaries - parts["gathered"] - parts["activations"] - parts["working"], 0.0)
    parts["fragmentation"] = w.fragmentation * sum(parts.values())
    parts["reserve"] = w.reserve
    return parts


def fullest_rank(a: Arch, w: Recipe, c: Cut, seq: int, s: Saved, u: RankUnits) -> tuple[dict[str, float], int]:
    best: dict[str, float] = {}
    where = 0
    for stage in candidate_stages(a, c.pp, c.vpp):
        parts = rank_memory(a, w, c, seq, s, u, stage)
        if not best or sum(parts.values()) > sum(best.values()):
            best, where = parts, stage
    return best, where


def needed(parts: dict[str, float]) -> float:
    """Live bytes, at most three hundredths that the allocator cannot give back, and the reserve."""
    live = sum(value for name, value in parts.items() if name not in ("fragmentation", "reserve"))
    return live + min(parts["fragmentation"], 0.03 * live) + parts["reserve"]


def on_device(parts: dict[str, float], capacity: float) -> dict[str, float]:
    """The allocator caches no more than what is free, but for what it cannot give back."""
    whole = sum(parts.values())
    too_much = min(whole - max(capacity, needed(parts)), whole - needed(parts))
    return parts | {"fragmentation": parts["fragmentation"] - max(too_much, 0.0)}
