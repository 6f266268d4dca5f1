"""Mistral and Mixtral."""

from __future__ import annotations

from catalogs.huggingface.common import attention, window_everywhere
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType

_MISTRAL: Fields = {"num_key_value_heads": 8, "head_dim": None, "tie_word_embeddings": False}


def _mistral(c: Config) -> Fields:
    fields = attention(c)
    return fields | {"ffn": c.number("intermediate_size")} | window_everywhere(c, fields["layers"])


def _mixtral(c: Config) -> Fields:
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": c.number("intermediate_size"),
    }
    fields = attention(c)
    return fields | {"ffn": 0, "moe": moe} | window_everywhere(c, fields["layers"])


TYPES = {
    "mistral": ModelType(_mistral, _MISTRAL | {"sliding_window": 4096}),
    "mixtral": ModelType(_mixtral, _MISTRAL | {"sliding_window": None}),
}
