"""GLM and ChatGLM."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.deepseek import deepseek_mixture
from catalogs.huggingface.model_type import ModelType

_GLM: Fields = {"num_key_value_heads": 2, "head_dim": 128, "tie_word_embeddings": False, "attention_bias": True}


def _chatglm(c: Config) -> Fields:
    heads = c.number("num_attention_heads")
    bias = c.flag("add_bias_linear")
    return {
        "layers": c.number("num_layers"),
        "hidden": c.number("hidden_size"),
        "heads": heads,
        "kv_heads": c.number("multi_query_group_num") if c.flag("multi_query_attention") else heads,
        "head_dim": c.number("kv_channels"),
        "ffn": c.number("ffn_hidden_size"),
        "vocab": c.number("padded_vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": True,
        "qkv_bias": bias or c.flag("add_qkv_bias"),
        "o_bias": bias,
        "mlp_bias": bias,
        "norm": "rms" if c.flag("rmsnorm") else "layer",
    }


def _glm(c: Config) -> Fields:
    return attention(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": c.flag("attention_bias")}


def _glm4(c: Config) -> Fields:
    return _glm(c) | {"norms_per_layer": 4}


def _glm4_moe(c: Config) -> Fields:
    moe = deepseek_mixture(c) | {"router_bias": True}
    return attention(c) | {
        "ffn": c.number("intermediate_size") if moe["first_dense_layers"] else 0,
        "moe": moe,
        "qkv_bias": c.flag("attention_bias"),
        "qk_norm": "head" if c.flag("use_qk_norm") else "none",
        "mtp_layers": c.number("num_nextn_predict_layers", "num_mtp_layers"),
    }


TYPES = {
    "chatglm": ModelType(_chatglm, {"tie_word_embeddings": False}),
    "glm": ModelType(_glm, _GLM),
    "glm4": ModelType(_glm4, _GLM),
    "glm4_moe": ModelType(
        _glm4_moe,
        {
            "head_dim": None,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "use_qk_norm": False,
            "num_nextn_predict_layers": 1,
        },
    ),
}
