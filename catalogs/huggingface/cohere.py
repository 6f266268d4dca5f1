"""Command of Cohere."""

from __future__ import annotations

from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType
from catalogs.huggingface.olmo import olmo2


def _cohere(c: Config) -> Fields:
    return olmo2(c) | {
        "norm": "layer",
        "norm_bias": False,
        "norms_per_layer": 1,
        "parallel_block": True,
        "qk_norm": "full" if c.flag("use_qk_norm") else "none",
    }


TYPES = {
    "cohere": ModelType(
        _cohere,
        {
            "num_key_value_heads": None,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "use_qk_norm": False,
        },
    ),
}
