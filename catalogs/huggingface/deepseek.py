"""DeepSeek and Kimi: latent attention, and experts beside shared ones."""

from __future__ import annotations

from catalogs.huggingface.common import attention
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType

_DEEPSEEK: Fields = {"tie_word_embeddings": False, "attention_bias": False, "moe_layer_freq": 1}
_DEEPSEEK_V3: Fields = _DEEPSEEK | {"num_nextn_predict_layers": 1}


def _latent(c: Config) -> Fields:
    """The latent attention of DeepSeek."""
    if c.flag("attention_bias"):
        raise c.unsupported("attention_bias", "latent attention with biases is not known")
    mla = {
        "q_lora": c.optional("q_lora_rank") or 0,
        "kv_lora": c.number("kv_lora_rank"),
        "rope_head_dim": c.number("qk_rope_head_dim"),
        "nope_head_dim": c.number("qk_nope_head_dim"),
        "v_head_dim": c.number("v_head_dim"),
    }
    fields = attention(c, kv=False, head_dim=False)
    return fields | {"mla": mla, "head_dim": mla["rope_head_dim"] + mla["nope_head_dim"]}


def deepseek_mixture(c: Config) -> Fields:
    """Experts by the names of DeepSeek, which others use too."""
    width = c.number("moe_intermediate_size")
    return {
        "experts": c.number("n_routed_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": width,
        "shared_ffn": width * (c.optional("n_shared_experts") or 0),
        "first_dense_layers": c.number("first_k_dense_replace"),
    }


def _deepseek_v2(c: Config) -> Fields:
    if c.number("moe_layer_freq") != 1:
        raise c.unsupported("moe_layer_freq", "every layer after the dense ones must have experts")
    moe = deepseek_mixture(c)
    return _latent(c) | {"ffn": c.number("intermediate_size") if moe["first_dense_layers"] else 0, "moe": moe}


def _deepseek_v3(c: Config) -> Fields:
    fields = _deepseek_v2(c)
    fields["moe"]["router_bias"] = True
    return fields | {"mtp_layers": c.number("num_nextn_predict_layers", "num_mtp_layers")}


TYPES = {
    "deepseek_v2": ModelType(_deepseek_v2, _DEEPSEEK),
    "deepseek_v3": ModelType(_deepseek_v3, _DEEPSEEK_V3),
    "kimi_k2": ModelType(_deepseek_v3, _DEEPSEEK_V3),
}
