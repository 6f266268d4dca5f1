from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from catalogs import Catalog, Model
from costmodels.architecture import Architecture
from costmodels.attention import FIRST_FLASH_WIDE_RATE
from costmodels.collectives import merged_share
from costmodels.elementwise import EXPERT_BIAS, SCORES_UNFUSED, attention_bytes, moe_bytes, score_bytes
from costmodels.launch import SOFTMAX_LAUNCHES
from costmodels.layer import dense_layer, moe_layer
from tests.costmodels.bundles import device, efficiency, recipe, setting, shard


@pytest.fixture(scope="module")
def gpt() -> Model:
    return Catalog().models["gpt3-175b"].model_copy(update={"heads": 96, "kv_heads": 96, "head_dim": 128})


def core_s(model: Model, **formats: float) -> float:
    with np.errstate(all="ignore"):
        x, _ = setting(model, shard(micro_batch=1.0), recipe(**formats), seq=2048)
        return float(dense_layer(x).core_f)


def test_first_generation_of_fused_attention_is_slower_on_wide_heads_and_later_ones_on_narrow(gpt: Model) -> None:
    narrow = gpt.model_copy(update={"heads": 192, "kv_heads": 192, "head_dim": 64})
    assert core_s(gpt, first_flash=1.0) == pytest.approx(core_s(narrow, first_flash=1.0) / FIRST_FLASH_WIDE_RATE)
    assert core_s(gpt) < core_s(narrow)
    assert core_s(gpt, first_flash=1.0) == pytest.approx(core_s(gpt)), "the profile's rate is quoted at 128"


def test_softmax_kernel_takes_score_matrices_in_fours(gpt: Model) -> None:
    """Heads times sequences of a rank: 96/16 = 6 matrices go through torch, 12 through the kernel."""
    a, seq, kept = Architecture.of(gpt), np.asarray(2048.0), recipe(flash=0.0)
    one, two = shard(tp=16.0, micro_batch=1.0), shard(tp=16.0, micro_batch=2.0)
    scores = 2.0 * 6 * 2048 * 2048
    for way in (0, 1):
        extra = attention_bytes(a, one, kept, seq)[way] - attention_bytes(a, two, kept, seq)[way] / 2
        assert extra == pytest.approx(SCORES_UNFUSED[way] * scores)
    assert 2 * score_bytes(a, one, kept, seq) > score_bytes(a, two, kept, seq)
    assert score_bytes(a, one, recipe(), seq) == 0


def test_softmax_by_torch_launches_more_kernels(gpt: Model) -> None:
    """Where the host decides, a layer takes its launches."""
    slow = efficiency(layer_launch_s=1e15)
    with np.errstate(all="ignore"):
        torch, kernel = (
            dense_layer(
                replace(setting(gpt, shard(tp=16.0, micro_batch=b), recipe(flash=0.0), seq=1)[0], efficiency=slow)
            )
            for b in (1.0, 2.0)
        )
    assert torch.passes.forward == pytest.approx((1 + SOFTMAX_LAUNCHES) * kernel.passes.forward, rel=1e-4)
    assert torch.passes.backward == pytest.approx((1 + SOFTMAX_LAUNCHES) * kernel.passes.backward, rel=1e-4)


def test_merged_copies_are_the_domains_that_a_token_reaches() -> None:
    """Against every way of drawing three members of eight, in domains of two and of eight."""
    for domain in (2.0, 8.0):
        nodes = replace(device(), scale_up_domain=np.asarray(domain))
        drawn = [len({int(member // domain) for member in some}) for some in product(range(8), repeat=3)]
        share = merged_share(np.asarray(3.0), np.asarray(8.0), np.ones(()), nodes)
        assert share == pytest.approx(np.mean(drawn) / 3)


def test_dispatch_waits_unless_it_overlaps_and_sends_less_where_copies_are_merged() -> None:
    mixture, cut = Catalog().models["mixtral-8x7b"], shard(ep=8.0, micro_batch=1.0)

    def exchange_s(**formats: float) -> float:
        with np.errstate(all="ignore"):
            x, _ = setting(mixture, cut, recipe(**formats), seq=4096)
            return float(moe_layer(replace(x, efficiency=efficiency(expert_overlap=0.75))).expert_f)

    assert exchange_s(overlaps_experts=1.0) == pytest.approx(exchange_s() / 4)
    assert exchange_s(merges_copies=1.0) < exchange_s()


def test_routed_tokens_pass_through_memory_more_often_where_experts_have_biases() -> None:
    a, cut, seq = Architecture.of(Catalog().models["gpt-oss-120b"]), shard(ep=8.0, micro_batch=1.0), np.asarray(4096.0)
    plain = replace(a, expert_bias=np.zeros(()))
    routed = 2.0 * 2880 * 4 * 4096
    for way in (0, 1):
        least = moe_bytes(plain, cut, recipe(), seq, np.zeros(()))[way]
        assert moe_bytes(a, cut, recipe(), seq, np.zeros(()))[way] - least == pytest.approx(EXPERT_BIAS[way] * routed)
        assert moe_bytes(plain, cut, recipe(), seq, np.asarray(3.0))[way] - least == pytest.approx(3 * routed)
