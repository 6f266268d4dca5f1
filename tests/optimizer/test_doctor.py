"""Layouts that were made to fail: the first repair fits and is the cheapest that does; facts are weighed."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError, UsageError
from costmodels.layout import ALL_LAYERS
from optimizer.configure import configure
from optimizer.doctor.diagnose import Observed, diagnose
from optimizer.doctor.figures import figures
from optimizer.inverse.least import ground
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.layout_request import layout_from_request
from optimizer.physics import Physics
from optimizer.request import read_job
from optimizer.validity import broken_rules

CATALOG = Catalog()

PLAIN: dict[str, Any] = {
    "tp": 1,
    "pp": 1,
    "vpp": 1,
    "dp": 1,
    "cp": 1,
    "ep": 1,
    "etp": 1,
    "zero": None,
    "zero_group": None,
    "micro_batch": 1,
    "recompute": "none",
    "offload": "none",
    "schedule": None,
    "sequence_parallel": None,
}

CASES = [
    (model, part, framework, seq, degrees)
    for model, part, framework, seq, choices in (
        ("llama-3-8b", "h100-sxm-80g", "megatron-lm", 8192, ((8, 1, 4), (4, 2, 4), (2, 1, 8), (1, 8, 16))),
        ("llama-3-8b", "a100-sxm-40g", "megatron-lm", 4096, ((8, 1, 1), (4, 1, 2), (2, 2, 2), (1, 4, 4))),
        ("llama-2-7b", "a100-sxm-40g", "deepspeed", 4096, ((8, 1, 4), (8, 1, 8), (8, 1, 2), (8, 1, 16))),
        ("llama-3-8b", "h100-sxm-80g", "torchtitan-fsdp2", 8192, ((8, 1, 4), (8, 1, 8), (4, 2, 8), (2, 4, 8))),
        ("llama-2-13b", "a800-sxm-80g", "megatron-lm", 4096, ((8, 1, 2), (4, 2, 4), (2, 4, 8), (2, 2, 8))),
        ("llama-2-13b", "a800-sxm-80g", "megatron-deepspeed", 4096, ((8, 1, 2), (4, 2, 8), (2, 2, 8), (1, 4, 16))),
        ("mixtral-8x7b", "h100-sxm-80g", "megatron-lm", 4096, ((2, 8, 4), (4, 4, 1), (1, 8, 4), (2, 4, 4))),
        ("llama-2-70b", "a800-sxm-80g", "megatron-lm", 4096, ((4, 4, 4), (2, 8, 4), (1, 8, 4), (8, 8, 8))),
        ("qwen2.5-14b", "h100-sxm-80g", "megatron-bridge", 4096, ((8, 1, 2), (4, 2, 4), (2, 2, 8), (1, 4, 8))),
    )
    for degrees in choices
]
"""Model, part, framework, sequence and (dp, tp, micro-batch), without pipeline stages."""


def build(case: tuple[str, str, str, int, tuple[int, int, int]]) -> tuple[Job, Layout, Physics]:
    model, part, framework, seq, (dp, tp, size) = case
    job = read_job(CATALOG, model, 1e12, hardware=[part], frameworks=[framework], seq=seq, global_batch=64 * size)
    fields = PLAIN | {"dp": dp, "tp": tp, "micro_batch": size}
    layout = layout_from_request(job, CATALOG, **fields)
    return job, layout, Physics.of(job, ground(job, CATALOG), CATALOG)


def enumerated(job: Job, layout: Layout, physics: Physics) -> list[Layout]:
    """Every layout that differs in one or two axes, written down without the code under test."""
    framework, ranks = physics.site.framework, layout.accelerators
    degrees = [d for d in range(1, ranks + 1) if ranks % d == 0]
    axes: list[list[dict[str, Any]]] = [
        [{"micro_batch": b} for b in range(1, layout.micro_batch) if layout.micro_batch % b == 0],
        [{"zero": z} for z in framework.zero_stages if z > layout.zero],
        [{"pp": p, "vpp": 1, "schedule": "1f1b"} for p in degrees if p != layout.pp],
        [{"cp": c} for c in degrees if c > layout.cp],
        [{"tp": t, "sequence_parallel": t > 1 and framework.sequence_parallel} for t in degrees if t != layout.tp],
        [{"offload": o} for o in framework.offload if o not in ("none", layout.offload)],
        [{"recompute": "full"}] * ("full" in framework.recompute),
        [{"ep": e} for e in range(1, int(physics.architecture.experts) + 1) if e != layout.ep],
        [{"sequence_parallel": True}] * (layout.tp > 1 and not layout.sequence_parallel),
    ]
    axes[6] += [{"recompute": "selective"}] * ("selective" in framework.recompute)
    if "full" in framework.recompute:
        axes[6] += [{"recompute": f"first-{n}"} for n in range(1, job.model.layers)]
    found = []
    for one, two in itertools.combinations_with_replacement(range(len(axes)), 2):
        pairs = [(a, {}) for a in axes[one]] if one == two else itertools.product(axes[one], axes[two])
        for first, second in pairs:
            changed = replace(layout, **first, **{k: v for k, v in second.items() if k not in first})
            world = changed.tp * changed.cp * changed.pp
            dp = ranks // world
            if ranks % world or not dp or layout.global_batch % (dp * changed.micro_batch):
                continue
            per_stage = -(-job.model.layers // changed.pp)
            depth = changed.degrees["recompute_layers"]
            if per_stage <= depth < ALL_LAYERS:
                continue
            count = layout.global_batch // (dp * changed.micro_batch)
            changed = replace(changed, dp=dp, micro_batches=count, zero_group=0)
            if not broken_rules(changed, physics, job):
                found.append(changed)
    return found


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}-{c[2]}-{'x'.join(map(str, c[4]))}" for c in CASES])
def test_first_repair_is_the_cheapest_that_fits(case: tuple[str, str, str, int, tuple[int, int, int]]) -> None:
    job, layout, physics = build(case)
    assert not configure(physics, layout, None).fits, "the case must fail"
    found = diagnose(job, layout, CATALOG, Observed(oom=True))
    assert found.stages[0].over_bytes > 0
    assert sum(found.stages[0].parts.values()) == pytest.approx(found.configuration.memory_bytes)
    candidates = enumerated(job, layout, physics)
    table = figures(physics, candidates)
    fits = table.bytes <= physics.device.memory_bytes
    repairs = [one for one in found.repairs if one.hardware == job.hardware[0]]
    for one in found.repairs:
        assert one.configuration.fits
    if not fits.any():
        assert all(len(one.axes) == 3 for one in repairs)
        return
    cheapest = float(table.tokens_per_s[fits].max())
    first = repairs[0].configuration
    assert first.layout.global_batch * job.seq / first.step_s == pytest.approx(cheapest, rel=1e-12)
    assert first.layout.accelerators == layout.accelerators
    assert first.layout.global_batch == layout.global_batch
    assert [one.throughput for one in repairs] == sorted((one.throughput for one in repairs), reverse=True)


def test_figures_are_those_of_single_configurations() -> None:
    job, layout, physics = build(CASES[0])
    some = enumerated(job, layout, physics)[::17]
    table = figures(physics, some)
    for row, one in enumerate(some):
        alone = configure(physics, one, None)
        assert float(table.bytes[row]) == pytest.approx(alone.memory_bytes, rel=1e-12)
        assert float(table.step_s[row]) == pytest.approx(alone.step_s, rel=1e-12)


def test_a_layout_that_fits_needs_no_repair_and_is_compared_with_the_best() -> None:
    job = read_job(CATALOG, "llama-3-8b", 1e12, hardware=["h100-sxm-80g"], global_batch=64, seq=8192)
    layout = layout_from_request(job, CATALOG, **PLAIN | {"dp": 2, "tp": 8, "recompute": "full"})
    found = diagnose(job, layout, CATALOG)
    assert found.repairs == ()
    assert found.best is not None
    assert found.slower is not None
    assert found.slower > 1.2
    assert sum(here for here, _ in found.time.values()) == pytest.approx(found.configuration.step_s)
    lost = next(iter(found.time))
    assert lost in ("recompute", "tensor_comm", "launch")


def test_the_fact_that_contradicts_most_comes_first() -> None:
    job = read_job(CATALOG, "llama-3-8b", 1e12, hardware=["h100-sxm-80g"], global_batch=64, seq=8192)
    layout = layout_from_request(job, CATALOG, **PLAIN | {"dp": 8, "tp": 1})
    plain = diagnose(job, layout, CATALOG).configuration
    seen = Observed(peak_bytes=plain.memory_bytes * 1.01, step_s=plain.step_s * 3)
    facts = diagnose(job, layout, CATALOG, seen).facts
    assert [fact.name for fact in facts] == ["seconds of a step", "peak memory"]
    assert facts[0].deviations > 3
    assert math.isclose(facts[1].observed / facts[1].predicted, 1.01)


def test_a_measured_step_is_split_by_reason() -> None:
    job = read_job(CATALOG, "llama-3-8b", 1e12, hardware=["h100-sxm-80g"], global_batch=64, seq=8192)
    layout = layout_from_request(job, CATALOG, **PLAIN | {"dp": 2, "tp": 8, "recompute": "full"})
    plain = diagnose(job, layout, CATALOG)
    assert plain.measured is None
    slow = plain.configuration.step_s * 1.5
    shares = diagnose(job, layout, CATALOG, Observed(step_s=slow)).measured
    rate = plain.configuration.tokens_per_s_per_accel / 1.5
    assert shares == pytest.approx(diagnose(job, layout, CATALOG, Observed(tokens_per_s_per_accel=rate)).measured)
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(slow)
    assert plain.slower is not None
    assert shares["layout"] / shares["best"] == pytest.approx(plain.slower - 1)
    assert shares["unexplained"] == pytest.approx(slow / 3)


def test_rank_names_its_stage() -> None:
    job = read_job(CATALOG, "llama-2-70b", 1e12, hardware=["a800-sxm-80g"], global_batch=128)
    layout = layout_from_request(job, CATALOG, **PLAIN | {"dp": 2, "tp": 4, "pp": 4})
    assert diagnose(job, layout, CATALOG, Observed(oom=True, oom_rank=9)).oom_stage == 1
    with pytest.raises(UsageError, match="rank 32"):
        diagnose(job, layout, CATALOG, Observed(oom=True, oom_rank=32))
    with pytest.raises(UnsupportedError, match="tensor-divides-heads"):
        diagnose(job, replace(layout, tp=3), CATALOG)
