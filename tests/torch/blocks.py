"""Transformer blocks in plain torch, fused where training frameworks fuse, for checking what they compute and save.

Layout is [sequence, batch, width], as in Megatron-LM. Fusions are autograd functions that save what the fused kernel
of a framework saves, and recompute the rest in their backward pass.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from catalogs import Model

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402


class FusedRms(torch.autograd.Function):
    """RMS norm that saves its input and one reciprocal deviation per token (Transformer Engine)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        deviation = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(x, weight, deviation)
        return (x.float() * deviation).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, deviation = ctx.saved_tensors
        normed = x.float() * deviation
        inner = grad.float() * weight.float()
        grad_x = deviation * (inner - normed * (inner * normed).mean(-1, keepdim=True))
        return grad_x.to(x.dtype), (grad * normed.to(x.dtype)).sum((0, 1))


class FusedSwiglu(torch.autograd.Function):
    """silu(gate)·up·weight that saves its inputs alone."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        return functional.silu(gate) * up * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        inputs = [t.detach().requires_grad_() for t in ctx.saved_tensors]
        with torch.enable_grad():
            out = functional.silu(inputs[0]) * inputs[1] * inputs[2]
        return torch.autograd.grad(out, inputs, grad)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention of [s, b, heads, width] tensors with grouped keys and values, and its log-sum-exps."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("sbhd,tbhd->bhst", q, k).float() / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(torch.ones(scores.shape[-2:], device=q.device).triu(1).bool(), -1e9)
    out = torch.einsum("bhst,tbhd->sbhd", scores.softmax(-1).to(v.dtype), v)
    return out.contiguous(), scores.logsumexp(-1)


class FlashAttention(torch.autograd.Function):
    """Fused attention that saves queries, keys, values, result and log-sum-exps (Dao et al. 2022)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = _attend(q, k, v)
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        inputs = [t.detach().requires_grad_() for t in ctx.saved_tensors[:3]]
        with torch.enable_grad():
            out, _ = _attend(*inputs)
        return torch.autograd.grad(out, inputs, grad)


def dropped(x: Tensor, rate: float) -> Tensor:
    """Dropout that saves a one-byte mask, as on a GPU."""
    return torch.native_dropout(x, rate, True)[0] if rate else x


class Rms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = FusedRms.apply(x, self.weight)
        return out


class Swiglu(nn.Module):
    def __init__(self, hidden: int, width: int, fused: bool = True) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(hidden, width, bias=False) for _ in range(2))
        self.down = nn.Linear(width, hidden, bias=False)
        self.fused = fused

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        gate, up = self.gate(x), self.up(x)
        if self.fused:
            out = FusedSwiglu.apply(
                gate, up, torch.ones(1, dtype=x.dtype, device=x.device) if weight is None else weight
            )
        else:
            out = functional.silu(gate) * up
        return self.down(out)


class Experts(nn.Module):
    """Top-k routed SwiGLU experts without token dropping, and a shared expert."""

    def __init__(self, hidden: int, experts: int, topk: int, width: int, shared: int) -> None:
        super().__init__()
        self.router = nn.Linear(hidden, experts, bias=False)
        self.experts = nn.ModuleList(Swiglu(hidden, width) for _ in range(experts))
        self.shared = Swiglu(hidden, shared) if shared else None
        self.topk = topk

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        scores = self.router(flat).float().softmax(-1)
        if x.is_meta:  # balanced, so that shapes are known
            order = torch.empty(flat.shape[0] * self.topk, dtype=torch.long, device="meta")
            counts = [len(order) // len(self.experts)] * len(self.experts)
            weights = torch.empty(len(order), 1, dtype=x.dtype, device="meta")
        else:
            top, chosen = scores.topk(self.topk, -1)
            by_expert = chosen.reshape(-1).argsort()
            counts = chosen.reshape(-1).bincount(minlength=len(self.experts)).tolist()
            order = by_expert // self.topk
            weights = top.reshape(-1, 1)[by_expert].to(x.dtype)
        inputs = flat[order].split(counts)
        pairs = zip(self.experts, inputs, weights.split(counts), strict=True)
        results = torch.cat([expert(i, w) for expert, i, w in pairs])
        out = torch.zeros_like(flat).scatter_add(0, order[:, None].expand_as(results), results).reshape(x.shape)
        return out if self.shared is None else out + self.shared(x)


class LlamaBlock(nn.Module):
    """RMS norm, rotary grouped-query attention, and SwiGLU or experts."""

    def __init__(self, m: Model, *, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = m.heads, m.kv_heads, m.head_dim
        self.q = nn.Linear(m.hidden, m.heads * m.head_dim, bias=False)
        self.k, self.v = (nn.Linear(m.hidden, m.kv_heads * m.head_dim, bias=False) for _ in range(2))
        self.o = nn.Linear(m.heads * m.head_dim, m.hidden, bias=False)
        self.norms = nn.ModuleList(Rms(m.hidden) for _ in range(2))
        self.mlp: nn.Module = Swiglu(m.hidden, m.ffn, fused)
        if m.moe is not None:
            self.mlp = Experts(m.hidden, m.moe.experts, m.moe.topk, m.moe.ffn, m.moe.shared_ffn)

    def rotated(self, x: Tensor) -> Tensor:
        position, pair = (torch.arange(n, device=x.device) for n in (x.shape[0], self.width))
        angles = position[:, None] / 10000 ** (pair / self.width)
        cos, sin = (f(angles).to(x.dtype)[:, None, None] for f in (torch.cos, torch.sin))
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat((-right, left), -1) * sin

    def forward(self, x: Tensor) -> Tensor:
        s, b, _ = x.shape
        normed = self.norms[0](x)
        q = self.rotated(self.q(normed).view(s, b, self.heads, self.width))
        k = self.rotated(self.k(normed).view(s, b, self.kv_heads, self.width))
        v = self.v(normed).view(s, b, self.kv_heads, self.width)
        x = x + self.o(FlashAttention.apply(q, k, v).view(s, b, -1))
        return x + self.mlp(self.norms[1](x))


class GptBlock(nn.Module):
    """Layer norm, multi-head attention (fused, explicit, or explicit and recomputed), GELU, biases, dropout."""

    def __init__(self, m: Model, *, attention: str = "explicit", dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.attention, self.rate = m.heads, attention, dropout
        self.norms = nn.ModuleList(nn.LayerNorm(m.hidden) for _ in range(2))
        self.qkv, self.o = nn.Linear(m.hidden, 3 * m.hidden), nn.Linear(m.hidden, m.hidden)
        self.up, self.down = nn.Linear(m.hidden, m.ffn), nn.Linear(m.ffn, m.hidden)

    def explicit(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s, b, heads, width = q.shape
        q, k, v = (t.reshape(s, b * heads, width).transpose(0, 1) for t in (q, k, v))
        mask = torch.full((s, s), -1e4, dtype=q.dtype, device=q.device).triu(1)
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(width))
        context = torch.bmm(dropped(scores.softmax(-1), self.rate), v)
        return context.transpose(0, 1).reshape(s, b, heads * width)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.attention == "flash":
            q, k, v = (t.permute(1, 2, 0, 3) for t in (q, k, v))
            out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return out.permute(2, 0, 1, 3).reshape(*out.shape[2:3], out.shape[0], -1)
        if self.attention == "recomputed":
            return checkpoint(self.explicit, q, k, v, use_reentrant=True)
        return self.explicit(q, k, v)

    def forward(self, x: Tensor) -> Tensor:
        s, b, _ = x.shape
        qkv = self.qkv(self.norms[0](x)).view(s, b, 3, self.heads, -1)
        x = x + dropped(self.o(self.attend(*qkv.unbind(2))), self.rate)
        out = self.down(functional.gelu(self.up(self.norms[1](x)), approximate="tanh"))
        return x + dropped(out, self.rate)
