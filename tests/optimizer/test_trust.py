from __future__ import annotations

import math
from dataclasses import replace

import pytest

from catalogs.catalog import Catalog
from optimizer.estimation import estimate
from optimizer.job import Job
from optimizer.layout_request import layout_from_request
from optimizer.request import read_job
from optimizer.trust import step_sigma


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def job(catalog: Catalog) -> Job:
    return read_job(catalog, "llama-2-70b", 2e12, deadline_s=90 * 86400.0, hardware=["a800-sxm-80g"])


def estimated(job: Job, catalog: Catalog, dp: int = 32, tp: int = 8) -> dict[str, object]:
    layout = layout_from_request(
        job,
        catalog,
        **{"tp": tp, "pp": 4, "vpp": 1, "dp": dp, "cp": 1, "ep": 1, "etp": 1, "micro_batch": 1},  # type: ignore[arg-type]
        zero=None,
        zero_group=None,
        recompute="none",
        offload="none",
        schedule=None,
        sequence_parallel=None,
    )
    return estimate(job, layout, catalog).to_json()


def test_an_estimate_lies_in_its_intervals(catalog: Catalog, job: Job) -> None:
    found = estimated(job, catalog)
    for name in ("step_s", "days"):
        low, high = found[f"{name}_interval"]  # type: ignore[misc]
        assert low < found[name] < high  # type: ignore[operator]
    assert 0.0 <= found["p_fits"] <= 1.0  # type: ignore[operator]
    assert 0.0 < found["p_deadline"] < 1.0  # type: ignore[operator]


def test_a_cluster_beyond_the_measured_ones_is_told(catalog: Catalog, job: Job) -> None:
    largest = catalog.profiles["a800-sxm-80g.megatron-lm.bf16"].largest
    for tp, dp, beyond in ((1, largest // 4, False), (8, largest, True)):
        assumptions = estimated(job, catalog, dp=dp, tp=tp)["assumptions"]
        assert isinstance(assumptions, list)
        told = [text for text in assumptions if "largest run" in text]
        assert bool(told) is beyond
        assert all(f"{32 * dp:,} accelerators are beyond the {largest:,}" in text for text in told)


def test_more_time_makes_the_deadline_likelier(catalog: Catalog, job: Job) -> None:
    days = estimated(job, catalog)["days"]
    chances = [
        estimated(replace(job, deadline_s=share * float(days) * 86400.0), catalog)["p_deadline"]  # type: ignore[arg-type]
        for share in (0.8, 1.0, 1.2)
    ]
    assert chances == sorted(chances)  # type: ignore[type-var]
    assert chances[1] == pytest.approx(0.5)


def test_no_deadline_has_no_chance_of_meeting_it(catalog: Catalog, job: Job) -> None:
    assert estimated(replace(job, deadline_s=math.inf), catalog)["p_deadline"] is None


def test_memory_to_spare_fits_more_surely(catalog: Catalog, job: Job) -> None:
    roomy, tight = estimated(job, catalog), estimated(job, catalog, tp=4)
    assert roomy["p_fits"] >= tight["p_fits"]  # type: ignore[operator]


def test_given_goodput_narrows_the_days(catalog: Catalog, job: Job) -> None:
    def width(found: dict[str, object]) -> float:
        low, high = found["days_interval"]  # type: ignore[misc]
        return float(high / low)

    assert width(estimated(replace(job, goodput=0.9), catalog)) < width(estimated(job, catalog))


def test_unknown_clusters_and_scales_are_less_certain(catalog: Catalog) -> None:
    profile = catalog.profiles["h100-sxm-80g.nemo.bf16"].model_copy(
        update={"largest": 512, "cluster_log_sigma": 0.1, "log_sigma": 0.08}
    )
    known = step_sigma(profile, moe=False, accelerators=512, known=True)
    assert known == pytest.approx(0.08)
    unknown = step_sigma(profile, moe=False, accelerators=512)
    assert unknown == pytest.approx(math.hypot(0.08, 0.1))
    assert step_sigma(profile, moe=False, accelerators=4096) > unknown
