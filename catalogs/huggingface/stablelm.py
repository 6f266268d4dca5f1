"""StableLM."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _stablelm(c: Config) -> Fields:
    if c.flag("qk_layernorm"):
        raise c.unsupported("qk_layernorm", "a query and key norm of its own for every head is not known")
    parallel = c.flag("use_parallel_residual")
    return attention(c, head_dim=False) | {
        "ffn": c.number("intermediate_size"),
        "qkv_bias": c.flag("use_qkv_bias"),
        "norm": "layer",
        "norms_per_layer": 1 if parallel else 2,
        "parallel_block": parallel,
        "dropout": c.rate("hidden_dropout") > 0,
    }


TYPES = {
    "stablelm": ModelType(
        _stablelm,
        {
            "num_key_value_heads": 32,
            "tie_word_embeddings": False,
            "use_qkv_bias": False,
            "qk_layernorm": False,
            "use_parallel_residual": False,
            "hidden_dropout": 0.0,
        },
    ),
}
