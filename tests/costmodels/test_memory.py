"""Memory of ranks: worked cases, what must rise and fall, and the fullest stage."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from catalogs import Catalog, Model
from catalogs.model import Moe
from costmodels.activations import (
    RECOMPUTED_MODULES,
    attention_activations,
    dense_mlp_activations,
    module_activations,
    moe_activations,
)
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layers import Layers
from costmodels.layout import ALL_LAYERS, Pipe, Replicas, Shard
from costmodels.memory import (
    allocated_bytes,
    first_step_bytes,
    needed_bytes,
    on_device,
    rank_bytes,
    reserved_bytes,
)
from costmodels.parameters import mtp_params
from costmodels.partition import can_partition, peak_stages, stage_layers
from costmodels.recipe import Recipe
from costmodels.schedule import in_flight
from costmodels.stage_bytes import StageBytes, stage_bytes
from costmodels.states import stage_rank_params
from tests.costmodels.bundles import pipe, recipe, replicas, setting, shard

GB = 1e9


def state_bytes(params: float, r: Recipe, *, zero: int, dp: int) -> dict[str, float]:
    """State of a rank that holds ``params`` before data-parallel sharding."""
    nothing = {name: np.zeros(()) for name in StageBytes.names()}
    stage = StageBytes(**(nothing | {"dense_params": np.asarray(params)}))
    parts = rank_bytes(stage, shard(), pipe(), replicas(dp=dp, zero=zero), r)
    return {name: float(value) for name, value in parts.items()}


FOURTEEN = recipe(master_bytes=0.0)
SIXTEEN = recipe(gradient_bytes=2.0)
EIGHTEEN = recipe()


@pytest.mark.parametrize(("r", "per_param"), [(FOURTEEN, 14), (SIXTEEN, 16), (EIGHTEEN, 18)])
def test_state_per_parameter(r: Recipe, per_param: int) -> None:
    assert sum(state_bytes(70e9, r, zero=0, dp=1).values()) == per_param * 70e9


def test_seventy_billion() -> None:
    """980 GB in all; 15.3 GB per accelerator once tensor and pipeline parallelism of 8 each have split it."""
    assert sum(state_bytes(70e9, FOURTEEN, zero=0, dp=1).values()) == 980 * GB
    assert sum(state_bytes(70e9 / 64, FOURTEEN, zero=0, dp=1).values()) == pytest.approx(15.3 * GB, rel=1e-3)


@pytest.mark.parametrize(
    ("zero", "expected"),
    [(0, 16.0), (1, 4 + 12 / 64), (2, 2 + 14 / 64), (3, 16 / 64)],
)
def test_zero_stages(zero: int, expected: float) -> None:
    """Rajbhandari et al. 2020, figure 1: 7.5B parameters over 64 ranks take 120, 31.4, 16.6 and 1.9 GB."""
    assert sum(state_bytes(7.5e9, SIXTEEN, zero=zero, dp=64).values()) == pytest.approx(expected * 7.5e9)


def test_zero_two_and_three_of_the_fourteen_byte_recipe() -> None:
    """2P + 12P/N and 14P/N."""
    assert sum(state_bytes(70e9, FOURTEEN, zero=2, dp=64).values()) == pytest.approx(2 * 70e9 + 12 * 70e9 / 64)
    assert sum(state_bytes(70e9, FOURTEEN, zero=3, dp=64).values()) == pytest.approx(14 * 70e9 / 64)


def test_fully_sharded_parameters_without_resharding() -> None:
    """FSDP's shard-grad-op keeps fp32 shards and one gathered half-precision copy."""
    fsdp = recipe(parameter_bytes=4.0, master_bytes=0.0)
    parts = state_bytes(8e9, fsdp, zero=2, dp=8)
    assert parts["weights"] == 4 * 8e9 / 8
    assert parts["gathered"] == 2 * 8e9


def test_pipelines_keep_gathered_gradients_beside_unsharded_weights() -> None:
    """With stages, shard-grad-op reduces after the last micro-batch (torch.distributed.pipelining)."""
    nothing = {name: np.zeros(()) for name in StageBytes.names()}
    stage = StageBytes(**(nothing | {"dense_params": np.asarray(1e9)}))
    fsdp = recipe(parameter_bytes=4.0, master_bytes=0.0)
    parts = rank_bytes(stage, shard(), pipe(pp=2.0), replicas(dp=8, zero=2.0), fsdp)
    assert float(parts["gathered"]) == 4e9


def test_offloaded_optimizer_leaves_weights_and_gradients() -> None:
    nothing = {name: np.zeros(()) for name in StageBytes.names()}
    stage = StageBytes(**(nothing | {"dense_params": np.asarray(1e9)}))
    parts = rank_bytes(stage, shard(), pipe(), replicas(offload_optimizer=1.0), EIGHTEEN)
    assert float(allocated_bytes(parts)) == 6e9


LLAMA = Model(
    name="llama", family="llama", layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336,
    vocab=128256, gated=True, tied=False, sources={"*": "made up"}, date="2026",
)  # fmt: skip


def whole(model: Model, s: Shard, p: Pipe, n: Replicas, r: Recipe, seq: float = 4096.0) -> float:
    """Peak of all stages, reserve and fragmentation included."""
    x, layers = setting(model, s, r, seq=seq)
    peaks = [
        sum(rank_bytes(stage_bytes(x, layers, p, np.asarray(float(k))), s, p, n, r).values()) for k in range(int(p.pp))
    ]
    return float(max(peaks))


@given(
    st.sampled_from([1.0, 2.0, 4.0]),
    st.sampled_from([1.0, 2.0, 4.0]),
    st.sampled_from([2.0, 8.0, 64.0]),
    st.booleans(),
    st.sampled_from([2.0, 4.0]),
)
@settings(max_examples=50, deadline=None)
def test_memory_falls_with_the_zero_stage(tp: float, pp: float, dp: float, full: bool, gradient: float) -> None:
    """Of state, always; of the whole up to stage 2, which adds no gathered weights."""
    s = shard(tp=tp, sp=1.0, recompute_layers=ALL_LAYERS * full)
    r = recipe(gradient_bytes=gradient)
    state = []
    for zero in (0.0, 1.0, 2.0, 3.0):
        x, layers = setting(LLAMA, s, r, seq=4096.0)
        p = pipe(pp=pp)
        parts = rank_bytes(stage_bytes(x, layers, p, np.asarray(0.0)), s, p, replicas(dp=dp, zero=zero), r)
        state.append(sum(float(parts[n]) for n in ("weights", "gradients", "master_weights", "optimizer")))
    assert state == sorted(state, reverse=True)
    totals = [whole(LLAMA, s, pipe(pp=pp), replicas(dp=dp, zero=z, micro_batches=8.0), r) for z in (0.0, 1.0)]
    assert totals == sorted(totals, reverse=True)


@given(st.sampled_from([1.0, 2.0, 8.0]), st.booleans(), st.booleans(), st.sampled_from([1.0, 4.0]))
@settings(max_examples=40, deadline=None)
def test_memory_rises_with_the_micro_batch(tp: float, full: bool, selective: bool, pp: float) -> None:
    totals = [
        whole(
            LLAMA,
            shard(tp=tp, sp=1.0, micro_batch=b, recompute_layers=ALL_LAYERS * full, selective=float(selective)),
            pipe(pp=pp),
            replicas(micro_batches=8.0),
            EIGHTEEN,
        )
        for b in (1.0, 2.0, 4.0, 8.0)
    ]
    assert all(a < b for a, b in pairwise(totals))


@given(st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([1.0, 2.0, 4.0]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_recomputation_and_sequence_parallelism_save(tp: float, pp: float, moe: bool) -> None:
    model = LLAMA.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=14336)}) if moe else LLAMA
    n = replicas(micro_batches=8.0)
    p, r = pipe(pp=pp), recipe(operator_recompute=1.0)
    none, some, full = (
        whole(model, shard(tp=tp, micro_batch=2.0, **kind), p, n, r)
        for kind in ({}, {"selective": 1.0}, {"recompute_layers": ALL_LAYERS})
    )
    assert full < some < none
    assert whole(model, shard(tp=tp, sp=1.0, micro_batch=2.0), p, n, r) <= none


@pytest.mark.parametrize(
    ("p", "micro_batches", "expected"),
    [
        (pipe(pp=4.0), 8.0, [4, 3, 2, 1]),
        (pipe(pp=4.0), 2.0, [2, 2, 2, 1]),
        (pipe(pp=4.0, zero_bubble=1.0), 8.0, [4, 3, 2, 1]),
        # Interleaved, in chunks of half a stage: 2(p-1-i) + (v-1)p + 1.
        (pipe(pp=4.0, vpp=2.0), 8.0, [11 / 2, 9 / 2, 7 / 2, 5 / 2]),
        (pipe(pp=2.0, vpp=4.0), 2.0, [8 / 4, 7 / 4]),
    ],
)
def test_micro_batches_in_flight(p: Pipe, micro_batches: float, expected: list[float]) -> None:
    held = [float(in_flight(p, np.asarray(micro_batches), np.asarray(float(i)))) for i in range(int(p.pp))]
    assert held == expected


def test_allocated_reserved_and_device() -> None:
    x, layers = setting(LLAMA, shard(), EIGHTEEN, seq=4096.0)
    stage = stage_bytes(x, layers, pipe(), np.asarray(0.0))
    r = recipe(fragmentation=0.05, reserve_bytes=GB)
    parts = rank_bytes(stage, shard(), pipe(), replicas(), r)
    allocated = float(allocated_bytes(parts))
    assert float(reserved_bytes(parts)) == pytest.approx(1.05 * allocated)
    assert float(sum(parts.values())) == pytest.approx(1.05 * allocated + GB)
    states = sum(float(parts[n]) for n in ("weights", "gradients", "master_weights", "optimizer"))
    first = float(first_step_bytes(parts, np.asarray(GB)))
    assert first == max(states + GB, allocated - float(parts["optimizer"]))


def test_the_cache_shrinks_where_memory_is_short() -> None:
    """Of 100 GB live and 12 GB cached a device of 110 GB shows 110 and one of 100 GB needs 103."""
    parts = {"weights": np.asarray(100 * GB), "fragmentation": np.asarray(12 * GB), "reserve": np.asarray(0.0)}
    held = {c: float(reserved_bytes(on_device(parts, np.asarray(c * GB)))) / GB for c in (200, 110, 100)}
    assert held == {200: 112.0, 110: 110.0, 100: 103.0}
    assert float(needed_bytes(parts)) == 103 * GB


def test_temporaries_of_the_update_come_when_activations_are_gone() -> None:
    """They count only beyond what the passes needed, over the whole partition or over its largest tensor."""
    nothing = {name: np.zeros(()) for name in StageBytes.names()}
    size = {"dense_params": np.asarray(4 * GB), "end_unit_params": np.asarray(GB)}
    for working, by_tensor, zero, expected in ((0, 0, 0, 32), (5, 0, 0, 27), (40, 0, 0, 0), (0, 0, 1, 8), (0, 1, 0, 8)):
        stage = StageBytes(**(nothing | size | {"working_bytes": np.asarray(working * GB)}))
        r = recipe(update_bytes=8.0, update_by_tensor=by_tensor)
        parts = rank_bytes(stage, shard(), pipe(), replicas(dp=4, zero=zero), r)
        assert float(parts["update"]) == expected * GB


def test_parameters_that_may_stay_gathered() -> None:
    """DeepSpeed gathers matrices up to a number of parameters: more than two small layers, less than one huge layer."""
    nothing = {name: np.zeros(()) for name in StageBytes.names()}
    for unit, total, expected in ((0.2, 7.0, 1.0), (6.0, 500.0, 2.0), (0.2, 0.6, 0.6)):
        size = {"dense_params": np.asarray(total * GB), "unit_dense_params": np.asarray(unit * GB)}
        r = recipe(live_params=GB, reduce_bytes=0.0)
        parts = rank_bytes(StageBytes(**(nothing | size)), shard(), pipe(), replicas(dp=8, zero=3.0), r)
        assert float(parts["gathered"]) == pytest.approx(2 * expected * GB)


def test_a_share_of_the_layers_offloaded() -> None:
    """All of them leaves two layers on the device; half of them leaves half, into whose room the others come back."""
    held = []
    for share in (0.0, 0.5, 1.0):
        x, layers = setting(LLAMA, shard(offload_activations=share), EIGHTEEN, seq=4096.0)
        held.append(float(stage_bytes(x, layers, pipe(), np.asarray(0.0)).activation_bytes))
    assert held[1] == pytest.approx(held[0] * 0.5)
    assert held[2] == pytest.approx(held[0] * 2 / 32)


def test_weights_in_low_precision_alone() -> None:
    """As many bytes as half-precision weights, not three half-precision bytes more; blockwise formats keep both."""
    frameworks = Catalog().frameworks
    for name, precision, expected in (
        ("megatron-lm", "fp8", 4.0),
        ("megatron-bridge", "fp8", 2.0),
        ("megatron-bridge", "mxfp8", 2.0625),
        ("nemo", "mxfp8", 4.0625),
        ("nemo", "bf16", 2.0),
    ):
        r = Recipe.of(frameworks[name], precision, "adamw")  # type: ignore[arg-type]
        assert float(r.parameter_bytes + r.cast_bytes) == expected


def test_norms_and_keys_of_single_operations() -> None:
    """An fp32 copy of the stream per norm, and keys and values of every query head."""
    s, seq = shard(), np.asarray(1024.0)
    a = Architecture.of(LLAMA)
    plain = float(attention_activations(a, s, recipe(), seq))
    assert float(attention_activations(a, s, recipe(norm_bytes=4.0), seq)) - plain == 4 * 4096 * 1024
    repeated = float(attention_activations(a, s, recipe(repeated_keys=1.0), seq))
    assert repeated - plain == 2 * 2 * (32 - 8) * 128 * 1024


def test_half_precision_gradients_in_fp16() -> None:
    """Megatron-LM: 16 bytes per parameter instead of 18, and 4 more of each rank's partition while it updates."""
    framework = Catalog().frameworks["megatron-lm"]
    fp16, bf16 = (Recipe.of(framework, precision, "adamw") for precision in ("fp16", "bf16"))
    per_param = [float(r.parameter_bytes + r.gradient_bytes + r.master_bytes + r.moment_bytes) for r in (fp16, bf16)]
    assert per_param == [16.0, 18.0]
    assert (float(fp16.update_bytes), float(fp16.reduce_bytes), float(bf16.update_bytes)) == (4.0, 2.0, 0.0)
    alone = Recipe.of(Catalog().frameworks["mindformers-mindspore"], "fp16", "adamw")
    assert (float(alone.parameter_bytes), float(alone.update_bytes)) == (2.0, 0.0)


def test_masks_that_layers_hold() -> None:
    """One byte per pair of tokens and layer, however many micro-batches are in flight."""
    x, layers = setting(LLAMA, shard(), recipe(layer_masks=1.0), seq=4096.0)
    plain, kept = setting(LLAMA, shard(), recipe(), seq=4096.0)
    deep = pipe(pp=4.0)
    first = np.asarray(0.0)
    held = stage_bytes(x, layers, deep, first).end_bytes - stage_bytes(plain, kept, deep, first).end_bytes
    assert float(held) == LLAMA.layers / 4 * 4096**2


def test_layers_that_do_not_divide_go_to_the_last_stages() -> None:
    """InternEvo cuts 32 layers into five stages as 6, 6, 6, 7, 7; Megatron-LM leaves the ends short."""
    a, five = Architecture.of(LLAMA), pipe(pp=5.0)
    counts = [float(stage_layers(a, five, np.asarray(float(k)), np.asarray(1.0))[0]) for k in range(5)]
    assert counts == [6, 6, 6, 7, 7]
    assert [float(stage_layers(a, five, np.asarray(float(k)))[0]) for k in range(5)] == [6, 7, 7, 7, 5]


def test_single_modules_recomputed() -> None:
    """All that they name together leave what a layer's norms, its attention and its MLP's inputs save."""
    moe = LLAMA.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=1024, shared_ffn=512), "qk_norm": "none"})
    a, r, seq, here = Architecture.of(moe), recipe(), np.asarray(4096.0), shard(micro_batch=2.0)
    none = dict.fromkeys(RECOMPUTED_MODULES, np.zeros(()))
    assert not np.any(module_activations(a, here, r, seq, none))
    _, whole = module_activations(a, here, r, seq, none | {"moe": np.ones(())})
    parts = [
        float(module_activations(a, here, r, seq, none | {name: np.ones(())})[1]) for name in ("moe_act", "layernorm")
    ]
    tokens = 2 * 4096.0
    assert parts == [tokens * 2 * 2 * 1024, 2 * tokens * 2 * moe.hidden]
    kept = float(moe_activations(a, here, r, seq) - whole)  # the norm's input and the block's
    assert kept == pytest.approx(2 * tokens * 2 * moe.hidden)
    dense, _ = module_activations(a, here, r, seq, none | {"mlp": np.ones(())})
    assert float(dense_mlp_activations(a, here, r, seq) - dense) == pytest.approx(2 * tokens * 2 * moe.hidden)


def test_stage_parameters_add_up() -> None:
    """Over all stages and tensor ranks, nothing is lost: replicated norms alone are counted more than once."""
    a = Architecture.of(LLAMA)
    held = 0.0
    for k in range(4):
        stage = np.asarray(float(k))
        dense, moe = stage_layers(a, pipe(pp=4.0), stage)
        held += float(sum(stage_rank_params(a, shard(), pipe(pp=4.0), stage, dense, moe)))
    assert held == 8_030_261_248  # the published count of Llama-3-8B


def test_prediction_layers_stand_on_the_last_stage() -> None:
    """Multi-token prediction adds its layer, its projection and norms, and a copy of the embedding."""
    plain, predicting = (Architecture.of(LLAMA.model_copy(update={"mtp_layers": n})) for n in (0, 1))
    p = pipe(pp=4.0)

    def held(a: Architecture, k: float) -> float:
        dense, moe = stage_layers(a, p, np.asarray(k))
        return float(sum(stage_rank_params(a, shard(), p, np.asarray(k), dense, moe)))

    for k in (0.0, 1.0, 2.0):
        assert held(predicting, k) == held(plain, k)
    assert held(predicting, 3.0) - held(plain, 3.0) == float(mtp_params(predicting)) + 4096 * 128256


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Model, Pipe]:
    """A model and a way to cut it, MoE or dense, even or uneven."""
    layers = draw(st.integers(2, 60))
    moe = None
    if draw(st.booleans()):
        first = draw(st.integers(0, min(layers - 1, 7)))
        every = draw(st.sampled_from([1, 1, 1, 2]))
        moe = Moe(
            experts=draw(st.sampled_from([4, 16])),
            topk=2,
            ffn=draw(st.sampled_from([64, 512, 4096])),
            shared_ffn=draw(st.sampled_from([0, 256])),
            first_dense_layers=first,
            every=every,
        )
    model = LLAMA.model_copy(
        update={
            "layers": layers,
            "hidden": draw(st.sampled_from([256, 1024])),
            "heads": 8,
            "kv_heads": draw(st.sampled_from([1, 8])),
            "head_dim": 64,
            "ffn": draw(st.sampled_from([256, 2048, 16384])),
            "vocab": draw(st.sampled_from([512, 32000, 256000])),
            "tied": draw(st.booleans()),
            "mtp_layers": draw(st.sampled_from([0, 0, 1])),
            "moe": moe,
        }
    )
    return model, pipe(pp=draw(st.integers(1, 16)), vpp=draw(st.sampled_from([1, 1, 2, 3])))


@given(stacks(), st.data())
@settings(max_examples=300, deadline=None)
def test_peak_stages_hold_the_peak(stack: tuple[Model, Pipe], data: st.DataObject) -> None:
    """The fullest of all stages is as full as the fullest of the few that are looked at."""
    model, p = stack
    a = Architecture.of(model)
    assume(bool(can_partition(a, p, np.ones(()))))
    r = recipe(stage_outputs=data.draw(st.sampled_from([0.0, 1.0])), scratch_gradient_bytes=2.0)
    s = shard(
        tp=data.draw(st.sampled_from([1.0, 2.0])),
        recompute_layers=data.draw(st.sampled_from([0.0, 1.0, 3.0, ALL_LAYERS])),
        micro_batch=data.draw(st.sampled_from([1.0, 4.0])),
    )
    n = replicas(
        dp=4.0,
        zero=data.draw(st.sampled_from([0.0, 1.0, 2.0, 3.0])),
        micro_batches=data.draw(st.sampled_from([1.0, 2.0, 5.0, 64.0])),
    )
    x, layers = setting(model, s, r, seq=data.draw(st.sampled_from([128.0, 4096.0])))

    def bytes_of(stage: Column) -> Column:
        return sum(rank_bytes(stage_bytes(x, layers, p, stage), s, p, n, r).values(), np.zeros(()))

    every = bytes_of(np.arange(int(p.pp), dtype=np.float64))
    some = reduce(np.maximum, [bytes_of(stage) for stage in peak_stages(a, p)])
    assert float(some) == pytest.approx(float(np.max(every)), rel=1e-12)


def test_columns_broadcast() -> None:
    """A table of shards gives what each shard gives alone."""
    tp = np.array([1.0, 2.0, 4.0, 8.0])
    x, layers = setting(LLAMA, replace(shard(), tp=tp), EIGHTEEN, seq=4096.0)
    table = stage_bytes(x, layers, pipe(pp=2.0), np.asarray(1.0))
    for i, degree in enumerate(tp):
        one: Layers
        y, one = setting(LLAMA, shard(tp=degree), EIGHTEEN, seq=4096.0)
        alone = stage_bytes(y, one, pipe(pp=2.0), np.asarray(1.0))
        for name in ("dense_params", "activation_bytes", "working_bytes"):
            assert np.broadcast_to(getattr(table, name), 4)[i] == getattr(alone, name)
