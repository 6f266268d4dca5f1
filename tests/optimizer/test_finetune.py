"""Fine-tuning: what adapters and four-bit weights save, on clusters down to one consumer card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from costmodels.adapters import (
    MODULES,
    NF4_BYTES,
    Adapters,
    adapter_activations,
    adapter_flops_per_token,
    frozen_weight_bytes,
    layer_adapter_params,
    total_adapter_params,
)
from costmodels.architecture import Architecture
from costmodels.flops import forward_flops, model_flops_per_token
from costmodels.parameters import total_params
from optimizer.finetune import Tuning, sequences, tune
from optimizer.job import Job
from optimizer.request import read_job
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli
from tests.costmodels.bundles import recipe, shard

CATALOG = Catalog()
ONE = np.ones(())


def job(model: str = "llama-3-8b", part: str = "h100-sxm-80g", seq: int = 4096, **more: Any) -> Job:
    return read_job(CATALOG, model, 1e9, hardware=[part], seq=seq, global_batch=64, **more)


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


def test_adapters_split_over_tensor_parallel_ranks() -> None:
    a = Architecture.of(CATALOG.models["llama-3-8b"])
    whole, split = (float(layer_adapter_params(a, adapters(16), np.asarray(tp))) for tp in (1.0, 4.0))
    assert whole / 4 < split < whole


def test_four_bit_weights() -> None:
    assert pytest.approx((4 + 0.127) / 8, rel=1e-3) == NF4_BYTES
    a = Architecture.of(CATALOG.models["llama-2-70b"])
    params = total_params(a)
    size = float(frozen_weight_bytes(a, params, ONE, quantised=True))
    assert size / 1e9 == pytest.approx(36.4, rel=0.01)
    assert float(frozen_weight_bytes(a, params, ONE, quantised=False)) == 2 * float(params)


def test_frozen_weights_have_no_weight_gradients() -> None:
    a, seq = Architecture.of(CATALOG.models["llama-3-8b"]), np.asarray(128.0)
    linear = sum(float(v) for k, v in forward_flops(a, seq, causal=True).items() if k != "attention_core")
    frozen = float(adapter_flops_per_token(a, adapters(1, "q"), seq))
    assert 2.0 * linear < frozen < 2.05 * linear
    assert frozen < 0.7 * float(model_flops_per_token(a, seq))


def test_activations_shrink_with_fewer_adapters_but_stay_where_needed() -> None:
    a, seq, s, r = Architecture.of(CATALOG.models["llama-3-8b"]), np.asarray(4096.0), shard(), recipe()
    sizes = [float(adapter_activations(a, adapters(16, *n), s, r, seq)) for n in (MODULES, ("q", "v"), ("o",))]
    assert sizes[0] > sizes[1] > sizes[2] > 0.5 * sizes[0]


def test_each_method_needs_less_than_the_one_before() -> None:
    found = {
        method: tune(job("llama-2-70b", "a800-sxm-80g"), Tuning(method), CATALOG)
        for method in ("full", "lora", "qlora")
    }  # type: ignore[arg-type]
    assert found["full"].accelerators > found["lora"].accelerators > found["qlora"].accelerators
    for one in found.values():
        assert one.memory_bytes <= one.capacity_bytes
        assert min(one.memory.values()) >= 0
    assert found["qlora"].memory["frozen_weights"] < found["lora"].memory["frozen_weights"] * found["lora"].accelerators


def test_fewest_is_tight() -> None:
    found = tune(job("llama-2-70b", "a800-sxm-80g"), Tuning("lora"), CATALOG)
    for fewer in range(1, found.accelerators):
        with pytest.raises(InfeasibleError, match="does not fit"):
            tune(job("llama-2-70b", "a800-sxm-80g"), Tuning("lora"), CATALOG, fewer)


def test_one_consumer_card() -> None:
    found = tune(job(part="rtx-4090", seq=2048), Tuning("qlora"), CATALOG, 1)
    assert found.accelerators == 1
    with pytest.raises(InfeasibleError):
        tune(job(part="rtx-4090", seq=2048), Tuning("full"), CATALOG, 1)


def test_pairs_cost_a_forward_pass_of_the_reference() -> None:
    plain = tune(job(), Tuning("lora"), CATALOG, 8)
    paired = tune(job(), Tuning("lora", pairs=True), CATALOG, 8)
    assert 1.2 < paired.step_s / plain.step_s < 1.6
    assert sequences(100, 1, 2048, 4096, packed=True, pairs=True) == 100
    with pytest.raises(UsageError, match="second model"):
        Tuning("full", pairs=True)


def test_sharded_weights_fit_where_whole_ones_do_not() -> None:
    sharded = tune(job("llama-2-70b", frameworks=["torchtitan-fsdp2"]), Tuning("lora"), CATALOG, 8)
    assert sharded.memory_bytes <= sharded.capacity_bytes


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
        (2, ("-m", "mixtral-8x7b", "-H", "h100-sxm-80g"), "dense"),
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
