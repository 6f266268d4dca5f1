"""A model's derived widths and its parameters (docs/cost-models.md: symbols, parameters, parameters of a rank)."""

from __future__ import annotations

import math

from catalogs.model import Model
from tests.oracle.inputs import Cut


class Arch:
    """The page's symbols of a model, as plain numbers, and its parameter counts."""

    def __init__(self, model: Model) -> None:
        moe, mla = model.moe, model.mla
        self.layers, self.h, self.vocab = model.layers, model.hidden, model.vocab
        self.heads, self.kv_heads = model.heads, model.kv_heads
        self.mla = int(mla is not None)
        self.rope = mla.rope_head_dim if mla else 0
        self.nope = mla.nope_head_dim if mla else 0
        self.q_lora = mla.q_lora if mla else 0
        self.kv_lora = mla.kv_lora if mla else 0
        self.d = self.nope + self.rope if mla else model.head_dim
        self.dv = mla.v_head_dim if mla else model.head_dim
        self.f, self.g, self.tied = model.ffn, int(model.gated), int(model.tied)
        self.positions = model.learned_positions
        self.b_qkv, self.b_o = int(model.qkv_bias), int(model.o_bias)
        self.b_mlp, self.b_head = int(model.mlp_bias), int(model.head_bias)
        self.nv = 2 if model.norm == "layer" and model.norm_bias else 1
        self.nl = model.norms_per_layer
        self.rms = model.norm == "rms"
        self.final_norm, self.emb_norm = int(model.final_norm), int(model.embedding_norm)
        self.qn_head, self.qn_full = int(model.qk_norm == "head"), int(model.qk_norm == "full")
        self.par, self.drop, self.sinks = int(model.parallel_block), int(model.dropout), int(model.sinks)
        self.matrices, self.tanh_gelu = int(model.square_alibi), int(model.tanh_gelu)
        self.softcap, self.norm32 = int(model.logit_softcap), int(model.fp32_norm)
        self.window, self.window_layers, self.mtp = model.window, model.window_layers, model.mtp_layers
        self.experts = moe.experts if moe else 0
        self.topk = moe.topk if moe else 0
        self.fe = moe.ffn if moe else 0
        self.fs = moe.shared_ffn if moe else 0
        self.first_dense = moe.first_dense_layers if moe else 0
        self.every = moe.every if moe else 0
        self.b_router = int(moe.router_bias) if moe else 0
        self.b_expert = int(moe.expert_bias) if moe else 0
        self.s_gate = int(moe.shared_gate) if moe else 0

        self.moe_layers = (self.layers - self.first_dense) // self.every if self.experts else 0
        self.dense_layers = self.layers - self.moe_layers
        self.q = self.heads * self.d
        self.kv = self.kv_heads * self.d
        self.o = self.heads * self.dv

        h, f, g = self.h, self.f, self.g
        if self.mla:
            query = self.q_lora * (h + self.q) if self.q_lora > 0 else h * self.q
            inner = query + h * (self.kv_lora + self.rope) + self.kv_lora * self.heads * (self.nope + self.dv)
        else:
            inner = (h + self.b_qkv) * (self.q + 2 * self.kv)
        self.p_attn = inner + h * self.o + self.b_o * h
        self.p_mlp = h * f * (2 + g) + self.b_mlp * ((1 + g) * f + h)
        self.p_expert = h * self.fe * (2 + g) + self.b_expert * ((1 + g) * self.fe + h)
        self.p_shared = h * self.fs * (2 + g) + self.s_gate * h
        self.p_router = self.experts * (h + self.b_router)
        self.p_norms = (
            self.nl * self.nv * h
            + 2 * self.d * self.qn_head
            + (self.q + self.kv) * self.qn_full
            + self.q_lora
            + self.kv_lora
            + self.sinks * self.heads
        )
        self.p_embedding = h * (self.vocab + self.positions + self.emb_norm * self.nv)
        self.p_final_norm = self.final_norm * self.nv * h
        self.p_head = self.vocab * ((1 - self.tied) * h + self.b_head)

    def before(self, layer: int) -> int:
        """MoE layers among the first so many."""
        return max(layer - self.first_dense, 0) // self.every if self.experts else 0


def total_parameters(a: Arch) -> int:
    dense = a.p_attn + a.p_mlp + a.p_norms
    moe = a.p_attn + a.experts * a.p_expert + a.p_shared + a.p_router + a.p_norms
    return a.p_embedding + a.dense_layers * dense + a.moe_layers * moe + a.p_final_norm + a.p_head


class RankUnits:
    """Parameters of one layer's parts on one rank."""

    def __init__(self, a: Arch, c: Cut) -> None:
        down = a.mla * a.h * (a.q_lora + a.kv_lora + a.rope)
        held = max(a.kv_heads / c.tp, 1.0)
        copies = 0.0 if a.mla else 2 * a.d * (a.h + a.b_qkv) * (held - a.kv_heads / c.tp)
        self.attn = (a.p_attn - down) / c.tp + down + copies + a.p_norms
        self.mlp = a.p_mlp / c.tp
        self.shared = a.p_shared / c.tp + a.p_router
        self.expert = a.experts / c.ep * a.p_expert / c.etp
        copied = (a.tied or a.mtp > 0) and c.pp > 1
        self.head = (a.p_head + (a.h * a.vocab if copied else 0)) / c.tp
        self.embedding = a.p_embedding / c.tp
        self.unit_d = self.attn + max(self.mlp if a.dense_layers else 0.0, self.shared if a.moe_layers else 0.0)
        self.unit_e = self.expert if a.moe_layers else 0.0


def stage_parameters(a: Arch, c: Cut, u: RankUnits, stage: int, dense: int, moe: int) -> tuple[float, float, float]:
    """Non-expert and expert parameters of a stage (layers with MTP's), and the larger of embedding and head on it."""
    first, last = stage == 0, stage == c.pp - 1
    extra = a.mtp if last else 0
    non_expert = (dense + moe) * u.attn + dense * u.mlp + moe * u.shared
    non_expert += extra * (2 * a.h * a.h / c.tp + 3 * a.nv * a.h)
    if first:
        non_expert += u.embedding
    if last:
        non_expert += u.head + a.p_final_norm
    end_unit = max(u.embedding if first else 0.0, u.head if last else 0.0)
    return non_expert, moe * u.expert, end_unit


def stage_layers(a: Arch, pp: int, vpp: int, stage: int) -> tuple[int, int]:
    """Dense and MoE layers of the stack on one stage."""
    chunk = math.ceil(a.layers / (pp * vpp))
    short = (chunk * pp * vpp - a.layers) // 2
    total = moe = 0
    for turn in range(vpp):
        piece = turn * pp + stage
        start = min(max(piece * chunk - short, 0), a.layers)
        end = min(max((piece + 1) * chunk - short, 0), a.layers)
        total += end - start
        moe += a.before(end) - a.before(start)
    return total - moe, moe


def partition_possible(a: Arch, pp: int, vpp: int, uneven: bool) -> bool:
    chunk = math.ceil(a.layers / (pp * vpp))
    missing = chunk * pp * vpp - a.layers
    if missing and not (uneven and pp > 1 and math.ceil(missing / 2) <= chunk - 1):
        return False
    if a.every > 1 and chunk % a.every:
        return False
    return vpp == 1 or pp > 1


def candidate_stages(a: Arch, pp: int, vpp: int) -> list[int]:
    chunk = math.ceil(a.layers / (pp * vpp))
    short = (chunk * pp * vpp - a.layers) // 2
    edge = ((a.first_dense + short if a.experts else 0) // chunk) % pp
    return [0, min(1, pp - 1), edge, (edge + 1) % pp, pp - 1]
