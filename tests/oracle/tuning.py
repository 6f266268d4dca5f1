"""Seconds of a layer whose weights are frozen and whose matrices carry adapters (docs/cost-models.md: fine-tuning)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.layer import Pass, beyond, layer, softmax_by_torch, tokens
from tests.oracle.parameters import Arch

NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8


@dataclass(frozen=True)
class Adapters:
    """Matrices with an adapter, of what rank, jointly by group or each its own; and whether weights are four-bit."""

    names: frozenset[str]
    rank: int
    joint: bool
    four_bit: bool


def chosen(
    a: Arch, c: Cut, on: Adapters, t: float, copies: float, *, moe: bool
) -> list[tuple[float, float, float, float]]:
    """Tokens, adapters, width read and written on a rank, of every group."""
    mlps = [(t, c.tp, a.f)]
    if moe:
        mlps = [(copies, c.etp, a.fe)] + ([(t, c.tp, a.fs)] if a.fs else [])
    found = []

    def add(rows: float, read: float, written: dict[str, float], split: float) -> None:
        there = {name: width for name, width in written.items() if name in on.names}
        if there:
            count = 1 if on.joint and len(there) == len(written) else len(there)
            found.append((rows, count, read, sum(there.values()) / split))

    add(t, a.h, {"q": a.q, "k": a.kv, "v": a.kv}, c.tp)
    add(t, a.o / c.tp, {"o": a.h}, 1)
    for rows, split, width in mlps:
        add(rows, a.h, {"gate": width, "up": width} if a.g else {"up": width}, split)
        add(rows, width / split, {"down": a.h}, 1)
    return found


def matrices(a: Arch, c: Cut, *, moe: bool) -> float:
    """Weights of the layer's linears on a rank, biases as the product counts them left out."""
    attention = a.h * (a.q + 2 * a.kv) + a.o * a.h
    wide = (2 + a.g) * a.h
    if not moe:
        return (attention + wide * a.f) / c.tp
    return (attention + wide * a.fs) / c.tp + a.experts / c.ep * wide * a.fe / c.etp


def tuned_layer(a: Arch, w: Recipe, v: Device, c: Cut, seq: int, on: Adapters, *, moe: bool) -> Pass:
    """One layer, dense or MoE."""
    p = layer(a, w, v, c, seq, moe=moe)
    t, _, copies = tokens(a, c, seq)
    p.launch = [0.0, 0.0]
    p.matmul[1] -= p.wgrad
    p.wgrad = 0.0
    kernels = 0
    for rows, count, read, written in chosen(a, c, on, t, copies, moe=moe):
        params = on.rank * (count * read + written)
        p.matmul[0] += 2 * rows * params / (v.half_peak * v.e_mm)
        p.matmul[1] += 4 * rows * params / (v.half_peak * v.e_mm)
        p.memory[0] += 2 * rows * (count * read + 6 * written) / (v.bandwidth * v.e_mem)
        p.memory[1] += 2 * rows * (5 * count * read + 4 * written) / (v.bandwidth * v.e_mem)
        kernels += count
    if w.narrow:
        stream = t / (c.tp if c.sp else 1)
        inputs = (a.h + a.o / c.tp) * t + a.h * stream
        inputs += a.fe / c.etp * copies + a.fs / c.tp * t if moe else a.f / c.tp * t
        p.memory = [one - 2 * inputs * 0.5 / (v.bandwidth * v.e_mem) for one in p.memory]
    if on.four_bit:
        expanded = (NF4 + 2) * matrices(a, c, moe=moe) / (v.bandwidth * v.e_mem)
        p.memory = [one + expanded for one in p.memory]
    launch = ((2 if moe else 1) + 0.4 * softmax_by_torch(a, w, c)) * v.t_launch
    p.launch = [
        beyond(launch * (1 + 0.2 * kernels), p.total(0)),
        beyond(launch * (0.7 + 0.2 * kernels), p.total(1)),
    ]
    return p
