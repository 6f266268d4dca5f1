"""DBRX."""

from __future__ import annotations

from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _dbrx(c: Config) -> Fields:
    attention, ffn = c.part("attn_config"), c.part("ffn_config")
    hidden, heads = c.number("d_model"), c.number("n_heads")
    moe = {
        "experts": ffn.number("moe_num_experts"),
        "topk": ffn.number("moe_top_k"),
        "ffn": ffn.number("ffn_hidden_size"),
    }
    return {
        "layers": c.number("n_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": attention.number("kv_n_heads"),
        "head_dim": hidden // max(heads, 1),
        "ffn": 0,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": True,
        "norm": "layer",
        "norm_bias": False,
        "moe": moe,
        "dropout": c.rate("resid_pdrop") > 0,
    }


TYPES = {
    "dbrx": ModelType(_dbrx, {"tie_word_embeddings": False, "resid_pdrop": 0.0}),
}
