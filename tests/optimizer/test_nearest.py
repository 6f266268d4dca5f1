"""What comes nearest to a request that no plan meets: each is a plan, and a little less of its axis is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError
from costmodels.run import DAY_S
from optimizer.doctor.nearest import Nearest, nearest
from optimizer.job import Job
from optimizer.planning import plan
from optimizer.request import read_job

CATALOG = Catalog()


def job(**more: Any) -> Job:
    wanted: dict[str, Any] = {"hardware": ["a100-sxm-80g"], "max_accelerators": 32, "global_batch": 256} | more
    return read_job(CATALOG, "llama-3-8b", 1e11, **wanted)


def by_axis(asked: Job) -> dict[str, Nearest]:
    with pytest.raises(InfeasibleError):
        plan(asked, CATALOG)
    return {one.axis: one for one in nearest(asked, CATALOG)}


def test_a_deadline_that_cannot_be_met() -> None:
    asked = job(deadline_s=2 * DAY_S)
    found = by_axis(asked)
    assert set(found) == {"deadline", "accelerators", "hardware"}
    later = found["deadline"].configuration
    again = plan(replace(asked, deadline_s=later.days * DAY_S * (1 + 1e-9)), CATALOG).best
    assert (again.layout, again.offer, again.cost_usd) == (later.layout, later.offer, later.cost_usd)
    with pytest.raises(InfeasibleError):
        plan(replace(asked, deadline_s=later.days * DAY_S * 0.999), CATALOG)
    larger = found["accelerators"].configuration
    assert larger.days <= 2
    assert plan(replace(asked, max_accelerators=larger.accelerators), CATALOG).best.layout == larger.layout
    with pytest.raises(InfeasibleError):
        plan(replace(asked, max_accelerators=larger.accelerators - 1), CATALOG)
    other = found["hardware"].configuration
    assert other.hardware != "a100-sxm-80g"
    assert other.days <= 2
    assert other.layout == plan(replace(asked, hardware=()), CATALOG).best.layout
    assert [one.configuration.cost_usd for one in nearest(asked, CATALOG)] == sorted(
        one.configuration.cost_usd or 0.0 for one in found.values()
    )


def test_a_budget_that_is_too_small() -> None:
    asked = job(deadline_s=60 * DAY_S, budget_usd=1000.0, offers=["on_demand"])
    found = by_axis(asked)
    cost = found["budget"].configuration.cost_usd
    assert cost is not None
    assert plan(replace(asked, budget_usd=cost * (1 + 1e-9)), CATALOG).best.cost_usd == cost
    with pytest.raises(InfeasibleError):
        plan(replace(asked, budget_usd=cost * 0.999), CATALOG)


def test_too_little_of_everything() -> None:
    asked = job(deadline_s=0.5 * DAY_S, budget_usd=10.0)
    found = by_axis(asked)
    assert set(found) <= {"budget and deadline", "budget and accelerators"}
    assert found["budget and deadline"].configuration.days > 0.5


def test_memory_needs_more_accelerators() -> None:
    asked = read_job(CATALOG, "llama-2-13b", 1e11, hardware=["a100-sxm-40g"], max_accelerators=2, global_batch=64)
    found = by_axis(asked)
    more = found["accelerators"].configuration.accelerators
    assert more > 2
    with pytest.raises(InfeasibleError):
        plan(replace(asked, max_accelerators=more - 1), CATALOG)


def test_confidence_moves_the_date() -> None:
    plain, sure = (by_axis(job(deadline_s=DAY_S, confidence=c))["deadline"] for c in (0.5, 0.9))
    assert plain.change != sure.change
    assert sure.configuration.p_deadline is not None
    assert sure.configuration.p_deadline >= 0.9 - 1e-9
