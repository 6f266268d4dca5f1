"""Gemma."""

from __future__ import annotations

from catalogs.huggingface.common import attention, windows
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType

_GEMMA: Fields = {"head_dim": 256, "tie_word_embeddings": True, "attention_bias": False}


def _gemma(c: Config) -> Fields:
    bias = c.flag("attention_bias")
    return attention(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": bias, "o_bias": bias}


def _gemma2(c: Config) -> Fields:
    fields = _gemma(c) | {"norms_per_layer": 4, "tanh_gelu": c.value("hidden_activation") == "gelu_pytorch_tanh"}
    fields |= {"logit_softcap": c.value("final_logit_softcapping") is not None}
    return fields | windows(c, (fields["layers"] + 1) // 2)


def _gemma3(c: Config) -> Fields:
    tanh_gelu = c.value("hidden_activation") == "gelu_pytorch_tanh"
    fields = _gemma(c) | {"norms_per_layer": 4, "qk_norm": "head", "tanh_gelu": tanh_gelu}
    layers = fields["layers"]
    return fields | windows(c, layers - layers // max(1, c.number("sliding_window_pattern")))


TYPES = {
    "gemma": ModelType(_gemma, _GEMMA),
    "gemma2": ModelType(
        _gemma2,
        _GEMMA
        | {
            "sliding_window": 4096,
            "layer_types": None,
            "hidden_activation": "gelu_pytorch_tanh",
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3_text": ModelType(
        _gemma3,
        _GEMMA
        | {
            "hidden_activation": "gelu_pytorch_tanh",
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 262208,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "layer_types": None,
        },
    ),
}
