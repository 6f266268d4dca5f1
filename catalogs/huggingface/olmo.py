"""OLMo."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def olmo2(c: Config) -> Fields:
    """OLMo 2, whose names Command has too."""
    bias = c.flag("attention_bias")
    fields = attention(c, head_dim=False)
    return fields | {"ffn": c.number("intermediate_size"), "qkv_bias": bias, "o_bias": bias, "qk_norm": "full"}


TYPES = {
    "olmo2": ModelType(olmo2, {"num_key_value_heads": None, "tie_word_embeddings": False, "attention_bias": False}),
}
