"""Baichuan."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _baichuan(c: Config) -> Fields:
    # Its 13B rotates nothing and so needs no table of positions; its 7B has one.
    fields = {"ffn": c.number("intermediate_size"), "square_alibi": "max_position_embeddings" not in c.fields}
    return attention(c, kv=False, head_dim=False) | fields


TYPES = {
    "baichuan": ModelType(_baichuan, {"tie_word_embeddings": False}),
}
