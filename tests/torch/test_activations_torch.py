"""Saved-activation bytes against what autograd saves, on blocks small enough for a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from catalogs import Model
from catalogs.model import Moe
from costmodels.activations import (
    SPELLED_GELU_RESULTS,
    attention_activations,
    dense_mlp_activations,
    layer_input_bytes,
    moe_activations,
    norm_input,
)
from costmodels.architecture import Architecture
from costmodels.layout import Shard
from tests.costmodels.bundles import recipe, shard

torch = pytest.importorskip("torch")
from torch.utils.checkpoint import checkpoint  # noqa: E402

from tests.torch.blocks import GptBlock, LlamaBlock  # noqa: E402

SEQ, BATCH = 192, 2
TOLERANCE = 0.05

LLAMA = Model(
    name="small-llama", family="test", layers=1, hidden=256, heads=8, kv_heads=2, head_dim=32, ffn=704, vocab=512,
    gated=True, tied=False, sources={"*": "made up"}, date="2026",
)  # fmt: skip
WIDE_HEADS = LLAMA.model_copy(update={"heads": 4, "kv_heads": 4, "head_dim": 128})
MIXTURE = LLAMA.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=384, shared_ffn=256)})
GPT = Model(
    name="small-gpt", family="test", layers=1, hidden=256, heads=8, kv_heads=8, head_dim=32, ffn=1024, vocab=512,
    gated=False, tied=True, norm="layer", qkv_bias=True, o_bias=True, mlp_bias=True,
    sources={"*": "made up"}, date="2026",
)  # fmt: skip
GPT_DROPOUT = GPT.model_copy(update={"dropout": True})


def saved_bytes(block: Any, call: Callable[[Any], Any] | None = None) -> int:
    """Bytes of distinct storages that autograd keeps from a forward pass, parameters left out."""
    block = block.to(torch.bfloat16)
    own = {p.untyped_storage().data_ptr() for p in block.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own and not _table(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(SEQ, BATCH, 256, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = (call or block)(x)
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    out.sum().backward()  # the fused functions' backward passes must work on what was saved
    assert x.grad is not None
    assert torch.isfinite(x.grad.float()).all()
    return size


def _table(tensor: Any) -> bool:
    """Whether a tensor is a rotary table or a scalar, which all layers share."""
    return (tensor.ndim == 4 and tensor.shape[1:3] == (1, 1)) or tensor.numel() <= 1


def predicted(model: Model, s: Shard, **changes: float) -> float:
    a, r, seq = Architecture.of(model), recipe(**changes), np.asarray(float(SEQ))
    mlp = moe_activations if model.moe else dense_mlp_activations
    return float(attention_activations(a, s, r, seq) + mlp(a, s, r, seq))


HERE = shard(micro_batch=BATCH)


@pytest.mark.parametrize(
    ("model", "fused"), [(LLAMA, True), (LLAMA, False), (WIDE_HEADS, True), (MIXTURE, True)],
    ids=["gqa-swiglu", "gqa-swiglu-unfused", "wide-heads", "experts"],
)  # fmt: skip
def test_llama_block(model: Model, fused: bool) -> None:
    measured = saved_bytes(LlamaBlock(model, fused=fused))
    assert predicted(model, HERE, fused_activation=float(fused)) == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("attention", ["explicit", "recomputed", "flash"])
def test_gpt_block(attention: str, dropout: bool) -> None:
    if attention == "flash" and dropout:
        pytest.skip("fused attention on a CPU has no dropout")
    model = GPT_DROPOUT if dropout else GPT
    measured = saved_bytes(GptBlock(model, attention=attention, dropout=0.1 if dropout else 0.0))
    s = replace(HERE, selective=np.asarray(float(attention == "recomputed")))
    assert predicted(model, s, flash=float(attention == "flash")) == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize(("model", "kind"), [(LLAMA, LlamaBlock), (MIXTURE, LlamaBlock), (GPT, GptBlock)])
def test_full_recomputation_keeps_the_input(model: Model, kind: Any) -> None:
    block = kind(model)
    measured = saved_bytes(block, lambda x: checkpoint(block, x, use_reentrant=True))
    kept = float(layer_input_bytes(Architecture.of(model), HERE, np.asarray(float(SEQ))))
    assert kept == pytest.approx(measured, rel=TOLERANCE)


def test_two_layers_save_twice() -> None:
    both = torch.nn.Sequential(LlamaBlock(LLAMA), LlamaBlock(LLAMA))
    assert 2 * predicted(LLAMA, HERE) == pytest.approx(saved_bytes(both), rel=TOLERANCE)


def test_norm_scaled_in_fp32() -> None:
    """ChatGLM's RMS norm saves its input twice, and its normed values in fp32."""

    class Norm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(256))

        def forward(self, x: Any) -> Any:
            deviation = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
            return (self.weight * (x * deviation)).to(x.dtype)

    a = Architecture.of(LLAMA.model_copy(update={"fp32_norm": True}))
    per_token = float(norm_input(a, recipe(norm_bytes=4.0)))
    assert per_token * SEQ * BATCH == pytest.approx(saved_bytes(Norm()), rel=TOLERANCE)


def test_gelu_in_single_operations() -> None:
    """Its tanh approximation saves three results more than GELU itself."""

    def spelled(x: Any) -> Any:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))

    def gated(activation: Callable[[Any], Any]) -> Any:
        def forward(x: Any) -> Any:
            gate, up = x.chunk(2, dim=-1)
            return activation(gate) * up

        return forward

    identity = torch.nn.Identity()
    more = saved_bytes(identity, gated(spelled)) - saved_bytes(identity, gated(torch.nn.functional.gelu))
    elements = SEQ * BATCH * 128
    assert more == SPELLED_GELU_RESULTS * 2 * elements
