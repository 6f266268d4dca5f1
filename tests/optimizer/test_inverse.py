"""Inverse answers are tight: what is reported fits, one unit more does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from costmodels.run import DAY_S
from optimizer.inverse.afford import largest_optimal, most_tokens
from optimizer.inverse.fit import SEQUENCE_UNIT, largest_micro_batch, largest_model, longest_sequence
from optimizer.inverse.least import fastest, ground, least_memory
from optimizer.inverse.schedule import fewest, when
from optimizer.job import Job
from optimizer.market import sites
from optimizer.request import read_job
from optimizer.search import search

CATALOG = Catalog()
PARTS = ("h100-sxm-80g", "a800-sxm-80g", "a100-sxm-40g")
MODELS = ("llama-3-8b", "llama-2-7b", "mixtral-8x7b", "llama-2-13b", "qwen2.5-14b")
FRAMEWORKS = ("megatron-lm", "torchtitan-fsdp2", "deepspeed")
FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    job = read_job(
        CATALOG,
        draw(st.sampled_from(MODELS)),
        1e11,
        hardware=[draw(st.sampled_from(PARTS))],
        max_accelerators=draw(st.sampled_from((1, 4, 8, 16, 24))),
        frameworks=[draw(st.sampled_from(FRAMEWORKS))],
        seq=draw(st.sampled_from((2048, 4096, 8192))),
        global_batch=draw(st.sampled_from((64, 96, 256))),
    )
    return replace(job, offload=("none",)) if draw(st.booleans()) else job


def fits(job: Job) -> bool:
    """Whether the search finds any layout: it looks at every row, so it is the judge of the leanest layout."""
    return fastest(replace(job, deadline_s=math.inf), ground(job, CATALOG), CATALOG) is not None


@FEW
@given(jobs())
def test_leanest_layout_agrees_with_the_search(job: Job) -> None:
    least = least_memory(job, ground(job, CATALOG), CATALOG)
    assert fits(job) == (least is not None and least.fits)


@FEW
@given(jobs())
def test_longest_sequence_is_tight(job: Job) -> None:
    try:
        found = longest_sequence(job, CATALOG)
    except InfeasibleError:
        assert not fits(replace(job, seq=SEQUENCE_UNIT))
        return
    assert found.configuration.fits
    assert fits(replace(job, seq=int(found.value)))
    for more in (1, 2, 3):
        assert not fits(replace(job, seq=int(found.value) + more * SEQUENCE_UNIT))
    assert "GiB" in found.binding


@FEW
@given(jobs())
def test_largest_micro_batch_is_tight(job: Job) -> None:
    site = ground(job, CATALOG)
    try:
        found = largest_micro_batch(job, CATALOG)
    except InfeasibleError:
        assert not fits(job)
        return
    assert found.configuration.fits
    assert found.configuration.layout.micro_batch == found.value
    wide = replace(job, global_batch=job.max_accelerators * 128, batch_tolerance=0.5)
    for more in (1, 2, 5):
        least = least_memory(wide, site, CATALOG, micro_batch=int(found.value) + more)
        assert least is not None
        assert not least.fits


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("count", [1, 8])
def test_largest_model_is_tight(framework: str, count: int) -> None:
    job = read_job(CATALOG, "7B", 1e12, hardware=["h100-sxm-80g"], max_accelerators=count, frameworks=[framework])
    found = largest_model(job, CATALOG)
    assert found.configuration.fits
    assert found.least_bytes <= found.capacity_bytes
    for more in range(1, 6):
        size = f"{(found.value + more * found.step) / 1e6:.0f}M"
        bigger = read_job(CATALOG, size, 1e12, hardware=job.hardware, max_accelerators=count, frameworks=[framework])
        assert not fits(bigger), size


def test_deepest_model_of_a_shape_is_tight() -> None:
    job = read_job(CATALOG, "llama-3-8b", 1e12, hardware=["h100-sxm-80g"], max_accelerators=4)
    found = largest_model(job, CATALOG, deepen=True)
    assert found.model.layers == found.value
    assert fits(replace(job, model=found.model))
    for more in range(1, 9):
        deeper = found.model.model_copy(update={"layers": found.model.layers + more})
        assert not fits(replace(job, model=deeper))


@settings(FEW, max_examples=4)
@given(jobs(), st.sampled_from((20.0, 100.0, 400.0)))
def test_fewest_accelerators_are_tight(job: Job, days: float) -> None:
    job = replace(job, max_accelerators=64, deadline_s=days * DAY_S)
    try:
        found = fewest(job, CATALOG)
    except InfeasibleError:
        site = ground(job, CATALOG)
        assert fastest(job, site, CATALOG) is None
        return
    site = ground(job, CATALOG)
    assert found.to_meet is not None
    assert found.configuration.days * DAY_S <= job.deadline_s
    assert found.configuration.accelerators == found.to_meet
    if found.to_meet > 1:
        assert fastest(replace(job, max_accelerators=found.to_meet - 1), site, CATALOG) is None
    if found.to_fit > 1:
        assert not fits(replace(job, max_accelerators=found.to_fit - 1))


def test_when_is_the_fastest_layout_with_its_interval() -> None:
    job = read_job(CATALOG, "llama-3-8b", 1e11, hardware=["h100-sxm-80g"], max_accelerators=16)
    found = when(job, CATALOG)
    ranked, _ = search(replace(job, offers=("hyperstack-h100-sxm-80g-on-demand",)), *_site(job), "time", keep=1)
    assert found.configuration.days * DAY_S <= ranked[0].wall_s * (1 + 1e-9)
    low, high = found.configuration.days_interval
    assert low < found.configuration.days < high


def _site(job: Job) -> tuple[list, Catalog]:  # type: ignore[type-arg]
    return sites(replace(job, offers=("hyperstack-h100-sxm-80g-on-demand",)), CATALOG)[0], CATALOG


@pytest.mark.parametrize(("budget", "days"), [(20e3, 30.0), (2e3, 300.0), (math.inf, 5.0), (50e3, math.inf)])
def test_most_tokens_are_tight(budget: float, days: float) -> None:
    job = read_job(
        CATALOG,
        "llama-3-8b",
        1e12,
        hardware=["h100-sxm-80g"],
        max_accelerators=32,
        offers=["hyperstack-h100-sxm-80g-on-demand"],
    )
    job = replace(job, budget_usd=budget, deadline_s=days * DAY_S)
    (found,), _ = most_tokens(job, CATALOG)
    one = found.configuration
    assert one.cost_usd is not None
    assert one.fits
    assert one.cost_usd <= budget
    assert one.days <= days
    next_step = replace(job, tokens=found.tokens + found.step)
    assert search(next_step, *_site(job), keep=1)[0] == []
    assert found.binding in ("budget", "date", "accelerators", "budget or date", "date or accelerators") or (
        "together" in found.binding
    )


def test_largest_optimal_model_is_tight() -> None:
    job = read_job(
        CATALOG,
        "7B",
        1e12,
        hardware=["h100-sxm-80g"],
        max_accelerators=64,
        budget_usd=50e3,
        offers=["hyperstack-h100-sxm-80g-on-demand"],
    )
    (found,), _ = largest_optimal(job, CATALOG, ratio=20.0, step=5e8)
    assert found.tokens == pytest.approx(20 * found.params)
    assert found.configuration.cost_usd is not None
    assert found.configuration.cost_usd <= 50e3
    size = round(found.params / 5e8) * 5e8
    for more in (1, 2, 3):
        label = f"{(size + more * 5e8) / 1e6:.0f}M"
        bigger = read_job(CATALOG, label, 1e12, hardware=job.hardware, max_accelerators=64, budget_usd=50e3)
        from costmodels.architecture import Architecture
        from costmodels.parameters import total_params

        tokens = 20 * float(total_params(Architecture.of(bigger.model)))
        asked = replace(job, model=bigger.model, tokens=tokens)
        assert search(asked, *_site(job), keep=1)[0] == [], label


def test_afford_needs_a_bound() -> None:
    job = read_job(CATALOG, "7B", 1e12, hardware=["h100-sxm-80g"])
    with pytest.raises(UsageError, match="budget"):
        most_tokens(job, CATALOG)
