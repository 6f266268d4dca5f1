"""The GPTs of OpenAI and EleutherAI."""

from __future__ import annotations

from catalogs.huggingface.common import ALL_BIASES, attention, windows
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _gpt2_shape(c: Config) -> Fields:
    hidden, heads = c.number("n_embd"), c.number("n_head")
    return {
        "layers": c.number("n_layer"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // max(heads, 1),
        "ffn": c.optional("n_inner") or 4 * hidden,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": False,
        "norm": "layer",
        "dropout": c.rate("resid_pdrop") > 0,
    }


def _gpt2(c: Config) -> Fields:
    return _gpt2_shape(c) | ALL_BIASES | {"learned_positions": c.number("n_positions")}


def _gpt_bigcode(c: Config) -> Fields:
    return _gpt2(c) | ({"kv_heads": 1} if c.flag("multi_query") else {})


def _gptj(c: Config) -> Fields:
    own = {"mlp_bias": True, "head_bias": True, "norms_per_layer": 1, "parallel_block": True}
    return _gpt2_shape(c) | own


def _gpt_neox(c: Config) -> Fields:
    bias = c.flag("attention_bias")
    return attention(c, kv=False, head_dim=False) | {
        "ffn": c.number("intermediate_size"),
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": True,
        "norm": "layer",
        "parallel_block": c.flag("use_parallel_residual"),
        "dropout": c.rate("hidden_dropout") > 0,
    }


def _gpt_oss(c: Config) -> Fields:
    fields = attention(c)
    bias = c.flag("attention_bias")
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok", "experts_per_token"),
        "ffn": c.number("intermediate_size"),
        "router_bias": True,
        "expert_bias": True,
    }
    own = {"ffn": 0, "moe": moe, "qkv_bias": bias, "o_bias": bias, "sinks": True}
    return fields | own | windows(c, (fields["layers"] + 1) // 2)


TYPES = {
    "gpt2": ModelType(_gpt2, {"n_inner": None, "resid_pdrop": 0.1, "tie_word_embeddings": True}),
    "gpt_bigcode": ModelType(
        _gpt_bigcode, {"n_inner": None, "resid_pdrop": 0.1, "tie_word_embeddings": True, "multi_query": True}
    ),
    "gptj": ModelType(_gptj, {"n_inner": None, "resid_pdrop": 0.0, "tie_word_embeddings": False}),
    "gpt_neox": ModelType(
        _gpt_neox,
        {
            "attention_bias": True,
            "use_parallel_residual": True,
            "tie_word_embeddings": False,
            "hidden_dropout": 0.0,
        },
    ),
    "gpt_oss": ModelType(
        _gpt_oss,
        {
            "head_dim": 64,
            "tie_word_embeddings": False,
            "attention_bias": True,
            "sliding_window": 128,
            "layer_types": None,
        },
    ),
}
