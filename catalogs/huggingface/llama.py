"""Llama, and Nemotron, which has its names with a plain MLP and layer norms."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType

_LLAMA: Fields = {
    "num_key_value_heads": None,
    "head_dim": None,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}


def _llama(c: Config) -> Fields:
    bias = c.flag("attention_bias")
    return attention(c) | {
        "ffn": c.number("intermediate_size"),
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": c.flag("mlp_bias"),
    }


def _nemotron(c: Config) -> Fields:
    return _llama(c) | {"gated": False, "norm": "layer"}


def _llama4(c: Config) -> Fields:
    fields = attention(c)
    layers, every, bias = fields["layers"], c.number("interleave_moe_layer_step"), c.flag("attention_bias")
    width = c.number("intermediate_size")
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": width,
        "shared_ffn": width,
        "every": every,
    }
    rotary = c.items("no_rope_layers")  # 1 where the layer is rotary and attends within a chunk
    chunk = c.optional("attention_chunk_size") or 0
    chunked = sum(map(bool, rotary)) if rotary else layers - layers // max(1, c.number("no_rope_layer_interval"))
    return fields | {
        "ffn": c.number("intermediate_size_mlp"),
        "moe": moe,
        "qkv_bias": bias,
        "o_bias": bias,
        "window": chunk if chunked else 0,
        "window_layers": chunked if chunk else 0,
    }


TYPES = {
    "llama": ModelType(_llama, _LLAMA),
    "nemotron": ModelType(_nemotron, _LLAMA),
    "llama4_text": ModelType(
        _llama4,
        {
            "head_dim": 128,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "interleave_moe_layer_step": 1,
            "attention_chunk_size": 8192,
            "no_rope_layers": None,
            "no_rope_layer_interval": 4,
        },
    ),
}
