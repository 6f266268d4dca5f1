"""LoRA, QLoRA and DPO on small Llamas in torch: parameters, bytes of weights, gradients and states, FLOPs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from costmodels.activations import attention_activations, dense_mlp_activations
from costmodels.adapters import (
    MODULES,
    NF4_BYTES,
    Adapters,
    Tuning,
    dense_adapter_activations,
    expanded_bytes,
    expert_adapter_params,
    frozen_weight_bytes,
    layer_adapter_params,
    moe_adapter_activations,
    moe_adapter_params,
    quantised_params,
    tuning_flops_per_token,
)
from costmodels.architecture import Architecture
from costmodels.flops import attention_core_flops
from costmodels.layout import Shard
from costmodels.parameters import total_params
from tests.costmodels.bundles import recipe, shard

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.torch.blocks import LlamaBlock  # noqa: E402
from tests.torch.test_activations_torch import BATCH, LLAMA, MIXTURE, SEQ, WIDE_HEADS, saved_bytes  # noqa: E402

NAMES = [("q", "v"), ("q", "k", "v", "o"), ("gate", "up", "down"), MODULES, ("o",), ("down",), ("up",)]
ONE = np.ones(())
TOLERANCE = 0.05


class LoraLinear(nn.Module):
    """A frozen linear layer with a trained adapter, as peft computes it without dropout."""

    def __init__(self, base: Any, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.on = True

    def forward(self, x: Any) -> Any:
        return self.base(x) + self.up(self.down(x)) if self.on else self.base(x)


class FourBitProduct(torch.autograd.Function):
    """A product with a four-bit weight: expanded in both passes, kept in neither (bitsandbytes MatMul4Bit)."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: FourBitWeight) -> Any:
        ctx.weight = weight
        return functional.linear(x, weight.expanded())

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, None]:
        return grad @ ctx.weight.expanded(), None


def normal_float_codes() -> Any:
    """The sixteen values of NF4: quantiles of a normal distribution, zero among them, scaled to [-1, 1]."""
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = 0.9677083
    positive = normal.icdf(torch.linspace(offset, 0.5, 9)[:-1])
    negative = -normal.icdf(torch.linspace(offset, 0.5, 8)[:-1])
    return torch.cat([positive, torch.zeros(1), negative]).sort().values / positive.max()


class FourBitWeight:
    """A weight in NF4 with double quantisation: 4-bit codes, an 8-bit constant per 64, an fp32 one per 256 of those."""

    def __init__(self, weight: Any) -> None:
        self.shape, self.codes = weight.shape, normal_float_codes()
        blocks = weight.detach().float().reshape(-1, 64)
        constants = blocks.abs().amax(1)
        near = (blocks / constants[:, None])[:, :, None] - self.codes
        chosen = near.abs().argmin(-1).to(torch.uint8).reshape(-1, 2)
        self.packed = chosen[:, 0] * 16 + chosen[:, 1]
        self.mean = constants.mean()
        padded = functional.pad(constants - self.mean, (0, -len(constants) % 256)).reshape(-1, 256)
        self.scales = padded.abs().amax(1)
        self.constants = (padded / self.scales[:, None] * 127).round().to(torch.int8).reshape(-1)[: len(constants)]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (self.packed, self.constants, self.scales))

    def expanded(self) -> Any:
        chosen = torch.stack([self.packed // 16, self.packed % 16], 1).reshape(-1, 64).long()
        scales = self.scales.repeat_interleave(256)[: len(self.constants)]
        constants = self.constants.float() / 127 * scales + self.mean
        return (self.codes[chosen] * constants[:, None]).reshape(self.shape).to(torch.bfloat16)


class FourBitLinear(nn.Module):
    """A frozen linear layer whose weight is four-bit."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = FourBitWeight(base.weight)

    def forward(self, x: Any) -> Any:
        return FourBitProduct.apply(x, self.weight)


def linears(block: Any, names: tuple[str, ...]) -> list[tuple[Any, str, Any]]:
    """Parents, names and linear layers of the matrices with these names, in all experts."""
    every = [(path.rpartition("."), module) for path, module in block.named_modules()]
    return [(block.get_submodule(path[0]), path[2], module) for path, module in every if path[2] in names]


def adapted(block: Any, names: tuple[str, ...], rank: int, *, four_bit: bool = False) -> Any:
    """The block with all weights frozen, four-bit if wanted, and adapters on the named matrices."""
    for parameter in block.parameters():
        parameter.requires_grad_(False)
    if four_bit:
        for parent, name, module in linears(block, MODULES):
            setattr(parent, name, FourBitLinear(module))
    for parent, name, module in linears(block, names):
        setattr(parent, name, LoraLinear(module, rank))
    return block


def tuning(names: tuple[str, ...], rank: int, **more: float) -> Tuning:
    return Tuning.of(Adapters.from_values(rank=rank, **{name: float(name in names) for name in MODULES}), **more)


@pytest.mark.parametrize("model", [LLAMA, WIDE_HEADS], ids=lambda model: f"{model.heads}-heads")
@pytest.mark.parametrize("names", NAMES, ids="-".join)
@pytest.mark.parametrize("rank", [4, 16])
def test_lora_on_chosen_modules(model: Any, names: tuple[str, ...], rank: int) -> None:
    block = adapted(LlamaBlock(model), names, rank)
    trained = [p for p in block.parameters() if p.requires_grad]
    a, chosen = Architecture.of(model), tuning(names, rank)
    expected = float(layer_adapter_params(a, chosen.adapters, ONE))
    assert sum(p.numel() for p in trained) == expected
    s: Shard = shard(micro_batch=BATCH)
    measured = saved_bytes(block)
    predicted = float(dense_adapter_activations(a, chosen, s, recipe(), np.asarray(float(SEQ))))
    assert predicted == pytest.approx(measured, rel=TOLERANCE)
    # Gradients exist for adapters alone, and the optimizer keeps two fp32 moments of each.
    assert all(p.grad is None for p in block.parameters() if not p.requires_grad)
    assert sum(p.grad.nbytes for p in trained) == 2 * expected
    copies = [p.detach().float().requires_grad_() for p in trained]
    for copy, p in zip(copies, trained, strict=True):
        copy.grad = p.grad.float()
    optimizer = torch.optim.AdamW(copies)
    optimizer.step()
    moments = sum(t.nbytes for state in optimizer.state.values() for t in state.values() if t.ndim)
    assert moments == 8 * expected


@pytest.mark.parametrize("names", [("q", "k", "v", "o"), MODULES, ("down",)], ids="-".join)
def test_lora_on_experts(names: tuple[str, ...]) -> None:
    block = adapted(LlamaBlock(MIXTURE), names, 8)
    a, chosen, s = Architecture.of(MIXTURE), tuning(names, 8), shard(micro_batch=BATCH)
    expected = moe_adapter_params(a, chosen.adapters, ONE) + expert_adapter_params(a, chosen.adapters, s)
    assert sum(p.numel() for p in block.parameters() if p.requires_grad) == float(expected)
    predicted = float(moe_adapter_activations(a, chosen, s, recipe(), np.asarray(float(SEQ))))
    assert predicted == pytest.approx(saved_bytes(block), rel=TOLERANCE)


@pytest.mark.parametrize("names", [("q", "v"), MODULES], ids="-".join)
def test_qlora(names: tuple[str, ...]) -> None:
    """Weights, saved activations and the expanded matrix of QLoRA, by a quantiser written from its paper."""
    plain = LlamaBlock(LLAMA).to(torch.bfloat16)
    before = [module.weight.detach().float() for _, _, module in linears(plain, MODULES)]
    block = adapted(plain, names, 16, four_bit=True)
    quantised = [m for m in block.modules() if isinstance(m, FourBitLinear)]
    assert len(quantised) == 7
    a, chosen, s = Architecture.of(LLAMA), tuning(names, 16, quantised=1.0), shard(micro_batch=BATCH)
    # The block, an embedding and a head in half precision beside it: a whole small model.
    ends = nn.ModuleList([nn.Embedding(LLAMA.vocab, LLAMA.hidden), nn.Linear(LLAMA.hidden, LLAMA.vocab, bias=False)])
    half = [*ends.parameters(), *block.norms.parameters(), torch.empty(LLAMA.hidden)]
    measured = sum(m.weight.nbytes for m in quantised) + sum(2 * p.numel() for p in half)
    matrices = quantised_params(a, s, a.layers, np.zeros(()))
    assert float(matrices) == sum(m.in_features * m.out_features for m in quantised)
    predicted = frozen_weight_bytes(total_params(a), matrices, chosen.quantised, np.zeros(()))
    assert float(predicted) == pytest.approx(measured, rel=TOLERANCE)
    in_four_bits = sum(m.weight.nbytes for m in quantised)
    assert NF4_BYTES * float(matrices) == pytest.approx(in_four_bits, rel=0.01)
    saved = float(dense_adapter_activations(a, chosen, s, recipe(), np.asarray(float(SEQ))))
    assert saved == pytest.approx(saved_bytes(block), rel=TOLERANCE)
    largest = max(m.weight.expanded().nbytes for m in quantised)
    assert float(expanded_bytes(a, chosen, s)) == largest
    # The quantiser is a real one: weights come back within what four bits can hold.
    for weight, module in zip(before, quantised, strict=True):
        error = (module.weight.expanded().float() - weight).norm() / weight.norm()
        assert 0.01 < error < 0.12


def test_whole_qlora_memory() -> None:
    """Everything a rank holds, weights to activations, within a twentieth of what torch holds."""
    block = adapted(LlamaBlock(LLAMA).to(torch.bfloat16), MODULES, 16, four_bit=True)
    trained = [p for p in block.parameters() if p.requires_grad]
    activations = saved_bytes(block)
    held = sum(m.weight.nbytes for m in block.modules() if isinstance(m, FourBitLinear))
    held += sum(2 * p.numel() for p in block.norms.parameters())
    held += sum(p.nbytes + p.grad.nbytes + 12 * p.numel() for p in trained)  # with fp32 master copy and two moments
    a, chosen, s = Architecture.of(LLAMA), tuning(MODULES, 16, quantised=1.0), shard(micro_batch=BATCH)
    adapters = layer_adapter_params(a, chosen.adapters, ONE)
    params = total_params(a) - 2.0 * a.hidden * a.vocab - a.hidden
    frozen = frozen_weight_bytes(params, quantised_params(a, s, a.layers, np.zeros(())), ONE, np.zeros(()))
    kept = dense_adapter_activations(a, chosen, s, recipe(), np.asarray(float(SEQ)))
    assert float(frozen + 16.0 * adapters + kept) == pytest.approx(held + activations, rel=TOLERANCE)


def test_frozen_inputs_are_not_kept() -> None:
    a, s, r, seq = Architecture.of(LLAMA), shard(micro_batch=BATCH), recipe(), np.asarray(float(SEQ))
    whole = float(attention_activations(a, s, r, seq) + dense_mlp_activations(a, s, r, seq))
    assert float(dense_adapter_activations(a, tuning(("o",), 4), s, r, seq)) < 0.8 * whole


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("reference", ["none", "beside", "precomputed"])
def test_flops_of_pairs(method: str, reference: str) -> None:
    """Direct preference optimisation, counted by torch: both answers through the policy, and through the reference."""
    names, rank = MODULES, 16
    policy = LlamaBlock(LLAMA)
    if method == "lora":
        adapted(policy, names, rank)
    frozen = policy if method == "lora" else LlamaBlock(LLAMA)  # without adapters the policy is the reference
    policy, frozen = policy.to("meta"), frozen.to("meta")
    answers = [torch.empty(SEQ, 1, LLAMA.hidden, device="meta", requires_grad=True) for _ in ("chosen", "rejected")]
    pair = torch.cat(answers, dim=1)

    def switch(on: bool) -> None:
        for module in policy.modules():
            if isinstance(module, LoraLinear):
                module.on = on

    with FlopCounterMode(display=False) as counter:
        if reference == "beside":
            switch(False)
            with torch.no_grad():
                frozen(pair)
            switch(True)
        policy(pair).sum().backward()
    a, seq = Architecture.of(LLAMA), np.asarray(float(SEQ))
    chosen = Tuning.whole() if method == "full" else tuning(names, rank)
    beside = float(reference == "beside")
    chosen = Tuning.of(chosen.adapters, frozen=float(chosen.frozen), reference=beside)
    per_token = float(tuning_flops_per_token(a, chosen, seq, causal=False))
    heads = (3.0 - float(chosen.frozen) + beside) * 2.0 * LLAMA.hidden * LLAMA.vocab  # the block has no head
    # The stand-in for fused attention recomputes its forward pass in the backward pass, as the kernel does.
    again = 2.0 * float(attention_core_flops(a, seq, causal=False))
    predicted = 2.0 * SEQ * (per_token - heads) + again
    assert predicted == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_bytes_of_four_bits() -> None:
    """An odd size: what the constants of the last blocks add is the only difference."""
    weight = FourBitWeight(torch.randn(64 * 300, 8))
    count = math.prod(weight.shape)
    assert weight.nbytes == pytest.approx(NF4_BYTES * count, rel=1e-3)
