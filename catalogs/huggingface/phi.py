"""Phi."""

from __future__ import annotations

from catalogs.huggingface.common import ALL_BIASES, attention, window_everywhere
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _phi(c: Config) -> Fields:
    if c.flag("qk_layernorm"):
        raise c.unsupported("qk_layernorm", "query and key norms with biases are not known")
    return (
        attention(c, head_dim=False)
        | ALL_BIASES
        | {
            "ffn": c.number("intermediate_size"),
            "gated": False,
            "head_bias": True,
            "norm": "layer",
            "norms_per_layer": 1,
            "parallel_block": True,
            "dropout": c.rate("resid_pdrop") > 0,
        }
    )


def _phi3(c: Config) -> Fields:
    fields = attention(c, head_dim=False)
    own = {"ffn": c.number("intermediate_size"), "dropout": c.rate("resid_pdrop") > 0}
    return fields | own | window_everywhere(c, fields["layers"])


TYPES = {
    "phi": ModelType(
        _phi, {"num_key_value_heads": None, "tie_word_embeddings": False, "qk_layernorm": False, "resid_pdrop": 0.0}
    ),
    "phi3": ModelType(
        _phi3, {"num_key_value_heads": None, "tie_word_embeddings": False, "sliding_window": None, "resid_pdrop": 0.0}
    ),
}
