"""Hugging Face ``config.json`` to :class:`~catalogs.model.Model`.

A field that the file lacks takes the default that transformers itself has for that ``model_type``
(:data:`DEFAULTS`, checked against the library in the tests) or is reported as missing; nothing else is assumed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from catalogs.errors import DataFileError
from catalogs.loading import read_text
from catalogs.model import Model

Fields = dict[str, Any]

_LLAMA: Fields = {
    "num_key_value_heads": None,
    "head_dim": None,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}
_MISTRAL: Fields = {"num_key_value_heads": 8, "head_dim": None, "tie_word_embeddings": False}
_QWEN: Fields = {
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
_DEEPSEEK: Fields = {"tie_word_embeddings": False, "attention_bias": False, "moe_layer_freq": 1}
_DEEPSEEK_V3: Fields = _DEEPSEEK | {"num_nextn_predict_layers": 1}
_GEMMA: Fields = {"head_dim": 256, "tie_word_embeddings": True, "attention_bias": False}
_GLM: Fields = {"num_key_value_heads": 2, "head_dim": 128, "tie_word_embeddings": False, "attention_bias": True}

DEFAULTS: dict[str, Fields] = {
    "baichuan": {"tie_word_embeddings": False},
    "bloom": {"tie_word_embeddings": True, "hidden_dropout": 0.0},
    "chatglm": {"tie_word_embeddings": False},
    "cohere": {
        "num_key_value_heads": None,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "use_qk_norm": False,
    },
    "dbrx": {"tie_word_embeddings": False, "resid_pdrop": 0.0},
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK_V3,
    "falcon": {
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
    "gemma": _GEMMA,
    "gemma2": _GEMMA
    | {
        "sliding_window": 4096,
        "layer_types": None,
        "hidden_activation": "gelu_pytorch_tanh",
        "final_logit_softcapping": 30.0,
    },
    "gemma3_text": _GEMMA
    | {
        "hidden_activation": "gelu_pytorch_tanh",
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "layer_types": None,
    },
    "glm": _GLM,
    "glm4": _GLM,
    "glm4_moe": {
        "head_dim": None,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "use_qk_norm": False,
        "num_nextn_predict_layers": 1,
    },
    "gpt2": {"n_inner": None, "resid_pdrop": 0.1, "tie_word_embeddings": True},
    "gpt_neox": {
        "attention_bias": True,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
        "hidden_dropout": 0.0,
    },
    "gpt_oss": {
        "head_dim": 64,
        "tie_word_embeddings": False,
        "attention_bias": True,
        "sliding_window": 128,
        "layer_types": None,
    },
    "gptj": {"n_inner": None, "resid_pdrop": 0.0, "tie_word_embeddings": False},
    "kimi_k2": _DEEPSEEK_V3,
    "llama": _LLAMA,
    "llama4_text": {
        "head_dim": 128,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "interleave_moe_layer_step": 1,
        "attention_chunk_size": 8192,
        "no_rope_layers": None,
        "no_rope_layer_interval": 4,
    },
    "mistral": _MISTRAL | {"sliding_window": 4096},
    "mixtral": _MISTRAL | {"sliding_window": None},
    "mpt": {"expansion_ratio": 4, "tie_word_embeddings": True, "no_bias": True, "resid_pdrop": 0.0},
    "nemotron": _LLAMA,
    "olmo2": {"num_key_value_heads": None, "tie_word_embeddings": False, "attention_bias": False},
    "opt": {
        "word_embed_proj_dim": None,
        "do_layer_norm_before": True,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "dropout": 0.1,
    },
    "phi": {"num_key_value_heads": None, "tie_word_embeddings": False, "qk_layernorm": False, "resid_pdrop": 0.0},
    "phi3": {"num_key_value_heads": None, "tie_word_embeddings": False, "sliding_window": None, "resid_pdrop": 0.0},
    "qwen2": _QWEN,
    "qwen2_moe": _QWEN
    | {"num_key_value_heads": 16, "decoder_sparse_step": 1, "mlp_only_layers": None, "qkv_bias": True},
    "qwen3": _QWEN | {"head_dim": 128, "attention_bias": False},
    "qwen3_moe": {
        "num_key_value_heads": 4,
        "head_dim": None,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "decoder_sparse_step": 1,
        "mlp_only_layers": None,
    },
    "starcoder2": {
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "sliding_window": None,
        "use_bias": True,
        "residual_dropout": 0.0,
    },
}
"""``model_type`` to what a missing field of its ``config.json`` means, as transformers defines it.

``None`` is transformers' own null: as many key/value heads as heads, ``hidden_size / num_attention_heads`` per head,
no window, an MLP of four times the hidden width."""

_WRAPPERS = {"gemma3": "gemma3_text", "llama4": "llama4_text", "mistral3": "mistral"}
"""Multimodal types whose ``text_config`` is read, to the type of that part."""

LARGEST = 2**40
"""No count or width of a model is above this."""


class _Config:
    """The fields of one file, each with a complaint that names file and field."""

    def __init__(self, path: Path, fields: Fields, model_type: str, inside: str = "") -> None:
        self.path, self.fields, self.model_type, self.inside = path, fields, model_type, inside

    def value(self, *keys: str) -> Any:
        """The first of ``keys`` that the file has, or transformers' default."""
        for source in (self.fields, DEFAULTS[self.model_type]):
            for key in keys:
                if key in source:
                    return source[key]
        names = " or ".join(repr(self.inside + key) for key in keys)
        raise DataFileError(
            f"{self.path}: model_type {self.model_type!r} needs the field {names}; "
            "add it with its value from the model's published config.json"
        )

    def optional(self, *keys: str) -> int | None:
        """A whole number from 0, or null."""
        value = self.value(*keys)
        if value is None:
            return None
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not 0 <= value <= LARGEST:
            raise DataFileError(
                f"{self.path}: field {self.inside + keys[0]!r} is {value!r}; it must be a whole number from 0 to 2**40"
            )
        return int(value)

    def number(self, *keys: str) -> int:
        """A whole number from 0."""
        value = self.optional(*keys)
        if value is None:
            raise DataFileError(f"{self.path}: field {self.inside + keys[0]!r} is null; it must be a whole number")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value(key)
        if not isinstance(value, bool):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be true or false")
        return value

    def rate(self, key: str) -> float:
        """A number from 0 to 1."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be from 0 to 1")
        return float(value)

    def items(self, key: str) -> list[Any] | None:
        """A list, or null."""
        value = self.value(key)
        if value is not None and not isinstance(value, list):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be a list")
        return value

    def part(self, key: str) -> _Config:
        """A nested mapping, read under the same type."""
        value = self.value(key)
        if not isinstance(value, dict):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be a mapping")
        return _Config(self.path, value, self.model_type, f"{self.inside}{key}.")

    def unsupported(self, key: str, why: str) -> DataFileError:
        """The complaint about a setting whose shape cannot be described."""
        return DataFileError(
            f"{self.path}: field {self.inside + key!r} is {self.fields.get(key)!r}: {why}; "
            "describe the model as a custom architecture in YAML instead"
        )


def _attention(c: _Config, *, kv: bool = True, head_dim: bool = True) -> Fields:
    """Depth, widths and heads of the types that use the common names."""
    hidden, heads = c.number("hidden_size"), c.number("num_attention_heads")
    key_value = (c.optional("num_key_value_heads") if kv else None) or heads
    width = (c.optional("head_dim") if head_dim else None) or hidden // max(heads, 1)
    return {
        "layers": c.number("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": key_value,
        "head_dim": width,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": True,
    }


def _windows(c: _Config, sliding: int) -> Fields:
    """The window fields: ``sliding`` layers unless the file lists the kind of every layer."""
    types = c.items("layer_types")
    count = types.count("sliding_attention") if types else sliding
    window = c.optional("sliding_window") or 0
    return {"window": window if count else 0, "window_layers": count if window else 0}


def _window_everywhere(c: _Config, layers: int) -> Fields:
    window = c.optional("sliding_window") or 0
    return {"window": window, "window_layers": layers if window else 0}


def _llama(c: _Config) -> Fields:
    bias = c.flag("attention_bias")
    return _attention(c) | {
        "ffn": c.number("intermediate_size"),
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": c.flag("mlp_bias"),
    }


def _nemotron(c: _Config) -> Fields:
    return _llama(c) | {"gated": False, "norm": "layer"}


def _mistral(c: _Config) -> Fields:
    fields = _attention(c)
    return fields | {"ffn": c.number("intermediate_size")} | _window_everywhere(c, fields["layers"])


def _mixtral(c: _Config) -> Fields:
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": c.number("intermediate_size"),
    }
    fields = _attention(c)
    return fields | {"ffn": 0, "moe": moe} | _window_everywhere(c, fields["layers"])


def _qwen(c: _Config, *, head_dim: bool = False) -> Fields:
    fields = _attention(c, head_dim=head_dim)
    layers = fields["layers"]
    if not c.flag("use_sliding_window"):
        return fields
    return fields | _windows(c, max(0, layers - c.number("max_window_layers")))


def _qwen2(c: _Config) -> Fields:
    return _qwen(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": True}


def _qwen3(c: _Config) -> Fields:
    bias = c.flag("attention_bias")
    attention = _qwen(c, head_dim=True)
    return attention | {
        "ffn": c.number("intermediate_size"),
        "qkv_bias": bias,
        "o_bias": bias,
        "qk_norm": "head",
    }


def _qwen_mixture(c: _Config) -> Fields:
    """The mixture of Qwen2-MoE and Qwen3-MoE, and the dense width where layers are dense."""
    dense = c.items("mlp_only_layers") or []
    every = c.number("decoder_sparse_step")
    if any(layer not in dense for layer in range(len(dense))) or (dense and every > 1):
        raise c.unsupported("mlp_only_layers", "only the first layers can be dense")
    moe = {
        "experts": c.number("num_experts", "num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": c.number("moe_intermediate_size"),
        "first_dense_layers": len(dense),
        "every": every,
    }
    has_dense = bool(dense) or every > 1
    return {"ffn": c.number("intermediate_size") if has_dense else 0, "moe": moe}


def _qwen2_moe(c: _Config) -> Fields:
    fields = _qwen(c)
    mixture = _qwen_mixture(c)
    mixture["moe"] |= {"shared_ffn": c.number("shared_expert_intermediate_size"), "shared_gate": True}
    return fields | mixture | {"qkv_bias": c.flag("qkv_bias")}


def _qwen3_moe(c: _Config) -> Fields:
    fields = _attention(c)
    bias = c.flag("attention_bias")
    window = _window_everywhere(c, fields["layers"]) if c.flag("use_sliding_window") else {}
    return fields | window | _qwen_mixture(c) | {"qkv_bias": bias, "o_bias": bias, "qk_norm": "head"}


def _latent(c: _Config) -> Fields:
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
    fields = _attention(c, kv=False, head_dim=False)
    return fields | {"mla": mla, "head_dim": mla["rope_head_dim"] + mla["nope_head_dim"]}


def _deepseek_mixture(c: _Config) -> Fields:
    width = c.number("moe_intermediate_size")
    return {
        "experts": c.number("n_routed_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": width,
        "shared_ffn": width * (c.optional("n_shared_experts") or 0),
        "first_dense_layers": c.number("first_k_dense_replace"),
    }


def _deepseek_v2(c: _Config) -> Fields:
    if c.number("moe_layer_freq") != 1:
        raise c.unsupported("moe_layer_freq", "every layer after the dense ones must have experts")
    moe = _deepseek_mixture(c)
    return _latent(c) | {"ffn": c.number("intermediate_size") if moe["first_dense_layers"] else 0, "moe": moe}


def _deepseek_v3(c: _Config) -> Fields:
    fields = _deepseek_v2(c)
    fields["moe"]["router_bias"] = True
    return fields | {"mtp_layers": c.number("num_nextn_predict_layers", "num_mtp_layers")}


def _glm4_moe(c: _Config) -> Fields:
    moe = _deepseek_mixture(c) | {"router_bias": True}
    return _attention(c) | {
        "ffn": c.number("intermediate_size") if moe["first_dense_layers"] else 0,
        "moe": moe,
        "qkv_bias": c.flag("attention_bias"),
        "qk_norm": "head" if c.flag("use_qk_norm") else "none",
        "mtp_layers": c.number("num_nextn_predict_layers", "num_mtp_layers"),
    }


def _glm(c: _Config) -> Fields:
    return _attention(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": c.flag("attention_bias")}


def _glm4(c: _Config) -> Fields:
    return _glm(c) | {"norms_per_layer": 4}


def _chatglm(c: _Config) -> Fields:
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


def _gemma(c: _Config) -> Fields:
    bias = c.flag("attention_bias")
    return _attention(c) | {"ffn": c.number("intermediate_size"), "qkv_bias": bias, "o_bias": bias}


def _gemma2(c: _Config) -> Fields:
    fields = _gemma(c) | {"norms_per_layer": 4, "tanh_gelu": c.value("hidden_activation") == "gelu_pytorch_tanh"}
    fields |= {"logit_softcap": c.value("final_logit_softcapping") is not None}
    return fields | _windows(c, (fields["layers"] + 1) // 2)


def _gemma3(c: _Config) -> Fields:
    tanh_gelu = c.value("hidden_activation") == "gelu_pytorch_tanh"
    fields = _gemma(c) | {"norms_per_layer": 4, "qk_norm": "head", "tanh_gelu": tanh_gelu}
    layers = fields["layers"]
    return fields | _windows(c, layers - layers // max(1, c.number("sliding_window_pattern")))


def _gpt_oss(c: _Config) -> Fields:
    fields = _attention(c)
    bias = c.flag("attention_bias")
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok", "experts_per_token"),
        "ffn": c.number("intermediate_size"),
        "router_bias": True,
        "expert_bias": True,
    }
    own = {"ffn": 0, "moe": moe, "qkv_bias": bias, "o_bias": bias, "sinks": True}
    return fields | own | _windows(c, (fields["layers"] + 1) // 2)


def _llama4(c: _Config) -> Fields:
    fields = _attention(c)
    layers, every, bias = fields["layers"], c.number("interleave_moe_layer_step"), c.flag("attention_bias")
    width = c.number("intermediate_size")
    moe = {
        "experts": c.number("num_local_experts"),
        "topk": c.number("num_experts_per_tok"),
        "ffn": width,
        "shared_ffn": width,
        "every": every,
    }
    rotary = c.items("no_rope_layers")  # 1 where the layer is rotary and attends within a chunk
    chunk = c.optional("attention_chunk_size") or 0
    chunked = sum(map(bool, rotary)) if rotary else layers - layers // max(1, c.number("no_rope_layer_interval"))
    return fields | {
        "ffn": c.number("intermediate_size_mlp"),
        "moe": moe,
        "qkv_bias": bias,
        "o_bias": bias,
        "window": chunk if chunked else 0,
        "window_layers": chunked if chunk else 0,
    }


def _olmo2(c: _Config) -> Fields:
    bias = c.flag("attention_bias")
    attention = _attention(c, head_dim=False)
    return attention | {"ffn": c.number("intermediate_size"), "qkv_bias": bias, "o_bias": bias, "qk_norm": "full"}


def _cohere(c: _Config) -> Fields:
    return _olmo2(c) | {
        "norm": "layer",
        "norm_bias": False,
        "norms_per_layer": 1,
        "parallel_block": True,
        "qk_norm": "full" if c.flag("use_qk_norm") else "none",
    }


def _baichuan(c: _Config) -> Fields:
    # Its 13B rotates nothing and so needs no table of positions; its 7B has one.
    fields = {"ffn": c.number("intermediate_size"), "square_alibi": "max_position_embeddings" not in c.fields}
    return _attention(c, kv=False, head_dim=False) | fields


def _phi3(c: _Config) -> Fields:
    fields = _attention(c, head_dim=False)
    own = {"ffn": c.number("intermediate_size"), "dropout": c.rate("resid_pdrop") > 0}
    return fields | own | _window_everywhere(c, fields["layers"])


_ALL_BIASES: Fields = {"qkv_bias": True, "o_bias": True, "mlp_bias": True}


def _phi(c: _Config) -> Fields:
    if c.flag("qk_layernorm"):
        raise c.unsupported("qk_layernorm", "query and key norms with biases are not known")
    return (
        _attention(c, head_dim=False)
        | _ALL_BIASES
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


def _starcoder2(c: _Config) -> Fields:
    fields = _attention(c, head_dim=False)
    bias = c.flag("use_bias")
    own = {
        "ffn": c.number("intermediate_size"),
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": bias,
        "norm": "layer",
        "dropout": c.rate("residual_dropout") > 0,
    }
    return fields | own | _window_everywhere(c, fields["layers"])


def _gpt_neox(c: _Config) -> Fields:
    bias = c.flag("attention_bias")
    return _attention(c, kv=False, head_dim=False) | {
        "ffn": c.number("intermediate_size"),
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": True,
        "norm": "layer",
        "parallel_block": c.flag("use_parallel_residual"),
        "dropout": c.rate("hidden_dropout") > 0,
    }


def _gpt2_shape(c: _Config) -> Fields:
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


def _gpt2(c: _Config) -> Fields:
    return _gpt2_shape(c) | _ALL_BIASES | {"learned_positions": c.number("n_positions")}


def _gptj(c: _Config) -> Fields:
    own = {"mlp_bias": True, "head_bias": True, "norms_per_layer": 1, "parallel_block": True}
    return _gpt2_shape(c) | own


def _opt(c: _Config) -> Fields:
    fields = _attention(c, kv=False, head_dim=False)
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


def _bloom(c: _Config) -> Fields:
    hidden, heads = c.number("hidden_size", "n_embed"), c.number("n_head", "num_attention_heads")
    return _ALL_BIASES | {
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


def _mpt(c: _Config) -> Fields:
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


def _dbrx(c: _Config) -> Fields:
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


def _falcon(c: _Config) -> Fields:
    fields = _attention(c, kv=False, head_dim=False)
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


_READERS: dict[str, Callable[[_Config], Fields]] = {
    "baichuan": _baichuan,
    "bloom": _bloom,
    "chatglm": _chatglm,
    "cohere": _cohere,
    "dbrx": _dbrx,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "falcon": _falcon,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "glm": _glm,
    "glm4": _glm4,
    "glm4_moe": _glm4_moe,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gpt_oss": _gpt_oss,
    "gptj": _gptj,
    "kimi_k2": _deepseek_v3,
    "llama": _llama,
    "llama4_text": _llama4,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "mpt": _mpt,
    "nemotron": _nemotron,
    "olmo2": _olmo2,
    "opt": _opt,
    "phi": _phi,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "starcoder2": _starcoder2,
}

MODEL_TYPES = (*_READERS, *_WRAPPERS)
"""Every ``model_type`` that :func:`read_hf_config` understands."""


def read_hf_config(path: Path | str) -> Model:
    """The architecture that a Hugging Face ``config.json`` describes.

    The name is that of the file, or of its folder when the file is called ``config.json``; the date is that of the
    file. Of multimodal models the text part is read.

    Raises:
        DataFileError: the file is missing, not JSON, of an unknown ``model_type``, or lacks a field; the message
            names the file, the field and what to do.
    """
    path = Path(path)
    content = _read_json(path)
    model_type = content.get("model_type")
    config = content
    if isinstance(model_type, str) and model_type in _WRAPPERS:
        inner = content.get("text_config")
        if not isinstance(inner, dict):
            raise DataFileError(f"{path}: model_type {model_type!r} needs the field 'text_config' (a mapping)")
        config = inner
        if model_type == "gemma3" and "tie_word_embeddings" in content:
            config = {"tie_word_embeddings": content["tie_word_embeddings"]} | config
        model_type = config.get("model_type", _WRAPPERS[model_type])
    if model_type is None:
        raise DataFileError(f"{path}: no field 'model_type'; add it, one of {', '.join(sorted(MODEL_TYPES))}")
    if not isinstance(model_type, str) or model_type not in _READERS:
        raise DataFileError(
            f"{path}: model_type {model_type!r} is not known; known are {', '.join(sorted(MODEL_TYPES))}; "
            "describe other models as a custom architecture in YAML"
        )
    fields = _READERS[model_type](_Config(path, config, model_type, "text_config." * (config is not content)))
    title = path.parent.resolve().name if path.stem == "config" else path.stem
    record = fields | {
        "name": slug(title),
        "title": title,
        "family": model_type,
        "sources": {"*": str(path)},
        "date": file_date(path),
    }
    try:
        return Model.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataFileError(
            f"{path}: {field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')} "
            f"(as read from this {model_type!r} config); correct the file"
        ) from None


def slug(title: str) -> str:
    """A record name made of a title.

    >>> slug("Llama 2 (70B)")
    'llama-2-70b'
    """
    return re.sub(r"[^a-z0-9._+]+", "-", title.lower()).strip("._+-") or "model"


def file_date(path: Path) -> str:
    """The day on which a file was last written, ``YYYY-MM-DD`` in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def _read_json(path: Path) -> Fields:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataFileError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise DataFileError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataFileError(f"{path}: expected a JSON object, as in a Hugging Face config.json")
    return content
