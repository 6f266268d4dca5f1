"""LoRA on a small Llama in torch: trainable parameters, gradient and optimizer bytes, saved activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from costmodels.adapters import MODULES, Adapters, adapter_activations, layer_adapter_params
from costmodels.architecture import Architecture
from costmodels.layout import Shard
from tests.costmodels.bundles import recipe, shard

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.torch.blocks import LlamaBlock  # noqa: E402
from tests.torch.test_activations_torch import LLAMA, SEQ, WIDE_HEADS, saved_bytes  # noqa: E402

NAMES = [("q", "v"), ("q", "k", "v", "o"), ("gate", "up", "down"), MODULES, ("o",), ("down",), ("up",)]


class LoraLinear(nn.Module):
    """A frozen linear layer with a trained adapter, as peft computes it without dropout."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: Any) -> Any:
        return self.base(x) + self.up(self.down(x))


def adapted(block: Any, names: tuple[str, ...], rank: int) -> Any:
    """The block with all weights frozen and adapters on the named matrices."""
    for parameter in block.parameters():
        parameter.requires_grad_(False)
    found = {name.rpartition(".")[2]: (name, module) for name, module in block.named_modules()}
    for name in names:
        path, module = found[name]
        parent = block.get_submodule(path.rpartition(".")[0])
        setattr(parent, path.rpartition(".")[2], LoraLinear(module, rank))
    return block


def adapters(names: tuple[str, ...], rank: int) -> Adapters:
    return Adapters.from_values(rank=rank, **{name: float(name in names) for name in MODULES})


@pytest.mark.parametrize("model", [LLAMA, WIDE_HEADS], ids=lambda model: f"{model.heads}-heads")
@pytest.mark.parametrize("names", NAMES, ids="-".join)
@pytest.mark.parametrize("rank", [4, 16])
def test_lora_on_chosen_modules(model: Any, names: tuple[str, ...], rank: int) -> None:
    block = adapted(LlamaBlock(model), names, rank)
    trained = [p for p in block.parameters() if p.requires_grad]
    a, chosen = Architecture.of(model), adapters(names, rank)
    expected = float(layer_adapter_params(a, chosen, np.ones(())))
    assert sum(p.numel() for p in trained) == expected
    s: Shard = shard(micro_batch=2)
    measured = saved_bytes(block)
    predicted = float(adapter_activations(a, chosen, s, recipe(), np.asarray(float(SEQ))))
    assert predicted == pytest.approx(measured, rel=0.05)
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
