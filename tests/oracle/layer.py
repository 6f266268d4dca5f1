"""Seconds of one layer and of the head, forward and backward (docs/cost-models.md: one layer in time)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tests.oracle.collectives import all_reduce, all_to_all, gather, group_bandwidth, merged, ring_latency
from tests.oracle.flops import core_flops
from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.parameters import Arch

HALF = 2.0
TILES = ((256, 128, 1.00), (128, 128, 0.92), (64, 128, 0.75))
NORM, RESIDUAL_ADD, DROPOUT, ROTARY = (2, 3), (3, 3), (1, 1), (2, 2)
GATED, GATED_UNFUSED, UNGATED = (3, 5), (2, 3), (2, 3)
SCORES, SCORES_UNFUSED, SCORES_DROPOUT, PERMUTE, QUANTISE = (4, 7), (16, 17), (2.5, 2.5), (4, 4), (2, 2)
EXPERT_BIAS = (14, 20)
LOSS_FUSED, LOSS_UNFUSED = (6, 4), (18, 10)


@dataclass
class Pass:
    """Seconds by cause, one entry for the forward and one for the backward pass."""

    matmul: list[float] = field(default_factory=lambda: [0.0, 0.0])
    core: list[float] = field(default_factory=lambda: [0.0, 0.0])
    memory: list[float] = field(default_factory=lambda: [0.0, 0.0])
    tensor: list[float] = field(default_factory=lambda: [0.0, 0.0])
    context: list[float] = field(default_factory=lambda: [0.0, 0.0])
    expert: list[float] = field(default_factory=lambda: [0.0, 0.0])
    launch: list[float] = field(default_factory=lambda: [0.0, 0.0])
    wgrad: float = 0.0
    selective: float = 0.0

    def total(self, i: int) -> float:
        causes = (self.matmul, self.core, self.memory, self.tensor, self.context, self.expert, self.launch)
        return sum(cause[i] for cause in causes)


def tokens(a: Arch, c: Cut, seq: int) -> tuple[float, float, float]:
    """Tokens of a rank's matmuls, of its residual stream and copies at its experts."""
    t = c.micro_batch * seq / c.cp
    return t, t / (c.tp if c.sp else 1), t * a.topk * c.etp / c.tp


def align(width: float) -> float:
    if round(width) % 8:
        return 0.4
    return 0.9 ** sum(round(width) % line != 0 for line in (64, 32, 16))


def tile_utilisation(v: Device, m: float, n: float, k: float) -> float:
    if not v.units:
        return 1.0
    best = 0.0
    for one, other, rate in TILES:
        for tm, tn in ((one, other), (other, one)):
            count = math.ceil(m / tm) * math.ceil(n / tn) * k
            waves = max(math.ceil(count / v.units), 1)
            best = max(best, rate * m * n * k / (waves * v.units * tm * tn))
    return best


def matmul(v: Device, m: float, n: float, q: float, k: float, rate: float, size: float) -> float:
    flops = 2 * m * n * q * k
    if flops == 0:
        return 0.0
    arithmetic = flops / (rate * max(tile_utilisation(v, m, n, k), 1e-3))
    traffic = k * (size * (m * q + q * n) + 2 * m * n) / (v.bandwidth * v.e_mem)
    return max(arithmetic, traffic)


def linear(
    v: Device, t: float, win: float, wout: float, k: float, peak: float, size: float, *, routed: bool = False
) -> tuple[float, float, float]:
    rate = peak * v.e_mm * (v.e_ex if routed else 1.0) * align(win) * align(wout)
    return (
        matmul(v, t, wout, win, k, rate, size),
        matmul(v, t, win, wout, k, rate, size),
        matmul(v, win, wout, t, k, rate, size),
    )


def attention_linears(a: Arch, c: Cut, t: float) -> list[tuple[float, float, float, float, bool]]:
    if not a.mla:
        held = a.d * max(a.kv_heads / c.tp, 1.0)
        return [(t, a.h, a.q / c.tp + 2 * held, 1, False), (t, a.o / c.tp, a.h, 1, False)]
    return [
        (t, a.h, a.q_lora + a.kv_lora + a.rope, 1, False),
        (t, a.q_lora or a.h, a.q / c.tp, 1, False),
        (t, a.kv_lora, a.heads * (a.nope + a.dv) / c.tp, 1, False),
        (t, a.o / c.tp, a.h, 1, False),
    ]


def dense_linears(a: Arch, c: Cut, t: float) -> list[tuple[float, float, float, float, bool]]:
    return [(t, a.h, (1 + a.g) * a.f / c.tp, 1, False), (t, a.f / c.tp, a.h, 1, False)]


def moe_linears(
    a: Arch, c: Cut, t: float, stream: float, copies: float
) -> list[tuple[float, float, float, float, bool]]:
    held = max(a.experts / c.ep, 1.0)
    return [
        (stream, a.h, a.experts, 1, False),
        (copies / held, a.h, (1 + a.g) * a.fe / c.etp, held, True),
        (copies / held, a.fe / c.etp, a.h, held, True),
        (t, a.h, (1 + a.g) * a.fs / c.tp, 1, False),
        (t, a.fs / c.tp, a.h, 1, False),
    ]


def tensor_seconds(a: Arch, v: Device, c: Cut, t: float, count: int) -> float:
    if c.sp:
        one = 2 * gather(HALF * a.h * t, c.tp, group_bandwidth(v, c.tp, 1), ring_latency(v, c.tp, 1))
    else:
        one = all_reduce(v, HALF * a.h * t, c.tp, 1)
    return (1 - v.v_tp) * count * one


def beyond(launch: float, device: float) -> float:
    x = max(launch, device, 1e-12)
    return x * ((launch / x) ** 5 + (device / x) ** 5) ** (1 / 5) - device


def softmax_by_torch(a: Arch, w: Recipe, c: Cut) -> int:
    return int(not w.flash and c.micro_batch * a.heads / c.tp % 4 > 0)


def layer(a: Arch, w: Recipe, v: Device, c: Cut, seq: int, *, moe: bool, beside: bool = False) -> Pass:
    """One layer of the stack, dense or MoE; ``beside`` another micro-batch, where its experts' exchange hides."""
    t, stream, copies = tokens(a, c, seq)
    b = c.micro_batch
    p = Pass()

    linears = attention_linears(a, c, t)
    linears += moe_linears(a, c, t, stream, copies) if moe else dense_linears(a, c, t)
    for rows, win, wout, k, routed in linears:
        forward, dgrad, wgrad = linear(v, rows, win, wout, k, v.peak, w.operand, routed=routed)
        p.matmul[0] += forward
        p.matmul[1] += dgrad + wgrad
        p.wgrad += wgrad

    shape = (a.d / (a.d + 32)) / (128 / (128 + 32))
    share = b / (c.tp * c.cp)
    if w.flash:
        p.core[0] = share * core_flops(a, seq, causal=True) / (v.half_peak * v.e_at * shape)
        p.core[1] = p.core[0] * 2.5
    else:
        rate = v.half_peak * v.e_mm * min(shape, 1.0) * align(a.d)
        p.core[0] = share * core_flops(a, seq, causal=False) / rate
        p.core[1] = p.core[0] * 2

    residual = HALF * a.h * stream
    heads = HALF * (a.q + a.kv) / c.tp * t
    scores = 0.0 if w.flash else HALF * b * a.heads / c.tp * seq * seq / c.cp
    torch_softmax = softmax_by_torch(a, w, c)
    rotary, qk_norm = 0 if a.positions > 0 else 1, max(a.qn_head, a.qn_full)
    for i in (0, 1):
        moved = residual * ((a.nl if a.par else a.nl / 2) * NORM[i] + RESIDUAL_ADD[i] + a.drop * DROPOUT[i])
        moved += heads * (rotary * ROTARY[i] + qk_norm * NORM[i])
        moved += scores * (SCORES[i] + torch_softmax * SCORES_UNFUSED[i] + a.drop * SCORES_DROPOUT[i])
        if w.narrow:
            moved += HALF * (a.h + a.o / c.tp) * t * QUANTISE[i]
        elements = a.fe / c.etp * copies + a.fs / c.tp * t if moe else a.f / c.tp * t
        norm = 0 if a.par else a.nl / 2
        add = 0 if a.par else 1
        if a.g:
            act = GATED[i] + (0 if w.fact else GATED_UNFUSED[i])
        else:
            act = UNGATED[i]
        cast = QUANTISE[i] if w.narrow else 0
        moved += residual * (norm * NORM[i] + add * RESIDUAL_ADD[i] + a.drop * DROPOUT[i])
        moved += HALF * elements * (act + cast) + residual * cast
        if moe:
            moved += (PERMUTE[i] + v.n_rt + EXPERT_BIAS[i] * a.b_expert) * HALF * a.h * copies
        p.memory[i] = moved / (v.bandwidth * v.e_mem)
    score_bytes = scores * (SCORES[0] + torch_softmax * SCORES_UNFUSED[0] + a.drop * SCORES_DROPOUT[0])

    count = 1 + ((1 if a.fs > 0 else 0) if moe else (0 if a.par else 1))
    p.tensor = [tensor_seconds(a, v, c, t, count)] * 2

    if c.cp > 1:
        kv = HALF * (a.q + a.o if a.mla else 2 * a.kv) / c.tp * t
        ring = (c.cp - 1) * kv / group_bandwidth(v, c.cp, c.tp) + ring_latency(v, c.cp, c.tp) + v.t_col
        p.context = [ring - min(v.v_tp * ring, p.core[0]), 2 * ring - min(v.v_tp * 2 * ring, p.core[1])]

    if moe:
        leaving = merged(v, a.topk, c.ep, c.etp) if w.merge else 1.0
        sent = all_to_all(v, HALF * a.h * copies / c.etp, c.ep, c.etp, leaving)
        exchange = 2 * (sent + (v.t_col if c.ep > 1 else 0.0))
        latency = ring_latency(v, c.etp, 1) + v.t_col
        gathering = 2 * gather(HALF * a.h * copies, c.etp, group_bandwidth(v, c.etp, 1), latency)
        p.expert = [(1 - beside * v.v_ex) * (exchange + gathering)] * 2

    launches = (2 + 0.15 * a.b_expert * max(a.experts / c.ep, 1) if moe else 1) + 0.4 * torch_softmax
    meeting = 2 * v.t_col if c.tp > 1 else 0.0
    p.tensor = [p.tensor[0] + meeting, p.tensor[1] + meeting]
    p.launch = [beyond(launches * v.t_launch, p.total(0)), beyond(launches * v.t_launch, p.total(1))]
    again = 0.5 * p.total(0) if w.op_recompute else p.core[0] + score_bytes / (v.bandwidth * v.e_mem)
    p.selective = c.selective * again
    return p


def head(a: Arch, w: Recipe, v: Device, c: Cut, seq: int) -> Pass:
    """One pass through the output head and the loss."""
    t, _, _ = tokens(a, c, seq)
    padded = math.ceil(a.vocab / c.tp / 128) * 128 if c.tp > 1 else a.vocab
    forward, dgrad, wgrad = linear(v, t, a.h, padded, 1, v.half_peak, 2.0)
    moved = LOSS_FUSED if w.floss else LOSS_UNFUSED
    traffic = [a.vocab / c.tp * t * bytes_ / (v.bandwidth * v.e_mem) for bytes_ in moved]
    return Pass(
        matmul=[forward, dgrad + wgrad],
        memory=traffic,
        tensor=[tensor_seconds(a, v, c, t, 1)] * 2,
        wgrad=wgrad,
    )
