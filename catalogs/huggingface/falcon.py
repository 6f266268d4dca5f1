"""Falcon."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _falcon(c: Config) -> Fields:
    fields = attention(c, kv=False, head_dim=False)
    new, parallel, bias = c.flag("new_decoder_architecture"), c.flag("parallel_attn"), c.flag("bias")
    norms = 2 if new and c.optional("num_ln_in_parallel_attn") != 1 else 1 if new or parallel else 2
    shared = c.optional("num_kv_heads") if new else int(c.flag("multi_query"))
    return fields | {
        "kv_heads": shared or fields["heads"],
        "ffn": c.optional("ffn_hidden_size") or 4 * fields["hidden"],
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": bias,
        "norm": "layer",
        "norms_per_layer": norms,
        "parallel_block": new or parallel,
        "dropout": c.rate("hidden_dropout") > 0,
    }


TYPES = {
    "falcon": ModelType(
        _falcon,
        {
            "num_kv_heads": None,
            "ffn_hidden_size": None,
            "num_ln_in_parallel_attn": None,
            "tie_word_embeddings": True,
            "bias": False,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "hidden_dropout": 0.0,
        },
    ),
}
