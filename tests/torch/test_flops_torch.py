"""FLOPs against torch's counter, on meta tensors: our blocks and transformers' own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogs import Model
from catalogs.huggingface import read_hf_config
from catalogs.model import Moe
from costmodels.architecture import Architecture
from costmodels.flops import BACKWARD, attention_core_flops, forward_flops

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.torch.blocks import GptBlock, LlamaBlock  # noqa: E402

SEQ, BATCH = 256, 2
TOLERANCE = 0.01

LLAMA = Model(
    name="small-llama", family="test", layers=1, hidden=512, heads=8, kv_heads=2, head_dim=64, ffn=1408, vocab=512,
    gated=True, tied=False, sources={"*": "made up"}, date="2026",
)  # fmt: skip
MIXTURE = LLAMA.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=384, shared_ffn=256)})
GPT = LLAMA.model_copy(update={"gated": False, "kv_heads": 8, "ffn": 2048})


def forward(model: Model, *, head: bool) -> float:
    """Predicted forward FLOPs of a batch, attention over the full square as torch counts it."""
    parts = forward_flops(Architecture.of(model), np.asarray(float(SEQ)), causal=False)
    return SEQ * BATCH * float(sum(value for name, value in parts.items() if head or name != "head"))


def counted(call: Any, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        out = call()
        if backward:
            out.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "training"])
@pytest.mark.parametrize(
    ("model", "kind"), [(LLAMA, LlamaBlock), (MIXTURE, LlamaBlock), (GPT, GptBlock)], ids=["llama", "experts", "gpt"]
)
def test_blocks(model: Model, kind: Any, backward: bool) -> None:
    block = kind(model).to("meta")
    x = torch.empty(SEQ, BATCH, model.hidden, device="meta", requires_grad=True)
    measured = counted(lambda: block(x), backward)
    predicted = forward(model, head=False) * (1.0 + BACKWARD * backward)
    if kind is LlamaBlock and backward:
        # The stand-in for fused attention recomputes its forward pass in the backward pass, as the kernel does.
        core = attention_core_flops(Architecture.of(model), np.asarray(float(SEQ)), causal=False)
        predicted += BATCH * float(core)
    assert predicted == pytest.approx(measured, rel=TOLERANCE)


COMMON = {"vocab_size": 1024, "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 8}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", COMMON | {"num_key_value_heads": 2, "intermediate_size": 704}),
    "gpt2": ("GPT2", {"vocab_size": 1024, "n_embd": 256, "n_layer": 2, "n_head": 8, "n_positions": SEQ}),
    "qwen3": ("Qwen3", COMMON | {"num_key_value_heads": 4, "intermediate_size": 704, "head_dim": 64}),
    "mixtral": (
        "Mixtral",
        COMMON | {"num_key_value_heads": 2, "intermediate_size": 704, "num_local_experts": 8, "sliding_window": None},
    ),
    "deepseek-v3": (
        "DeepseekV3",
        COMMON
        | {"num_key_value_heads": 8, "intermediate_size": 704, "first_k_dense_replace": 1, "moe_intermediate_size": 128}
        | {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1}
        | {"q_lora_rank": 96, "kv_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32},
    ),
}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "training"])
@pytest.mark.parametrize("name", CONFIGS)
def test_transformers(name: str, backward: bool, tmp_path: Path) -> None:
    kind, options = CONFIGS[name]
    config = getattr(transformers, f"{kind}Config")(**options, attn_implementation="eager", use_cache=False)
    config.save_pretrained(tmp_path)
    model = read_hf_config(tmp_path / "config.json")
    config._experts_implementation = "batched_mm"  # needs no values to know its shapes
    with torch.device("meta"):
        network = transformers.AutoModelForCausalLM.from_config(config)
        tokens = torch.zeros(BATCH, SEQ, dtype=torch.long)
        mask, positions = torch.zeros(BATCH, 1, SEQ, SEQ), torch.zeros_like(tokens)
        call = {"attention_mask": mask, "position_ids": positions}  # given, so that no value is looked at
        measured = counted(lambda: network(tokens, **call).logits, backward)
    assert forward(model, head=True) * (1.0 + BACKWARD * backward) == pytest.approx(measured, rel=TOLERANCE)
