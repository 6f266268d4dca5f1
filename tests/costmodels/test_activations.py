"""Saved activations against the closed forms of Korthikanti et al. 2022 (arXiv:2205.05198), section 4."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs import Model
from costmodels.activations import attention_activations, dense_mlp_activations, layer_input_bytes
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layout import Shard
from costmodels.recomputation import stage_activations
from tests.costmodels.bundles import pipe, recipe, setting, shard

PAPER = recipe(flash=0.0)


def gpt(hidden: int, heads: int, layers: int = 1) -> Model:
    """The paper's layer: four times wider MLP, GELU, biases, layer norm, dropout."""
    return Model(
        name="gpt", family="gpt", layers=layers, hidden=hidden, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        ffn=4 * hidden, vocab=51200, gated=False, tied=True, norm="layer", dropout=True,
        qkv_bias=True, o_bias=True, mlp_bias=True, sources={"*": "made up"}, date="2026",
    )  # fmt: skip


def layer(model: Model, s: Shard, seq: float) -> float:
    a, columns = Architecture.of(model), np.asarray(seq)
    return float(attention_activations(a, s, PAPER, columns) + dense_mlp_activations(a, s, PAPER, columns))


SHAPES = st.tuples(
    st.sampled_from([1024.0, 2048.0, 4096.0]),  # s
    st.sampled_from([1.0, 2.0, 4.0]),  # b
    st.sampled_from([(1024, 16), (6144, 64), (12288, 96), (20480, 128)]),  # h, a
    st.sampled_from([1.0, 2.0, 4.0, 8.0]),  # t
)


@given(SHAPES)
def test_unsharded(shape: tuple[float, float, tuple[int, int], float]) -> None:
    s, b, (h, a), _ = shape
    assert layer(gpt(h, a), shard(micro_batch=b), s) == 34 * s * b * h + 5 * a * s * s * b


@given(SHAPES)
def test_tensor_parallel(shape: tuple[float, float, tuple[int, int], float]) -> None:
    s, b, (h, a), t = shape
    closed = s * b * h * (10 + 24 / t + 5 * a * s / (h * t))
    assert layer(gpt(h, a), shard(micro_batch=b, tp=t), s) == pytest.approx(closed, rel=1e-12)


@given(SHAPES)
def test_tensor_and_sequence_parallel(shape: tuple[float, float, tuple[int, int], float]) -> None:
    s, b, (h, a), t = shape
    closed = s * b * h / t * (34 + 5 * a * s / h)
    assert layer(gpt(h, a), shard(micro_batch=b, tp=t, sp=1.0), s) == pytest.approx(closed, rel=1e-12)


@given(SHAPES)
def test_selective_recomputation(shape: tuple[float, float, tuple[int, int], float]) -> None:
    s, b, (h, a), t = shape
    closed = s * b * h / t * 34
    assert layer(gpt(h, a), shard(micro_batch=b, tp=t, sp=1.0, selective=1.0), s) == pytest.approx(closed, rel=1e-12)


@given(SHAPES)
def test_full_recomputation(shape: tuple[float, float, tuple[int, int], float]) -> None:
    s, b, (h, a), _ = shape
    kept = layer_input_bytes(Architecture.of(gpt(h, a)), shard(micro_batch=b, tp=8.0), np.asarray(s))
    assert float(kept) == 2 * s * b * h


def test_first_layers_recomputed() -> None:
    """``recompute_layers`` of a stage keep their input, the others everything."""
    x, layers = setting(gpt(1024, 16, layers=8), shard(recompute_layers=3.0), recipe(flash=0.0), seq=1024.0)
    kept = stage_activations(x, layers, pipe(), np.asarray(8.0), np.asarray(0.0))
    whole = layer(gpt(1024, 16), shard(), 1024.0)
    assert float(kept) == pytest.approx(5 * whole + 3 * 2 * 1024 * 1024)


def test_flash_attention_keeps_one_number_per_query_and_head() -> None:
    a = Architecture.of(gpt(1024, 16).model_copy(update={"dropout": False}))
    s, seq = shard(), np.asarray(2048.0)
    fused, selective = recipe(), shard(selective=1.0)
    apart: Column = attention_activations(a, s, fused, seq) - attention_activations(a, selective, PAPER, seq)
    assert float(apart) == 4 * 16 * 2048


def test_context_parallelism_divides_everything() -> None:
    whole = layer(gpt(1024, 16), shard(), 8192.0)
    assert layer(gpt(1024, 16), shard(cp=4.0), 8192.0) == pytest.approx(whole / 4)


def test_low_precision_operands_are_saved_narrow() -> None:
    a, s, seq = Architecture.of(gpt(1024, 16)), shard(), np.asarray(1024.0)
    narrow = recipe(saved_bytes=1.0)
    saved = dense_mlp_activations(a, s, recipe(), seq) - dense_mlp_activations(a, s, narrow, seq)
    assert float(saved) == 1024 * (1024 + 4096)


def test_gathered_inputs() -> None:
    """Saving the gathered inputs of both blocks costs 2·2sbh·(1 - 1/t) more than saving shares (torch DTensor)."""
    model, s, seq = gpt(1024, 16), shard(tp=4.0, sp=1.0), np.asarray(1024.0)
    a = Architecture.of(model)
    more = [
        attention_activations(a, s, r, seq) + dense_mlp_activations(a, s, r, seq)
        for r in (recipe(), recipe(gathered_inputs=1.0))
    ]
    assert float(more[1] - more[0]) == 2 * 2 * 1024 * 1024 * 3 / 4


def test_operator_level_recomputation_keeps_every_second_product() -> None:
    """Llama-3-8B, one token: input, queries, values, attention result, log-sum-exps, gate."""
    llama = Model(
        name="llama", family="llama", layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336,
        vocab=128256, gated=True, tied=False, sources={"*": "made up"}, date="2026",
    )  # fmt: skip
    _, layers = setting(llama, shard(selective=1.0), recipe(operator_recompute=1.0), seq=8192.0)
    assert float(layers.dense_bytes) == 8192 * (2 * (4096 + 4096 + 1024 + 4096 + 14336) + 4 * 32)
    assert float(layers.dense_whole_bytes) > float(layers.dense_bytes)
