"""Bytes that a layer and the head save for the backward pass (docs/cost-models.md: activations)."""

from __future__ import annotations

from tests.oracle.inputs import Cut, Recipe
from tests.oracle.layer import tokens
from tests.oracle.parameters import Arch

HALF, FP32, MASK = 2.0, 4.0, 1.0


class Saved:
    """Saved and transient bytes of a rank, per layer and micro-batch."""

    def __init__(self, a: Arch, w: Recipe, c: Cut, seq: int) -> None:
        t, stream, copies = tokens(a, c, seq)
        self.dense = self._kept_dense(a, w, c, seq)
        self.moe = self._kept_moe(a, w, c, seq)
        whole = attention(a, w, c, seq, selective=False)
        self.whole_dense = whole + dense_mlp(a, w, c, seq)
        self.whole_moe = whole + moe_mlp(a, w, c, seq)
        self.input = HALF * a.h * stream
        width = 0.0
        if a.dense_layers > 0:
            width = a.f / c.tp
        if a.moe_layers > 0:
            width = max(width, a.fe / c.etp * copies / t + a.fs / c.tp)
        self.transient = HALF * t * (width * (2 + a.g) + a.h)
        self.head = HALF * a.h * stream + matmul_input(a, w, c, seq)
        if c.sp and c.tp > 1 and not w.gathered_inputs:
            self.head += HALF * a.h * t
        rows = a.vocab / c.tp
        loss = w.split_loss_bytes if c.tp > 1 else w.loss_bytes
        tanh = HALF * a.softcap * rows * t
        self.logits = tanh + max((4 if w.floss else loss) * rows * t, 4 * rows * t + w.scratch * a.h * rows)

    def _kept_dense(self, a: Arch, w: Recipe, c: Cut, seq: int) -> float:
        if not (c.selective and w.op_recompute):
            return attention(a, w, c, seq, selective=bool(c.selective)) + dense_mlp(a, w, c, seq)
        t, _, _ = tokens(a, c, seq)
        return op_attention(a, w, c, seq) + w.op_products * HALF * (a.f / c.tp + (1 - w.fact) * a.h) * t

    def _kept_moe(self, a: Arch, w: Recipe, c: Cut, seq: int) -> float:
        if not (c.selective and w.op_recompute):
            return attention(a, w, c, seq, selective=bool(c.selective)) + moe_mlp(a, w, c, seq)
        t, _, copies = tokens(a, c, seq)
        inner = HALF * a.fe / c.etp * copies + HALF * a.fs / c.tp * t
        return op_attention(a, w, c, seq) + HALF * a.h * copies + w.op_products * inner


def op_attention(a: Arch, w: Recipe, c: Cut, seq: int) -> float:
    t, stream, _ = tokens(a, c, seq)
    if a.mla and a.q_lora > 0:
        kept = float(a.q_lora + a.kv_lora + a.rope)
    elif a.mla:
        kept = a.q / c.tp + a.heads * (a.nope + a.dv) / c.tp
    else:
        kept = a.q / c.tp + a.d * max(a.kv_heads / c.tp, 1.0)
    per_token = HALF * (w.op_products * kept + a.o / c.tp) + FP32 * a.heads / c.tp
    return HALF * a.h * stream + per_token * t


def matmul_input(a: Arch, w: Recipe, c: Cut, seq: int) -> float:
    t, stream, _ = tokens(a, c, seq)
    return w.saved * a.h * (t if w.gathered_inputs else stream)


def norm_input(a: Arch, w: Recipe) -> float:
    if a.rms and w.norm:
        return (HALF + w.norm + FP32 * a.norm32) * a.h
    return HALF * a.h


def attention(a: Arch, w: Recipe, c: Cut, seq: int, *, selective: bool) -> float:
    t, stream, _ = tokens(a, c, seq)
    held = a.d * max(a.kv_heads / c.tp, 1.0)
    kept = norm_input(a, w) * stream
    if a.nl > 2:
        kept += norm_input(a, w) * stream
    kept += matmul_input(a, w, c, seq)
    if a.mla:
        kept += HALF * (2 * (a.q_lora + a.kv_lora) + a.rope + (2 * a.q + a.o) / c.tp) * t
    else:
        kept += HALF * (a.q / c.tp + 2 * (a.d * a.heads / c.tp if w.repeated else held)) * t
    if a.qn_head or a.qn_full:
        kept += HALF * (a.q / c.tp + held) * t
    if w.flash:
        kept += FP32 * a.heads / c.tp * t
        if a.matrices and w.matrices:
            kept += HALF * c.micro_batch * a.heads / c.tp / c.cp * seq * seq
    elif not selective or w.op_recompute:
        kept += (HALF + a.drop * (MASK + HALF)) * c.micro_batch * a.heads / c.tp / c.cp * seq * seq
    kept += max(w.saved, HALF) * a.o / c.tp * t
    return kept + a.drop * MASK * a.h * stream


def inner(a: Arch, w: Recipe, elements: float) -> float:
    results = 4 if a.tanh_gelu and w.spelled_gelu else 1
    return elements * (HALF * (1 + a.g + a.g * (1 - w.fact) * results) + w.saved)


def mlp_inputs(a: Arch, w: Recipe, c: Cut, seq: int) -> float:
    _, stream, _ = tokens(a, c, seq)
    norms = (1 - a.par) + (1 if a.nl > 2 else 0)
    return stream * (norms * norm_input(a, w) + a.drop * MASK * a.h) + (1 - a.par) * matmul_input(a, w, c, seq)


def dense_mlp(a: Arch, w: Recipe, c: Cut, seq: int) -> float:
    t, _, _ = tokens(a, c, seq)
    return mlp_inputs(a, w, c, seq) + inner(a, w, a.f / c.tp * t)


def moe_mlp(a: Arch, w: Recipe, c: Cut, seq: int) -> float:
    t, stream, copies = tokens(a, c, seq)
    routed = FP32 * a.experts * stream + w.saved * a.h * copies + inner(a, w, a.fe / c.etp * copies)
    return mlp_inputs(a, w, c, seq) + routed + inner(a, w, a.fs / c.tp * t)
