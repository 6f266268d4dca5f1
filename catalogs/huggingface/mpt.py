"""MPT."""

from __future__ import annotations

from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _mpt(c: Config) -> Fields:
    attention = c.part("attn_config")
    hidden, heads = c.number("d_model"), c.number("n_heads")
    if not attention.flag("alibi"):
        raise attention.unsupported("alibi", "MPT without ALiBi has no modelling code in transformers")
    if not c.flag("no_bias"):
        raise c.unsupported("no_bias", "MPT with biases has no modelling code in transformers")
    return {
        "layers": c.number("n_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // max(heads, 1),
        "ffn": c.number("expansion_ratio") * hidden,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": False,
        "norm": "layer",
        "norm_bias": False,
        "dropout": c.rate("resid_pdrop") > 0,
    }


TYPES = {
    "mpt": ModelType(_mpt, {"expansion_ratio": 4, "tie_word_embeddings": True, "no_bias": True, "resid_pdrop": 0.0}),
}
