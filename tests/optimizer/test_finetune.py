"""Fine-tuning: what adapters and four-bit weights save, on clusters down to one consumer card."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError
from costmodels.adapters import (
    MODULES,
    NF4_BYTES,
    Adapters,
    Tuning,
    dense_adapter_activations,
    frozen_weight_bytes,
    layer_adapter_params,
    quantised_params,
    total_adapter_params,
    tuning_flops_per_token,
)
from costmodels.architecture import Architecture
from costmodels.flops import forward_flops, model_flops_per_token
from costmodels.parameters import total_params
from optimizer.configure import configure
from optimizer.finetune import Tuned, sequences, tune
from optimizer.inverse.least import fastest, ground
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.request import read_job
from optimizer.tuning import FineTuning, Method
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli
from tests.costmodels.bundles import recipe, shard

CATALOG = Catalog()
ONE = np.ones(())


def job(model: str = "llama-3-8b", part: str = "h100-sxm-80g", seq: int = 4096, **more: Any) -> Job:
    return read_job(CATALOG, model, 1e9, hardware=[part], seq=seq, global_batch=64, **more)


def tuned(method: Method, accelerators: int | None = None, **more: Any) -> Tuned:
    """Fine-tuning of a model on a part, the rest as in :class:`FineTuning`."""
    model, part, seq = more.pop("model", "llama-3-8b"), more.pop("part", "h100-sxm-80g"), more.pop("seq", 4096)
    epochs, frameworks = more.pop("epochs", 1.0), more.pop("frameworks", ())
    question = replace(job(model, part, seq, frameworks=frameworks), tuning=FineTuning(method, **more))
    return tune(question, CATALOG, accelerators, epochs=epochs)


def adapters(rank: int, *names: str) -> Adapters:
    return Adapters.from_values(rank=rank, **{name: float(name in (names or MODULES)) for name in MODULES})


@pytest.mark.parametrize(
    ("model", "rank", "names", "expected"),
    [
        # Trainable parameters as peft prints them for these models.
        ("llama-2-7b", 8, ("q", "v"), 4_194_304),
        ("llama-2-7b", 16, MODULES, 39_976_960),
        ("llama-2-70b", 16, MODULES, 207_093_760),
        ("llama-3-8b", 16, MODULES, 41_943_040),
    ],
)
def test_trainable_parameters(model: str, rank: int, names: tuple[str, ...], expected: int) -> None:
    a = Architecture.of(CATALOG.models[model])
    assert float(total_adapter_params(a, adapters(rank, *names))) == expected


def test_joint_adapters_share_their_inner_product() -> None:
    a = Architecture.of(CATALOG.models["llama-3-8b"])
    apart = adapters(32, "q", "k", "v")
    joint = replace(apart, joint=ONE)
    # Counted by hand: one product from 4096 to 32 instead of three.
    outputs = 32 * (4096 + 2 * 1024)
    assert float(total_adapter_params(a, apart)) == 32 * (3 * 4096 * 32 + outputs)
    assert float(total_adapter_params(a, joint)) == 32 * (4096 * 32 + outputs)
    partial = replace(adapters(32, "q", "v"), joint=ONE)
    assert float(total_adapter_params(a, partial)) == float(total_adapter_params(a, adapters(32, "q", "v")))


def test_adapters_of_experts() -> None:
    a = Architecture.of(CATALOG.models["mixtral-8x7b"])
    attention = 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024))
    experts = 8 * 16 * 3 * (4096 + 14336)
    assert float(total_adapter_params(a, adapters(16))) == 32 * (attention + experts)


def test_adapters_split_over_tensor_parallel_ranks() -> None:
    a = Architecture.of(CATALOG.models["llama-3-8b"])
    whole, split = (float(layer_adapter_params(a, adapters(16), np.asarray(tp))) for tp in (1.0, 4.0))
    assert whole / 4 < split < whole


def test_four_bit_weights() -> None:
    assert pytest.approx((4 + 0.127) / 8, rel=1e-3) == NF4_BYTES
    a = Architecture.of(CATALOG.models["llama-2-70b"])
    params = total_params(a)
    matrices, none = quantised_params(a, shard(), a.layers, np.zeros(())), np.zeros(())
    assert float(frozen_weight_bytes(params, matrices, ONE, none)) / 1e9 == pytest.approx(36.4, rel=0.01)
    assert float(frozen_weight_bytes(params, matrices, none, none)) == 2 * float(params)


def test_frozen_weights_have_no_weight_gradients() -> None:
    a, seq = Architecture.of(CATALOG.models["llama-3-8b"]), np.asarray(128.0)
    linear = sum(float(v) for k, v in forward_flops(a, seq, causal=True).items() if k != "attention_core")
    frozen = float(tuning_flops_per_token(a, Tuning.of(adapters(1, "q")), seq, causal=True))
    assert 2.0 * linear < frozen < 2.05 * linear
    assert frozen < 0.7 * float(model_flops_per_token(a, seq))
    whole = float(tuning_flops_per_token(a, Tuning.whole(), seq, causal=False))
    assert whole == pytest.approx(float(model_flops_per_token(a, seq)), rel=1e-12)


def test_activations_shrink_with_fewer_adapters_but_stay_where_needed() -> None:
    a, seq, s, r = Architecture.of(CATALOG.models["llama-3-8b"]), np.asarray(4096.0), shard(), recipe()
    chosen = [Tuning.of(adapters(16, *names)) for names in (MODULES, ("q", "v"), ("o",))]
    sizes = [float(dense_adapter_activations(a, one, s, r, seq)) for one in chosen]
    assert sizes[0] > sizes[1] > sizes[2] > 0.5 * sizes[0]


def test_each_method_needs_less_than_the_one_before() -> None:
    methods: tuple[Method, ...] = ("full", "lora", "qlora")
    found = [tuned(method, model="llama-2-70b", part="a800-sxm-80g").configuration for method in methods]
    assert found[0].accelerators > found[1].accelerators > found[2].accelerators
    for one in found:
        assert one.fits
        assert min(one.memory.values()) >= 0
    lora, qlora = found[1:]
    assert qlora.memory["frozen_weights"] < lora.memory["frozen_weights"] * lora.accelerators


def test_fewest_is_tight() -> None:
    found = tuned("lora", model="llama-2-70b", part="a800-sxm-80g").configuration
    for fewer in range(1, found.accelerators):
        with pytest.raises(InfeasibleError, match="does not fit"):
            tuned("lora", fewer, model="llama-2-70b", part="a800-sxm-80g")


def test_one_consumer_card() -> None:
    assert tuned("qlora", 1, part="rtx-4090", seq=2048).configuration.accelerators == 1
    with pytest.raises(InfeasibleError):
        tuned("full", 1, part="rtx-4090", seq=2048)


def test_pairs_cost_a_forward_pass_of_the_reference() -> None:
    plain, paired = tuned("lora", 8).configuration, tuned("lora", 8, reference="beside").configuration
    assert 1.2 < paired.step_s / plain.step_s < 1.6
    assert paired.layout.micro_batch % 2 == 0
    assert sum(paired.time.values()) == pytest.approx(paired.step_s)
    # Beforehand it costs once what beside the training it costs in every epoch.
    before = tuned("lora", 8, reference="precomputed", epochs=4.0)
    assert before.configuration.step_s < paired.step_s
    assert 0.05 < before.reference_hours / (24 * before.configuration.days) < 0.12
    assert before.hours == 24 * before.configuration.days + before.reference_hours
    assert sequences(100, 1, 2048, 4096, packed=True, pairs=True) == 100


def test_a_reference_of_its_own_is_held_where_all_weights_are_trained() -> None:
    job_of = {name: replace(job(), tuning=FineTuning("full", reference=name)) for name in ("precomputed", "beside")}
    site = ground(replace(job_of["beside"], max_accelerators=8), CATALOG)
    layout = fastest(replace(job_of["beside"], max_accelerators=8), site, CATALOG)
    assert layout is not None
    held = {name: configure(Physics.of(one, site, CATALOG), layout, None).memory for name, one in job_of.items()}
    params = float(total_params(Architecture.of(CATALOG.models["llama-3-8b"])))
    assert "frozen_weights" not in held["precomputed"]
    assert held["beside"]["frozen_weights"] == pytest.approx(2 * params / (layout.tp * layout.pp), rel=0.15)
    assert held["beside"]["activations"] == held["precomputed"]["activations"]


def test_sharded_weights_fit_where_whole_ones_do_not() -> None:
    question = replace(
        job("llama-2-70b", frameworks=["torchtitan-fsdp2"]), tuning=FineTuning("lora"), max_accelerators=8
    )
    site = ground(question, CATALOG)
    layout = fastest(question, site, CATALOG)
    assert layout is not None
    plain = replace(layout, tp=1, dp=8, micro_batch=1, micro_batches=8, sequence_parallel=False, recompute="full")
    physics = Physics.of(question, site, CATALOG)
    whole, sharded = (configure(physics, replace(plain, zero=zero), None) for zero in (2, 3))
    assert sharded.memory["frozen_weights"] == pytest.approx(whole.memory["frozen_weights"] / 8)
    assert not whole.fits
    assert sharded.fits
    # Gathered forward and backward for every micro-batch instead of never.
    assert sharded.time["data_comm"] > whole.time["data_comm"]


def test_experts_are_spread_and_stages_used() -> None:
    found = tuned("lora", 8, model="mixtral-8x7b").configuration
    assert found.layout.ep * found.layout.pp * found.layout.tp * found.layout.cp > 1
    deep = tuned("lora", model="llama-2-70b", part="a800-sxm-80g").configuration
    assert deep.layout.pp > 1


def test_attention_stays_within_packed_examples() -> None:
    packed, whole = (tuned("lora", 8, seq=32768, example_tokens=n).configuration for n in (512.0, None))
    assert packed.step_s < 0.8 * whole.step_s


def test_no_weight_gradient_and_no_gradient_traffic() -> None:
    """The time of a frozen layer against that of full training, on one layout."""
    question = job()
    site = ground(replace(question, max_accelerators=8), CATALOG)
    layout = fastest(replace(question, max_accelerators=8), site, CATALOG)
    assert layout is not None
    full = configure(Physics.of(question, site, CATALOG), layout, None)
    frozen = replace(question, tuning=FineTuning("lora", modules=("q", "v")))
    lora = configure(Physics.of(frozen, site, CATALOG), layout, None)
    assert 0.6 < lora.time["matmul"] / full.time["matmul"] < 0.72
    assert lora.time["optimizer"] < 0.01 * full.time["optimizer"]
    assert lora.time["data_comm"] <= 0.05 * max(full.time["data_comm"], 1e-3)
    assert lora.mfu < full.mfu * full.step_s / lora.step_s


def test_command(cli: Cli) -> None:
    arguments = ("finetune", "-m", "llama-3-8b", "-H", "rtx-4090", "-a", "1", "--method", "qlora", "--seq", "2048")
    done = cli(*arguments, "--modules", "q,v", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["trainable_params"] == float(
        total_adapter_params(Architecture.of(CATALOG.models["llama-3-8b"]), adapters(16, "q", "v"))
    )
    assert "parameters trained" in cli(*arguments).out
    assert "clusterplan finetune " in cli("finetune", "--help").out


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ("-m", "llama-3-8b", "-H", "h100-sxm-80g", "--method", "some"), "--method"),
        (2, ("-m", "llama-3-8b", "-H", "h100-sxm-80g", "--modules", "query"), "query"),
        (2, ("-m", "deepseek-v3", "-H", "h100-sxm-80g"), "latent attention"),
        (2, ("-m", "llama-3-8b", "-H", "h100-sxm-80g", "--precomputed-reference"), "--pairs"),
        (2, ("-m", "llama-3-8b", "-H", "h100-sxm-80g", "--rank", "0"), "--rank"),
        (2, ("-m", "llama-3-8b", "-H", "h100-sxm-80g", "--seq", "512", "--mean-tokens", "600"), "do not fit"),
        (4, ("-m", "llama-2-70b", "-H", "rtx-4090", "-a", "1"), "does not fit"),
    ],
)
def test_refusals(cli: Cli, code: int, arguments: tuple[str, ...], words: str) -> None:
    done = cli("finetune", *arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert words in done.err
