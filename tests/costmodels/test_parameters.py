"""Parameter formulas: the published totals to the last parameter, and laws that hold for every architecture."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from catalogs import Catalog, Model
from costmodels import parameters
from costmodels.architecture import Architecture

MODELS = Catalog().models

# Totals as their publishers' checkpoints list them (tied matrices once), typed in independently of the catalog.
PUBLISHED = {
    "baichuan2-13b": 13_896_668_160,
    "baichuan2-7b": 7_505_973_248,
    "bloom-176b": 176_247_271_424,
    "bloom-560m": 559_214_592,
    "bloom-7b1": 7_069_016_064,
    "command-r-35b": 34_980_831_232,
    "command-r-plus-104b": 103_810_674_688,
    "dbrx-132b": 131_596_523_520,
    "deepseek-v2": 235_741_434_880,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200,
    "falcon-40b": 41_303_293_952,
    "falcon-7b": 6_921_720_704,
    "gemma-2-27b": 27_227_128_320,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2b": 2_506_172_416,
    "gemma-3-1b": 999_885_952,
    "gemma-7b": 8_537_680_896,
    "glm-4-9b": 9_399_951_360,
    "gpt-j-6b": 6_050_882_784,
    "gpt-neox-20b": 20_554_567_680,
    "gpt-oss-120b": 116_829_156_672,
    "gpt-oss-20b": 20_914_757_184,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "kimi-k2": 1_026_408_232_448,
    "llama-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-2-7b": 6_738_415_616,
    "llama-3-70b": 70_553_706_496,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "mistral-7b": 7_241_732_096,
    "mistral-large-2": 122_610_069_504,
    "mistral-nemo-12b": 12_247_782_400,
    "mistral-small-24b": 23_572_403_200,
    "mixtral-8x22b": 140_620_634_112,
    "mixtral-8x7b": 46_702_792_704,
    "mpt-7b": 6_649_286_656,
    "olmo-2-13b": 13_716_198_400,
    "olmo-2-32b": 32_234_279_936,
    "opt-125m": 125_239_296,
    "opt-13b": 12_853_473_280,
    "opt-6.7b": 6_658_473_984,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "phi-4": 14_659_507_200,
    "pythia-12b": 11_846_072_320,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-235b-a22b": 235_093_634_560,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-32b": 32_762_123_264,
    "qwen3-8b": 8_190_735_360,
    "starcoder2-15b": 15_957_889_024,
    "yi-34b": 34_388_917_248,
}

# Checkpoints that carry the multi-token-prediction layer, which repeats embedding and head.
PUBLISHED_WITH_MTP = {"glm-4.5": 358_337_791_296, "glm-4.5-air": 110_468_824_832}

# Totals that papers print rounded, in billions.
PRINTED = {
    "gpt3-175b": 174.6,
    "megatron-gpt-1.7b": 1.7,
    "megatron-gpt-145.6b": 145.6,
    "megatron-gpt-18.4b": 18.4,
    "megatron-gpt-310.1b": 310.1,
    "megatron-gpt-39.1b": 39.1,
    "megatron-gpt-529.6b": 529.6,
    "megatron-gpt-7.5b": 7.5,
    "megatron-gpt-76.1b": 76.1,
    "megatron-gpt-1008b": 1008.0,
    "palm-540b": 540.35,
    "palm-62b": 62.5,
    "palm-8b": 8.63,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_total_is_the_published_count(name: str) -> None:
    assert int(parameters.total_params(Architecture.of(MODELS[name]))) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_WITH_MTP)
def test_prediction_layer_completes_the_published_checkpoint(name: str) -> None:
    a = Architecture.of(MODELS[name])
    repeated = a.vocab * a.hidden + parameters.head_params(a)
    whole = parameters.total_params(a) + parameters.mtp_params(a) + repeated
    assert int(whole) == PUBLISHED_WITH_MTP[name]


@pytest.mark.parametrize("name", PRINTED)
def test_total_is_the_printed_one_to_its_last_digit(name: str) -> None:
    total = float(parameters.total_params(Architecture.of(MODELS[name]))) / 1e9
    assert total == pytest.approx(PRINTED[name], abs=0.051 if PRINTED[name] > 1.7 else 0.06)


def test_deepseek_v3_prediction_module_is_the_14b_of_its_readme() -> None:
    a = Architecture.of(MODELS["deepseek-v3"])
    assert float(parameters.mtp_params(a)) == pytest.approx(11.5e9, rel=0.01)
    assert float(parameters.mtp_params(a) + 2 * a.vocab * a.hidden) == pytest.approx(14e9, rel=0.05)


@pytest.mark.parametrize(
    ("name", "published"), [("mixtral-8x7b", 12.9e9), ("mixtral-8x22b", 39e9), ("qwen3-235b-a22b", 22e9)]
)
def test_active_is_the_published_one(name: str, published: float) -> None:
    assert float(parameters.active_params(Architecture.of(MODELS[name]))) == pytest.approx(published, rel=0.01)


def test_one_call_over_all_models_equals_one_call_each() -> None:
    models = list(MODELS.values())
    stacked = Architecture.stack(models)
    for function in (parameters.total_params, parameters.active_params, parameters.mtp_params):
        alone = [float(function(Architecture.of(m))) for m in models]
        np.testing.assert_array_equal(function(stacked), alone)


def test_columns_of_different_shapes_broadcast() -> None:
    stacked = Architecture.stack([MODELS["llama-2-7b"], MODELS["deepseek-v3"], MODELS["gpt-oss-20b"]])
    columns = {f.name: getattr(stacked, f.name)[:, None] for f in fields(Architecture)}
    vocabularies = np.array([32000.0, 64000.0])
    totals = parameters.total_params(Architecture(**columns | {"vocab": vocabularies}))
    assert totals.shape == (3, 2)
    np.testing.assert_array_equal(totals[:, 1] - totals[:, 0], 32000 * stacked.hidden * (2 - stacked.tied))


def test_architecture_of_one_model_is_zero_dimensional_and_float64() -> None:
    a = Architecture.of(MODELS["mixtral-8x7b"])
    for field in fields(Architecture):
        column = getattr(a, field.name)
        assert column.shape == ()
        assert column.dtype == np.float64


def test_widths_and_layer_kinds() -> None:
    a = Architecture.stack([MODELS["llama-2-70b"], MODELS["deepseek-v3"], MODELS["llama-4-maverick"]])
    assert a.q_width.tolist() == [8192, 128 * 192, 5120]
    assert a.kv_width.tolist() == [1024, 128 * 192, 1024]
    assert a.o_width.tolist() == [8192, 128 * 128, 5120]
    assert a.dense_layers.tolist() == [80, 3, 24]
    assert a.moe_layers.tolist() == [0, 58, 24]


def test_whole_is_the_sum_of_its_parts() -> None:
    a = Architecture.stack(list(MODELS.values()))
    dense = parameters.attention_params(a) + parameters.dense_mlp_params(a) + parameters.norm_params(a)
    np.testing.assert_array_equal(parameters.dense_layer_params(a), dense)
    ends = parameters.embedding_params(a) + parameters.final_norm_params(a) + parameters.head_params(a)
    layers = a.dense_layers * dense + a.moe_layers * parameters.moe_layer_params(a)
    np.testing.assert_array_equal(parameters.total_params(a), ends + layers)


def test_dense_models_have_no_experts_and_are_fully_active() -> None:
    a = Architecture.stack([m for m in MODELS.values() if m.moe is None])
    assert not parameters.expert_params(a).any()
    assert not parameters.router_params(a).any()
    assert not parameters.shared_expert_params(a).any()
    np.testing.assert_array_equal(parameters.active_params(a), parameters.total_params(a))


def with_fields(model: Model, **changes: object) -> float:
    return float(parameters.total_params(Architecture.of(model.model_copy(update=changes))))


def test_each_switch_adds_exactly_its_own_parameters() -> None:
    m = MODELS["llama-2-7b"]
    h, layers, base = m.hidden, m.layers, with_fields(m)
    assert with_fields(m, qkv_bias=True) - base == layers * 3 * h
    assert with_fields(m, o_bias=True) - base == layers * h
    assert with_fields(m, mlp_bias=True) - base == layers * (2 * m.ffn + h)
    assert with_fields(m, head_bias=True) - base == m.vocab
    assert base - with_fields(m, tied=True) == m.vocab * h
    assert base - with_fields(m, gated=False) == layers * h * m.ffn
    assert base - with_fields(m, final_norm=False) == h
    assert with_fields(m, norm="layer") - base == (2 * layers + 1) * h
    assert with_fields(m, norm="layer", norm_bias=False) == base
    assert with_fields(m, norms_per_layer=4) - base == layers * 2 * h
    assert with_fields(m, qk_norm="head") - base == layers * 2 * m.head_dim
    assert with_fields(m, qk_norm="full") - base == layers * 2 * h
    assert with_fields(m, sinks=True) - base == layers * m.heads
    assert with_fields(m, learned_positions=2048) - base == 2048 * h
    assert with_fields(m, embedding_norm=True) - base == h
    assert with_fields(m, kv_heads=8) < base
    assert with_fields(m, dropout=True, parallel_block=True, window=4, window_layers=1) == base
