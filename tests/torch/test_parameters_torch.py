"""Parameter counts and the Hugging Face reader against transformers' own classes, built without memory for weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalogs import Catalog, Model
from catalogs.huggingface import read_hf_config
from catalogs.huggingface.known_types import TYPES
from costmodels.architecture import Architecture
from costmodels.parameters import active_params, expert_params, total_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Options = dict[str, Any]
MODELS = Catalog().models


def common(m: Model) -> Options:
    return {
        "hidden_size": m.hidden,
        "num_hidden_layers": m.layers,
        "num_attention_heads": m.heads,
        "vocab_size": m.vocab,
        "tie_word_embeddings": m.tied,
    }


def dense(m: Model) -> Options:
    return common(m) | {"num_key_value_heads": m.kv_heads, "head_dim": m.head_dim, "intermediate_size": m.ffn}


def windowed(m: Model) -> Options:
    return dense(m) | {"sliding_window": m.window or None}


def gpt2(m: Model) -> Options:
    return {
        "n_embd": m.hidden,
        "n_layer": m.layers,
        "n_head": m.heads,
        "n_inner": m.ffn,
        "n_positions": m.learned_positions or 2048,
        "vocab_size": m.vocab,
        "tie_word_embeddings": m.tied,
        "resid_pdrop": 0.1 * m.dropout,
        "rotary_dim": 64,
    }


def latent(m: Model) -> Options:
    assert m.mla
    assert m.moe
    options = common(m) | {
        "num_key_value_heads": m.kv_heads,
        "intermediate_size": m.ffn,
        "q_lora_rank": m.mla.q_lora or None,
        "kv_lora_rank": m.mla.kv_lora,
        "qk_rope_head_dim": m.mla.rope_head_dim,
        "qk_nope_head_dim": m.mla.nope_head_dim,
        "v_head_dim": m.mla.v_head_dim,
        "num_nextn_predict_layers": m.mtp_layers,
    }
    return options | grouped(m)


def grouped(m: Model) -> Options:
    assert m.moe
    return {
        "n_routed_experts": m.moe.experts,
        "num_experts_per_tok": m.moe.topk,
        "moe_intermediate_size": m.moe.ffn,
        "n_shared_experts": m.moe.shared_ffn // m.moe.ffn,
        "first_k_dense_replace": m.moe.first_dense_layers,
        "n_group": 1,
        "topk_group": 1,
    }


def qwen_moe(m: Model) -> Options:
    assert m.moe
    return dense(m) | {
        "num_experts": m.moe.experts,
        "num_experts_per_tok": m.moe.topk,
        "moe_intermediate_size": m.moe.ffn,
        "shared_expert_intermediate_size": m.moe.shared_ffn,
        "decoder_sparse_step": m.moe.every,
    }


def local_experts(m: Model) -> Options:
    assert m.moe
    return dense(m) | {
        "intermediate_size": m.moe.ffn,
        "num_local_experts": m.moe.experts,
        "num_experts_per_tok": m.moe.topk,
        "sliding_window": m.window or None,
    }


def llama4(m: Model) -> Options:
    assert m.moe
    return local_experts(m) | {"intermediate_size_mlp": m.ffn, "interleave_moe_layer_step": m.moe.every}


def falcon(m: Model) -> Options:
    return common(m) | {
        "num_kv_heads": m.kv_heads,
        "new_decoder_architecture": m.norms_per_layer == 2,
        "multi_query": m.kv_heads == 1,
        "ffn_hidden_size": m.ffn,
    }


def mpt(m: Model) -> Options:
    return {
        "d_model": m.hidden,
        "n_layers": m.layers,
        "n_heads": m.heads,
        "expansion_ratio": m.ffn // m.hidden,
        "vocab_size": m.vocab,
        "attn_config": {"attn_type": "multihead_attention", "alibi": True},
    }


def dbrx(m: Model) -> Options:
    assert m.moe
    return {
        "d_model": m.hidden,
        "n_layers": m.layers,
        "n_heads": m.heads,
        "vocab_size": m.vocab,
        "attn_config": {"kv_n_heads": m.kv_heads, "rope_theta": 500000.0},
        "ffn_config": {
            "hidden_size": m.hidden,
            "ffn_hidden_size": m.moe.ffn,
            "moe_num_experts": m.moe.experts,
            "moe_top_k": m.moe.topk,
        },
    }


def opt(m: Model) -> Options:
    return common(m) | {
        "ffn_dim": m.ffn,
        "max_position_embeddings": m.learned_positions - 2,
        "word_embed_proj_dim": m.hidden,
    }


def bloom(m: Model) -> Options:
    return {"hidden_size": m.hidden, "n_layer": m.layers, "n_head": m.heads, "vocab_size": m.vocab}


def biased(m: Model) -> Options:
    return dense(m) | {"attention_bias": m.qkv_bias}


CONFIGS: dict[str, Callable[[Model], Options]] = {
    "bloom": bloom,
    "cohere": lambda m: dense(m) | {"use_qk_norm": m.qk_norm == "full"},
    "dbrx": dbrx,
    "deepseek_v2": latent,
    "deepseek_v3": latent,
    "falcon": falcon,
    "gemma": dense,
    "gemma2": windowed,
    "gemma3_text": windowed,
    "glm": biased,
    "glm4": biased,
    "glm4_moe": lambda m: biased(m) | grouped(m) | {"use_qk_norm": m.qk_norm == "head"},
    "gpt2": gpt2,
    "gpt_bigcode": lambda m: gpt2(m) | {"multi_query": m.kv_heads == 1},
    "gpt_neox": lambda m: common(m) | {"intermediate_size": m.ffn},
    "gpt_oss": local_experts,
    "gptj": gpt2,
    "llama": dense,
    "llama4_text": llama4,
    "mistral": windowed,
    "mixtral": local_experts,
    "mpt": mpt,
    "nemotron": dense,
    "olmo2": dense,
    "opt": opt,
    "phi": lambda m: dense(m) | {"resid_pdrop": 0.1 * m.dropout},
    "phi3": lambda m: windowed(m) | {"pad_token_id": None},
    "qwen2": dense,
    "qwen2_moe": qwen_moe,
    "qwen3": dense,
    "qwen3_moe": qwen_moe,
    "stablelm": lambda m: dense(m) | {"use_qkv_bias": m.qkv_bias},
    "starcoder2": lambda m: windowed(m) | {"residual_dropout": 0.1 * m.dropout},
}
LIKE = {"baichuan": "llama", "kimi_k2": "deepseek_v3"}
"""Families whose modelling code ships with the weights, to the transformers type with the same matrices."""

SHALLOW = 8
"""Layers of the instantiated model above this are counted from the per-layer difference (building 126 layers of
meta tensors costs seconds and shows nothing new)."""

CHECKED = sorted(name for name, m in MODELS.items() if LIKE.get(m.family, m.family) in CONFIGS)


def config_of(model: Model) -> Any:
    family = LIKE.get(model.family, model.family)
    if family not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    return transformers.CONFIG_MAPPING[family](**CONFIGS[family](model))


def numel(model: Model) -> int:
    """Parameters of transformers' own class, tied matrices once, the router bias (a buffer there) included."""
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(config_of(model))
    built.tie_weights()
    biases = sum(b.numel() for n, b in built.named_buffers() if n.endswith("e_score_correction_bias"))
    return int(sum(p.numel() for p in built.parameters()) + biases)


def with_layers(model: Model, layers: int) -> Model:
    window = min(model.window_layers, layers)
    return model.model_copy(update={"layers": layers, "window_layers": window, "window": model.window if window else 0})


@pytest.mark.parametrize("name", CHECKED)
def test_total_is_the_numel_of_the_published_code(name: str) -> None:
    model = MODELS[name]
    counted = numel(model if model.layers <= SHALLOW else with_layers(model, SHALLOW))
    if model.layers > SHALLOW:
        period = model.moe.every if model.moe else 1
        deeper = numel(with_layers(model, SHALLOW + period))
        assert (model.layers - SHALLOW) % period == 0
        counted += (deeper - counted) * ((model.layers - SHALLOW) // period)
    assert counted == int(total_params(Architecture.of(model)))
    assert counted == model.params


@pytest.mark.parametrize("name", ["llama-2-70b", "gpt-oss-20b", "deepseek-v3", "llama-4-maverick", "gemma-3-27b"])
def test_whole_depth_gives_the_same_count(name: str) -> None:
    assert numel(MODELS[name]) == MODELS[name].params


def test_active_leaves_out_exactly_the_experts_not_visited() -> None:
    model = MODELS["mixtral-8x7b"]
    assert model.moe
    one_expert = model.model_copy(update={"moe": model.moe.model_copy(update={"experts": 2, "topk": 2})})
    a = Architecture.of(model)
    routers = model.layers * (model.moe.experts - 2) * model.hidden
    assert int(active_params(a)) == numel(one_expert) + routers
    assert int(expert_params(a)) == 3 * model.hidden * model.moe.ffn


@pytest.mark.parametrize("name", [n for n in CHECKED if MODELS[n].family not in LIKE])
def test_reader_turns_the_config_back_into_the_record(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(config_of(model).to_dict(), default=str))
    read = read_hf_config(path)
    bookkeeping = {"name", "title", "year", "seq", "batch_tokens", "params", "active_params"}
    bookkeeping |= {"sources", "date", "notes", "estimated"}
    if name == "bloom-176b":  # its developers train with dropout, its config is for inference
        bookkeeping |= {"dropout"}
    assert read.model_dump(exclude=bookkeeping) == model.model_dump(exclude=bookkeeping)
    assert int(total_params(Architecture.of(read))) == model.params


@pytest.mark.skipif(transformers.__version__ < "5", reason="older config classes keep their defaults elsewhere")
@pytest.mark.parametrize("model_type", sorted(set(TYPES) & set(CONFIGS)))
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    config = transformers.CONFIG_MAPPING[model_type]
    fields = {f: v for c in reversed(config.__mro__) for f, v in vars(c).items() if not f.startswith("_")}
    renamed = config.attribute_map | {new: old for old, new in config.attribute_map.items()}
    for key, value in TYPES[model_type].defaults.items():
        actual = fields[key] if key in fields else fields.get(renamed.get(key, key))
        if key in {"moe_layer_freq", "sliding_window_pattern", "no_bias"} and actual is None:
            continue  # read by published files only; the code has the same value built in
        assert actual == value, f"{model_type}.{key}"
