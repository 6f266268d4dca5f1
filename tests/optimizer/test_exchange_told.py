"""What a plan with expert parallelism says that it takes for granted, and which layouts count on an overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalogs import Catalog
from catalogs.framework import OverlapNeed
from costmodels.overlap import NEEDS
from optimizer.configure import configure
from optimizer.estimation import estimate
from optimizer.expert_overlap import ExpertOverlap, told_exchange
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.market import site_of
from optimizer.physics import Physics
from optimizer.planning import plan
from optimizer.request import read_job

CATALOG = Catalog()
FITTING = Layout(
    tp=1,
    pp=4,
    vpp=2,
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
    schedule="interleaved",
    offload="none",
)


def job(framework: str = "megatron-lm", hardware: str = "h100-sxm-80g") -> Job:
    return read_job(
        CATALOG, "qwen3-30b-a3b", 1e12, hardware=[hardware], frameworks=[framework], global_batch=128, seq=4096
    )


def physics(one: Job) -> Physics:
    return Physics.of(one, site_of(CATALOG.accelerators[one.hardware[0]], one, CATALOG), CATALOG)


def test_what_a_plan_rests_on_is_said() -> None:
    megatron = CATALOG.frameworks["megatron-lm"]
    (said,) = told_exchange(8, ExpertOverlap((), megatron.expert_overlap), megatron)
    assert "switch on --overlap-moe-expert-parallel-comm" in said
    assert "CUDA_DEVICE_MAX_CONNECTIONS" in said
    assert "transformer/moe/README.md" in said
    (waits,) = told_exchange(8, ExpertOverlap(("interleaved",), megatron.expert_overlap), megatron)
    assert "wait" in waits
    assert NEEDS["interleaved"] in waits
    assert "not switched on" in told_exchange(8, None, megatron)[0]
    assert "no switch" in told_exchange(8, None, CATALOG.frameworks["torchtitan-fsdp2"])[0]
    assert told_exchange(1, None, megatron) == []


@pytest.mark.parametrize(
    ("framework", "hardware", "change", "lacks"),
    [
        ("megatron-lm", "h100-sxm-80g", {}, []),
        ("megatron-lm", "h100-sxm-80g", {"vpp": 1, "schedule": "1f1b"}, ["interleaved"]),
        ("megatron-lm", "h100-sxm-80g", {"pp": 1, "vpp": 1, "schedule": "1f1b"}, []),
        ("megatron-lm", "h100-sxm-80g", {"recompute": "full"}, ["no-full-recompute"]),
        ("megatron-lm", "h100-sxm-80g", {"recompute": "first-1"}, ["no-full-recompute"]),
        ("megatron-lm", "h100-sxm-80g", {"dp": 32, "micro_batches": 4}, ["micro-batches"]),
        ("megatron-lm", "h100-sxm-80g", {"ep": 1}, ["expert-parallel"]),
        ("megatron-bridge", "h100-sxm-80g", {"vpp": 1, "schedule": "1f1b"}, ["interleaved"]),
        ("mindspeed-llm", "ascend-910b", {"recompute": "full"}, []),
        ("mindspeed-llm", "ascend-910b", {"vpp": 1, "schedule": "1f1b"}, ["interleaved"]),
        ("mindspeed-llm", "ascend-910b", {"etp": 2, "ep": 4}, ["whole-experts"]),
    ],
)
def test_what_a_layout_lacks_for_the_switch(
    framework: str, hardware: str, change: dict[str, Any], lacks: list[OverlapNeed]
) -> None:
    hardware = next(name for name in CATALOG.accelerators if name.startswith(hardware))
    p = physics(job(framework, hardware))
    one = replace(FITTING, **change)
    assert p.overlap_lacks(one.shard, one.pipe, one.replicas) == lacks
    forgone = physics(replace(job(framework, hardware), expert_overlap=False))
    on, off = configure(p, one, None), configure(forgone, one, None)
    if not lacks:
        assert on.time["expert_comm"] < off.time["expert_comm"]
        assert on.memory["activations"] > off.memory["activations"]
    elif one.ep > 1:
        assert on.time == off.time
    assert on.expert_overlap == (
        ExpertOverlap(tuple(lacks), CATALOG.frameworks[framework].expert_overlap) if one.ep > 1 else None
    )
    assert off.expert_overlap is None


def test_two_prediction_layers_are_too_many() -> None:
    asked = job()
    for layers, lacks in ((1, []), (2, ["one-prediction-layer"])):
        p = physics(replace(asked, model=asked.model.model_copy(update={"mtp_layers": layers})))
        assert p.overlap_lacks(FITTING.shard, FITTING.pipe, FITTING.replicas) == lacks


def test_mindspeed_hides_either_the_exchange_or_gradients() -> None:
    hardware = next(name for name in CATALOG.accelerators if name.startswith("ascend-910b"))
    asked = job("mindspeed-llm", hardware)
    on, off = physics(asked), physics(replace(asked, expert_overlap=False))
    assert configure(on, FITTING, None).time["data_comm"] > configure(off, FITTING, None).time["data_comm"]
    alone = replace(FITTING, dp=32, micro_batches=4)
    assert configure(on, alone, None).time["data_comm"] == configure(off, alone, None).time["data_comm"]


def test_frameworks_without_experts_to_exchange_or_without_a_switch() -> None:
    dense = read_job(CATALOG, "llama-3-8b", 1e12, hardware=["h100-sxm-80g"], frameworks=["megatron-lm"])
    assert physics(dense).overlap is None
    assert physics(job("nemo")).overlap is None
    assert float(physics(job("nemo")).recipe.overlaps_experts) == 0


def test_an_estimate_says_why_the_exchange_waits() -> None:
    found = estimate(job(), replace(FITTING, vpp=1, schedule="1f1b"), CATALOG)
    assert found.to_json()["expert_overlap"]["lacks"] == ["interleaved"]
    assert any(NEEDS["interleaved"] in said for said in found.assumptions)


def test_a_plan_that_counts_on_the_overlap_names_its_arguments() -> None:
    asked = replace(job(), max_accelerators=64)
    found = plan(asked, CATALOG)
    best = found.best
    assert best is not None
    assert best.layout.ep > 1
    assert best.expert_overlap is not None
    p = physics(asked)
    lacks = p.overlap_lacks(best.layout.shard, best.layout.pipe, best.layout.replicas)
    assert list(best.expert_overlap.lacks) == lacks
    told = [said for said in found.assumptions if "dispatch and combine" in said]
    assert len(told) == 1
    assert best.expert_overlap.arguments[0] in told[0]


@pytest.mark.parametrize(
    "framework", [f for f in CATALOG.frameworks.values() if f.expert_overlap], ids=lambda f: f.name
)
def test_switches_cite_their_source(framework: Any) -> None:
    for field in ("expert_overlap", "expert_overlap_needs", "expert_overlap_told"):
        assert getattr(framework, field)
        assert "/blob/" in framework.sources[field] or "above" in framework.sources[field]
    assert "expert-parallel" in framework.expert_overlap_needs
