"""Qwen, dense and with experts."""

from __future__ import annotations

from catalogs.huggingface.common import attention, window_everywhere, windows
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType

_QWEN: Fields = {
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}


def _qwen(c: Config, *, head_dim: bool = False) -> Fields:
    fields = attention(c, head_dim=head_dim)
    layers = fields["layers"]
    if not c.flag("use_sliding_window"):
        return fields
    return fields | windows(c, max(0, layers - c.number("max_window_layers")))


def _qwen2(c: Config) -> Fields:
    return _qwen(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": True}


def _qwen3(c: Config) -> Fields:
    bias = c.flag("attention_bias")
    fields = _qwen(c, head_dim=True)
    return fields | {"ffn": c.number("intermediate_size"), "qkv_bias": bias, "o_bias": bias, "qk_norm": "head"}


def _qwen_mixture(c: Config) -> Fields:
    """The mixture of Qwen2-MoE and Qwen3-MoE, and the dense width where layers are dense."""
    dense = c.items("mlp_only_layers") or []
    every = c.number("decoder_sparse_step")
    if any(layer not in dense for layer in range(len(dense))) or (dense and every > 1):
        raise c.unsupported("mlp_only_layers", "only the first layers can be dense")
    moe = {
        "experts": c.number("num_experts", "num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": c.number("moe_intermediate_size"),
        "first_dense_layers": len(dense),
        "every": every,
    }
    has_dense = bool(dense) or every > 1
    return {"ffn": c.number("intermediate_size") if has_dense else 0, "moe": moe}


def _qwen2_moe(c: Config) -> Fields:
    fields = _qwen(c)
    mixture = _qwen_mixture(c)
    mixture["moe"] |= {"shared_ffn": c.number("shared_expert_intermediate_size"), "shared_gate": True}
    return fields | mixture | {"qkv_bias": c.flag("qkv_bias")}


def _qwen3_moe(c: Config) -> Fields:
    fields = attention(c)
    bias = c.flag("attention_bias")
    window = window_everywhere(c, fields["layers"]) if c.flag("use_sliding_window") else {}
    return fields | window | _qwen_mixture(c) | {"qkv_bias": bias, "o_bias": bias, "qk_norm": "head"}


TYPES = {
    "qwen2": ModelType(_qwen2, _QWEN),
    "qwen2_moe": ModelType(
        _qwen2_moe,
        _QWEN | {"num_key_value_heads": 16, "decoder_sparse_step": 1, "mlp_only_layers": None, "qkv_bias": True},
    ),
    "qwen3": ModelType(_qwen3, _QWEN | {"head_dim": 128, "attention_bias": False}),
    "qwen3_moe": ModelType(
        _qwen3_moe,
        {
            "num_key_value_heads": 4,
            "head_dim": None,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "use_sliding_window": False,
            "sliding_window": 4096,
            "decoder_sparse_step": 1,
            "mlp_only_layers": None,
        },
    ),
}
