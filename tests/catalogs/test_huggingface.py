"""Hugging Face configs as their publishers ship them become the catalog's own records; broken ones say what to fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalogs import Catalog, DataFileError, Model
from catalogs.huggingface import MODEL_TYPES, read_hf_config

MODELS = Catalog().models
STATED_ELSEWHERE = {"bloom-176b": {"dropout"}}
"""Fields in which the developers' account of the training differs from the config they published for inference."""

BOOKKEEPING = {"name", "title", "year", "seq", "batch_tokens", "params", "active_params", "sources", "date", "notes"}

LLAMA_2_70B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}

# The fields of the published files that decide the architecture, with whatever those files leave to defaults left out.
PUBLISHED: dict[str, dict[str, Any]] = {
    "llama-2-70b": LLAMA_2_70B,
    "starcoderbase": {
        "model_type": "gpt_bigcode",
        "n_embd": 6144,
        "n_head": 48,
        "n_inner": 24576,
        "n_layer": 40,
        "n_positions": 8192,
        "vocab_size": 49152,
    },
    "stablelm-3b-4e1t": {
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "model_type": "stablelm",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 50304,
    },
    "llama-7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
    },
    "mistral-7b-v0.3": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "model_type": "mistral",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "sliding_window": None,
        "vocab_size": 32768,
    },
    "qwen2.5-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_window_layers": 28,
        "model_type": "qwen2",
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "sliding_window": 131072,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "vocab_size": 152064,
    },
    "qwen3-30b-a3b": {
        "attention_bias": False,
        "decoder_sparse_step": 1,
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": 768,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "sliding_window": None,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "vocab_size": 151936,
    },
    "deepseek-v3": {
        "first_k_dense_replace": 3,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "kv_lora_rank": 512,
        "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048,
        "moe_layer_freq": 1,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_attention_heads": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "tie_word_embeddings": False,
        "v_head_dim": 128,
        "vocab_size": 129280,
    },
    "gemma-2-9b": {
        "head_dim": 256,
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "model_type": "gemma2",
        "num_attention_heads": 16,
        "num_hidden_layers": 42,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "vocab_size": 256000,
    },
    "gemma-3-4b": {
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
    },
    "falcon-7b": {
        "alibi": False,
        "bias": False,
        "hidden_dropout": 0.0,
        "hidden_size": 4544,
        "model_type": "falcon",
        "multi_query": True,
        "new_decoder_architecture": False,
        "num_attention_heads": 71,
        "num_hidden_layers": 32,
        "parallel_attn": True,
        "vocab_size": 65024,
    },
    "falcon-40b": {
        "bias": False,
        "hidden_size": 8192,
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_attention_heads": 128,
        "num_hidden_layers": 60,
        "num_kv_heads": 8,
        "parallel_attn": True,
        "vocab_size": 65024,
    },
    "bloom-176b": {
        "hidden_dropout": 0.0,
        "model_type": "bloom",
        "n_embed": 14336,
        "n_layer": 70,
        "num_attention_heads": 112,
        "vocab_size": 250880,
    },
    "opt-6.7b": {
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "ffn_dim": 16384,
        "hidden_size": 4096,
        "max_position_embeddings": 2048,
        "model_type": "opt",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 50272,
        "word_embed_proj_dim": 4096,
    },
    "mpt-7b": {
        "attn_config": {"alibi": True, "attn_type": "multihead_attention", "qk_ln": False},
        "d_model": 4096,
        "expansion_ratio": 4,
        "learned_pos_emb": True,
        "model_type": "mpt",
        "n_heads": 32,
        "n_layers": 32,
        "no_bias": True,
        "resid_pdrop": 0,
        "vocab_size": 50432,
    },
    "glm-4-9b": {
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "ffn_hidden_size": 13696,
        "hidden_size": 4096,
        "kv_channels": 128,
        "model_type": "chatglm",
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "num_attention_heads": 32,
        "num_layers": 40,
        "padded_vocab_size": 151552,
        "rmsnorm": True,
        "tie_word_embeddings": False,
    },
    "gpt-oss-20b": {
        "attention_bias": True,
        "experts_per_token": 4,
        "head_dim": 64,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "model_type": "gpt_oss",
        "num_attention_heads": 64,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "sliding_window": 128,
        "tie_word_embeddings": False,
        "vocab_size": 201088,
    },
    "baichuan2-13b": {
        "hidden_size": 5120,
        "intermediate_size": 13696,
        "model_type": "baichuan",
        "num_attention_heads": 40,
        "num_hidden_layers": 40,
        "tie_word_embeddings": False,
        "vocab_size": 125696,
    },
    "llama-4-maverick": {
        "model_type": "llama4",
        "text_config": {
            "attention_bias": False,
            "attention_chunk_size": 8192,
            "head_dim": 128,
            "hidden_size": 5120,
            "interleave_moe_layer_step": 2,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "model_type": "llama4_text",
            "no_rope_layers": [1, 1, 1, 0] * 12,
            "num_attention_heads": 40,
            "num_experts_per_tok": 1,
            "num_hidden_layers": 48,
            "num_key_value_heads": 8,
            "num_local_experts": 128,
            "vocab_size": 202048,
        },
    },
}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_config_is_the_catalog_record(name: str, tmp_path: Path) -> None:
    read = read_hf_config(write(tmp_path / f"{name}.json", PUBLISHED[name]))
    expected = MODELS[name]
    ours, theirs = (
        m.model_dump(exclude=BOOKKEEPING | {"family"} | STATED_ELSEWHERE.get(name, set())) for m in (read, expected)
    )
    assert ours == theirs
    assert read.name == name


def test_the_file_is_the_source_and_its_folder_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "Llama-2 70B"
    folder.mkdir()
    model = read_hf_config(write(folder / "config.json", LLAMA_2_70B))
    assert isinstance(model, Model)
    assert model.name == "llama-2-70b"
    assert model.sources == {"*": str(folder / "config.json")}
    assert model.params is None


@pytest.mark.parametrize(
    "field",
    ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size", "model_type"],
)
def test_missing_field_is_named(field: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", {k: v for k, v in LLAMA_2_70B.items() if k != field})
    with pytest.raises(DataFileError, match=rf"x\.json: .*'{field}'.*add it"):
        read_hf_config(path)


def test_missing_field_of_a_nested_part_is_named_with_its_part(tmp_path: Path) -> None:
    text = {k: v for k, v in PUBLISHED["llama-4-maverick"]["text_config"].items() if k != "num_local_experts"}
    with pytest.raises(DataFileError, match=r"'text_config\.num_local_experts'"):
        read_hf_config(write(tmp_path / "x.json", {"model_type": "llama4", "text_config": text}))
    with pytest.raises(DataFileError, match="'text_config'"):
        read_hf_config(write(tmp_path / "x.json", {"model_type": "llama4"}))


@pytest.mark.parametrize("model_type", ["bert", "llama5", "", 7, ["llama"], {"a": 1}])
def test_unknown_type_lists_the_known_ones(model_type: object, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", LLAMA_2_70B | {"model_type": model_type})
    with pytest.raises(DataFileError, match=r"not known.*deepseek_v3.*qwen3_moe"):
        read_hf_config(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", "8192"),
        ("hidden_size", -1),
        ("hidden_size", 81.5),
        ("hidden_size", True),
        ("hidden_size", None),
        ("hidden_size", 0),
        ("hidden_size", float("inf")),
        ("hidden_size", 10**400),
        ("num_attention_heads", 0),
        ("num_key_value_heads", 7),
        ("tie_word_embeddings", "yes"),
        ("num_hidden_layers", [80]),
    ],
)
def test_nonsense_values_are_refused(field: str, value: object, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", LLAMA_2_70B | {field: value})
    with pytest.raises(DataFileError, match=r"x\.json"):
        read_hf_config(path)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("opt-6.7b", {"word_embed_proj_dim": 512}, "narrower"),
        ("opt-6.7b", {"do_layer_norm_before": False}, "after the blocks"),
        ("opt-6.7b", {"layer_norm_elementwise_affine": False}, "without parameters"),
        ("deepseek-v3", {"moe_layer_freq": 2}, "must have experts"),
        ("deepseek-v3", {"attention_bias": True}, "with biases"),
        ("qwen3-30b-a3b", {"mlp_only_layers": [3]}, "first layers"),
        ("qwen3-30b-a3b", {"mlp_only_layers": [0, "a"]}, "first layers"),
        ("mpt-7b", {"no_bias": False}, "with biases"),
        ("mpt-7b", {"attn_config": {"alibi": False}}, "ALiBi"),
        ("mpt-7b", {"attn_config": 3}, "mapping"),
        ("opt-6.7b", {"dropout": 2}, "0 to 1"),
        ("qwen3-30b-a3b", {"mlp_only_layers": 3}, "list"),
    ],
)
def test_shapes_that_cannot_be_described_are_refused(
    name: str, change: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(DataFileError, match=why):
        read_hf_config(write(tmp_path / "x.json", PUBLISHED[name] | change))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "x.json:1: not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{\n"a": }', "x.json:2"),
        ("[" * 10**5, "JSON"),
    ],
)
def test_what_is_not_a_config_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataFileError, match=complaint):
        read_hf_config(path)


def test_qwen_windows_begin_after_the_full_layers(tmp_path: Path) -> None:
    change = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 21}
    model = read_hf_config(write(tmp_path / "x.json", PUBLISHED["qwen2.5-7b"] | change))
    assert (model.window, model.window_layers) == (4096, 7)


def test_stablelm_in_parallel_has_one_norm_in_a_layer_and_none_for_every_head(tmp_path: Path) -> None:
    parallel = {"use_parallel_residual": True, "use_qkv_bias": True}
    model = read_hf_config(write(tmp_path / "x.json", PUBLISHED["stablelm-3b-4e1t"] | parallel))
    assert (model.norms_per_layer, model.parallel_block, model.qkv_bias, model.o_bias) == (1, True, True, False)
    with pytest.raises(DataFileError, match="a query and key norm of its own for every head is not known"):
        read_hf_config(write(tmp_path / "y.json", PUBLISHED["stablelm-3b-4e1t"] | {"qk_layernorm": True}))


def test_bigcode_with_all_heads(tmp_path: Path) -> None:
    model = read_hf_config(write(tmp_path / "x.json", PUBLISHED["starcoderbase"] | {"multi_query": False}))
    assert model.kv_heads == 48


def test_leading_dense_layers_of_qwen_moe(tmp_path: Path) -> None:
    model = read_hf_config(write(tmp_path / "x.json", PUBLISHED["qwen3-30b-a3b"] | {"mlp_only_layers": [1, 0]}))
    assert model.moe
    assert (model.moe.first_dense_layers, model.ffn) == (2, 6144)


def test_every_family_of_the_catalog_can_be_read() -> None:
    without_files = {"palm", "glm-130b"}
    assert {m.family for m in MODELS.values()} - without_files <= set(MODEL_TYPES)
