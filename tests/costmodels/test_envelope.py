"""Rules of thumb: the textbook closed forms, the detailed model they shorten, and laws that hold for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs import Catalog
from costmodels import envelope
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.parameters import total_params
from costmodels.recipe import Recipe
from costmodels.utilisation import mfu

CATALOG = Catalog()
SIZES = st.integers(1, 64)
WIDTHS = st.integers(1, 128).map(lambda n: n * 128)
DEGREES = st.sampled_from((1, 2, 4, 8))


def column(value: float) -> Column:
    return np.asarray(float(value))


def columns(*values: float) -> tuple[Column, ...]:
    return tuple(column(value) for value in values)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (envelope.training_days(*columns(70e9, 15e12, 989.5e12, 1024, 0.5)), 143.927),
        (envelope.training_days(*columns(70e9, 2e12, 312e12, 1024, 0.4)), 76.0766),
        (envelope.required_flops_per_s(*columns(70e9, 2e12, 90 * 86400)), 1.0802469e17),
        (envelope.accelerators_needed(*columns(1.0802469e17, 312e12, 0.4)), 865.582),
        (envelope.accelerators_needed(*columns(1.0802469e17, 320e12, 0.4)), 843.943),
        (envelope.largest_params(*columns(80e9, 8, 16)), 40e9),
        (envelope.largest_params(*columns(80e9, 8, 18)), 35.5556e9),
        (envelope.lora_state_bytes(column(70e9), column(1e9), envelope.STATE_RECIPES["fp32"], column(2.0)), 156e9),
    ],
)
def test_known_figures(figure: Column, expected: float) -> None:
    assert float(figure) == pytest.approx(expected, rel=1e-5)


def test_columns_broadcast() -> None:
    found = envelope.training_days(
        column(70e9), column(2e12), np.array([312e12, 320e12]), np.array([[512.0], [1024.0]]), column(0.4)
    )
    assert found.shape == (2, 2)
    assert found[1, 0] == pytest.approx(found[0, 0] / 2)


@given(params=st.floats(1e6, 1e13), tokens=st.floats(1e6, 1e14), days=st.floats(1, 1e3), mfu=st.floats(0.01, 1))
def test_the_accelerators_needed_just_meet_the_deadline(params: float, tokens: float, days: float, mfu: float) -> None:
    rate = envelope.required_flops_per_s(*columns(params, tokens, days * 86400))
    needed = envelope.accelerators_needed(rate, column(312e12), column(mfu))
    assert float(
        envelope.training_days(column(params), column(tokens), column(312e12), needed, column(mfu))
    ) == pytest.approx(days)


@given(needed=st.floats(0.01, 1e6), replica=SIZES, server=SIZES, redundancy=st.floats(0, 1))
def test_cluster_sizes_only_grow_and_waste_less_than_a_unit(
    needed: float, replica: int, server: int, redundancy: float
) -> None:
    size = envelope.cluster_size(*columns(needed, replica, server, redundancy))
    assert needed <= size.working < needed + replica
    assert size.working <= size.with_spares
    assert size.with_spares <= size.accelerators < size.with_spares + server
    assert size.working % replica == size.accelerators % server == 0
    assert size.servers * server == size.accelerators


def test_spares_do_not_round_up_on_a_floating_point_residue() -> None:
    assert 800 * 1.1 > 880
    assert float(envelope.cluster_size(*columns(800, 16, 8, 0.1)).with_spares) == 880


@pytest.mark.parametrize(("name", "recipe"), [("fp32-gradients", "megatron-lm"), ("fp32", "torchtitan-fsdp2")])
def test_named_recipes_are_what_frameworks_keep(name: str, recipe: str) -> None:
    framework = Recipe.of(CATALOG.frameworks[recipe], "bf16", "adamw")
    ours, theirs = envelope.STATE_RECIPES[name], envelope.state_bytes_per_param(framework)
    assert float(envelope.state_bytes_per_param(ours)) == float(theirs)


@given(name=st.sampled_from(sorted(envelope.STATE_RECIPES)), ranks=st.integers(1, 4096), params=st.floats(1e6, 1e12))
def test_zero_shards_follow_the_paper(name: str, ranks: int, params: float) -> None:
    r = envelope.STATE_RECIPES[name]
    weight, gradient = float(r.parameter_bytes), float(r.gradient_bytes)
    rest = float(r.master_bytes + r.moment_bytes)
    expected = (
        params * (weight + gradient + rest),
        params * (weight + gradient) + params * rest / ranks,
        params * weight + params * (gradient + rest) / ranks,
        params * (weight + gradient + rest) / ranks,
    )
    for stage, total in enumerate(expected):
        parts = envelope.zero_state_bytes(column(params), r, column(ranks), column(stage))
        assert float(sum(parts.values())) == pytest.approx(total, rel=1e-12)


@given(layers=SIZES, hidden=WIDTHS, seq=WIDTHS, batch=SIZES, vocab=st.integers(1, 300_000))
def test_gpt_flops_equal_the_closed_forms(layers: int, hidden: int, seq: int, batch: int, vocab: int) -> None:
    a = envelope.gpt_shape(*columns(layers, hidden, 4, vocab))
    forward = 24 * batch * seq * hidden**2 + 4 * batch * seq**2 * hidden
    assert float(envelope.layer_forward_flops(a, column(seq), column(batch))) == pytest.approx(forward, rel=1e-12)
    shape = 1 + seq / (6 * hidden) + vocab / (12 * hidden * layers)
    training = 72 * batch * seq * hidden**2 * layers * shape
    assert float(envelope.training_flops(a, column(seq), column(batch))) == pytest.approx(training, rel=1e-12)
    assert training == pytest.approx(3 * (layers * forward + 2 * batch * seq * hidden * vocab), rel=1e-12)


@given(layers=SIZES, hidden=WIDTHS, r=DEGREES, ffn=WIDTHS, seq=WIDTHS, batch=SIZES, vocab=st.integers(1, 300_000))
def test_llama_flops_equal_the_closed_forms(
    layers: int, hidden: int, r: int, ffn: int, seq: int, batch: int, vocab: int
) -> None:
    a = envelope.llama_shape(*columns(layers, hidden, 8, 8 // r, ffn, vocab))
    block = 4 * batch * seq * hidden**2 * (1 + 1 / r) + 4 * batch * seq**2 * hidden + 6 * batch * seq * hidden * ffn
    assert float(envelope.layer_forward_flops(a, column(seq), column(batch))) == pytest.approx(block, rel=1e-12)
    shape = 1 + 1 / r + 3 * ffn / (2 * hidden) + seq / hidden + vocab / (2 * layers * hidden)
    found = float(envelope.training_flops(a, column(seq), column(batch)))
    assert found == pytest.approx(12 * layers * batch * seq * hidden**2 * shape, rel=1e-12)


def test_the_llama_shape_is_the_catalog_model() -> None:
    shape = envelope.llama_shape(*columns(80, 8192, 64, 8, 28672, 32000))
    model = Architecture.of(CATALOG.models["llama-2-70b"])
    assert float(total_params(shape)) == float(total_params(model)) == 68_976_648_192
    seq = column(4096)
    flops = envelope.training_flops(shape, seq, column(1))
    assert float(flops) == float(envelope.training_flops(model, seq, column(1))) == pytest.approx(1.8206e15, rel=1e-4)
    assert float(mfu(model, seq, column(1), flops / seq)) == pytest.approx(1.0)


@given(hidden=WIDTHS, heads=DEGREES.map(lambda n: 8 * n), seq=WIDTHS, batch=SIZES, t=DEGREES, scores=st.booleans())
def test_activations_equal_the_closed_forms(
    hidden: int, heads: int, seq: int, batch: int, t: int, scores: bool
) -> None:
    a = envelope.gpt_shape(*columns(1, hidden, heads, 1000))
    sbh, score = float(seq * batch * hidden), scores * 5 * heads * seq / hidden

    def saved(tp: int, sp: int) -> float:
        return float(envelope.layer_activation_bytes(a, *columns(seq, batch, tp, sp, scores)))

    assert saved(1, 0) == pytest.approx(sbh * (34 + score))
    assert saved(t, 0) == pytest.approx(sbh * (10 + 24 / t + score / t))
    assert saved(t, 1) == pytest.approx(sbh / t * (34 + score))
    assert float(envelope.recomputed_layer_bytes(a, *columns(seq, batch, t, 0))) == 2 * sbh
    assert float(envelope.recomputed_layer_bytes(a, *columns(seq, batch, t, 1))) == pytest.approx(2 * sbh / t)
