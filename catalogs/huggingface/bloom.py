"""BLOOM."""

from __future__ import annotations

from catalogs.huggingface.common import ALL_BIASES
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _bloom(c: Config) -> Fields:
    hidden, heads = c.number("hidden_size", "n_embed"), c.number("n_head", "num_attention_heads")
    return ALL_BIASES | {
        "layers": c.number("n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // max(heads, 1),
        "ffn": 4 * hidden,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": False,
        "norm": "layer",
        "embedding_norm": True,
        "dropout": c.rate("hidden_dropout") > 0,
    }


TYPES = {
    "bloom": ModelType(_bloom, {"tie_word_embeddings": True, "hidden_dropout": 0.0}),
}
