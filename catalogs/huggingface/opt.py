"""OPT."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _opt(c: Config) -> Fields:
    fields = attention(c, kv=False, head_dim=False)
    if c.optional("word_embed_proj_dim") not in (None, fields["hidden"]):
        raise c.unsupported("word_embed_proj_dim", "an embedding narrower than the stack is not known")
    if not c.flag("do_layer_norm_before"):
        raise c.unsupported("do_layer_norm_before", "norms after the blocks are not known")
    if not c.flag("layer_norm_elementwise_affine"):
        raise c.unsupported("layer_norm_elementwise_affine", "norms without parameters are not known")
    bias = c.flag("enable_bias")
    return fields | {
        "ffn": c.number("ffn_dim"),
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": bias,
        "norm": "layer",
        "learned_positions": c.number("max_position_embeddings") + 2,
        "dropout": c.rate("dropout") > 0,
    }


TYPES = {
    "opt": ModelType(
        _opt,
        {
            "word_embed_proj_dim": None,
            "do_layer_norm_before": True,
            "enable_bias": True,
            "layer_norm_elementwise_affine": True,
            "tie_word_embeddings": True,
            "dropout": 0.1,
        },
    ),
}
