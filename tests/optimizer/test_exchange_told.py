"""What a plan with expert parallelism says that it takes for granted."""

from __future__ import annotations

from dataclasses import replace

from catalogs import Catalog
from optimizer.configuration import Layout
from optimizer.explain import told_exchange

EXPERTS = Layout(
    tp=1,
    pp=2,
    vpp=1,
    dp=16,
    cp=1,
    ep=8,
    etp=1,
    zero=1,
    zero_group=0,
    micro_batch=1,
    micro_batches=8,
    global_batch=128,
    recompute="none",
    sequence_parallel=False,
    schedule="1f1b",
    offload="none",
)


def test_a_switch_that_a_plan_rests_on_is_named() -> None:
    frameworks = Catalog().frameworks
    (said,) = told_exchange(EXPERTS, frameworks["megatron-lm"])
    assert "--overlap-moe-expert-parallel-comm" in said
    assert "not checked" in said
    (waits,) = told_exchange(EXPERTS, frameworks["torchtitan-fsdp2"])
    assert "wait" in waits
    assert told_exchange(replace(EXPERTS, ep=1), frameworks["megatron-lm"]) == []
