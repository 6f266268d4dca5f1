"""What must hold for every plan, whatever the prices and the constants are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnsupportedError
from costmodels.run import DAY_S
from optimizer.configuration import Configuration
from optimizer.estimation import estimate
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.layout_request import layout_from_request
from optimizer.market import sites
from optimizer.planning import Plan, plan
from optimizer.request import read_job
from optimizer.search import search

Overlay = Callable[..., Catalog]

OFFER = {
    "name": "house-h100",
    "provider": "House",
    "accelerator": "h100-sxm-80g",
    "accelerators_per_server": 8,
    "tenure": "on_demand",
    "price": 2.0,
    "currency": "USD",
    "unit": "accelerator_hour",
    "scale_out_bytes_per_s_per_accelerator": 50e9,
    "date": "2026-01",
    "sources": {"*": "made up"},
}
"""An offer of our own, so that nothing here depends on the shipped prices."""

JOBS: dict[str, dict[str, Any]] = {
    "dense": {"model": "llama-3-8b", "tokens": 200e9, "seq": 8192, "max_accelerators": 128},
    "large": {"model": "llama-2-70b", "tokens": 100e9, "max_accelerators": 256},
    "moe": {"model": "mixtral-8x7b", "tokens": 100e9, "max_accelerators": 128},
    "latent-moe": {"model": "deepseek-v2-lite", "tokens": 200e9, "max_accelerators": 64},
    "fsdp": {"model": "llama-3-8b", "tokens": 200e9, "max_accelerators": 128, "frameworks": ["torchtitan-fsdp2"]},
    "zero": {"model": "llama-2-7b", "tokens": 100e9, "max_accelerators": 64, "frameworks": ["deepspeed"]},
    "old": {"model": "gpt3-1.3b", "tokens": 20e9, "max_accelerators": 64, "optimizer": "adamw-8bit"},
    "fp8": {"model": "llama-3-8b", "tokens": 200e9, "max_accelerators": 64, "precision": "fp8"},
}
FEW = ("dense", "moe", "fsdp")
FIRST = ("dense", *(pytest.param(name, marks=pytest.mark.slow) for name in FEW[1:]))
"""As FEW, all but the first among the slow tests."""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Overlay:
    """A catalog with records of our own, given as lists by kind, over the shipped one."""

    def build(**records: list[dict[str, Any]]) -> Catalog:
        root = tmp_path_factory.mktemp("catalog")
        for kind, rows in ({"offers": [OFFER]} | records).items():
            _write(root, kind, rows)
        return Catalog([root])

    return build


@pytest.fixture(scope="module")
def catalog(overlay: Overlay) -> Catalog:
    return overlay()


@pytest.fixture(scope="module")
def plans(catalog: Catalog) -> dict[str, Plan]:
    return {name: plan(job_named(name, catalog), catalog, top=4) for name in JOBS}


def _write(root: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    (root / kind).mkdir(exist_ok=True)
    (root / kind / "own.yaml").write_text(json.dumps(rows), encoding="utf-8")


def changed(catalog: Catalog, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    """A shipped record with some fields changed, as written to a file."""
    record = catalog.find(kind, name).model_dump(mode="json", exclude_none=True)
    return record | fields


def job_named(name: str, catalog: Catalog, **changes: Any) -> Job:
    options = {"offers": [OFFER["name"]]} | JOBS[name] | changes
    return read_job(catalog, options.pop("model"), options.pop("tokens"), **options)


def cost(job: Job, catalog: Catalog) -> float:
    """Cost of the best plan; infinite when there is none."""
    try:
        best = plan(job, catalog, top=0).best.cost_usd
    except InfeasibleError:
        return math.inf
    assert best is not None
    return best


def no_more(cheaper: float, dearer: float) -> bool:
    return cheaper <= dearer * (1 + 1e-9)


def given(catalog: Catalog, model: str = "llama-2-70b", **degrees: Any) -> Configuration:
    """An estimate of a layout on the house's servers; degrees that are not named are 1."""
    options: dict[str, Any] = {"tokens": 1e12, "framework": "megatron-lm", "hardware": "h100-sxm-80g"}
    options |= {name: degrees.pop(name) for name in list(degrees) if name in options}
    plain: dict[str, Any] = {"recompute": "none", "offload": "none"}
    plain |= dict.fromkeys(("zero", "zero_group", "schedule", "sequence_parallel"))
    ones = dict.fromkeys(("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "micro_batch"), 1)
    job = read_job(
        catalog,
        model,
        options["tokens"],
        hardware=[options["hardware"]],
        frameworks=[options["framework"]],
        global_batch=degrees.pop("global_batch", 64),
        offers=[OFFER["name"]],
    )
    return estimate(job, layout_from_request(job, catalog, **(ones | plain | degrees)), catalog).configuration


# --- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_the_parts_of_every_configuration_add_up(name: str, plans: dict[str, Plan]) -> None:
    found = plans[name]
    job = found.job
    for one in (found.best, *found.alternatives):
        layout = one.layout
        figures = one.to_json()
        parts = {k: v for k, v in figures["memory"].items() if k not in ("total_bytes", "capacity_bytes", "peak_stage")}
        assert sum(one.time.values()) == pytest.approx(one.step_s, rel=1e-12)
        assert sum(parts.values()) == pytest.approx(figures["memory"]["total_bytes"], rel=1e-12)
        assert sum(one.cost.values()) == pytest.approx(one.cost_usd, rel=1e-12)
        assert all(value >= 0 for value in (*one.time.values(), *parts.values(), *one.cost.values()))
        assert one.fits
        assert figures["memory"]["total_bytes"] <= figures["memory"]["capacity_bytes"]
        assert one.steps == math.ceil(job.tokens / (layout.global_batch * job.seq))
        assert one.days * DAY_S == pytest.approx(one.steps * one.step_s / one.goodput, rel=1e-9)
        assert 0.9 < one.goodput < 1
        assert one.accelerators == layout.tp * layout.pp * layout.cp * layout.dp <= job.max_accelerators
        assert layout.global_batch == layout.micro_batch * layout.micro_batches * layout.dp
        assert abs(layout.global_batch - job.global_batch) <= job.batch_tolerance * job.global_batch
        per_step = one.tokens_per_s_per_accel * one.accelerators * one.step_s
        assert per_step == pytest.approx(layout.global_batch * job.seq, rel=1e-9)
        assert 0 < one.mfu <= one.hfu < 1
        rented_h = one.days * 24 * one.servers * OFFER["accelerators_per_server"]
        assert one.cost_usd == pytest.approx(rented_h * OFFER["price"], rel=1e-9)


def test_goodput_is_part_of_the_days_and_nothing_else(catalog: Catalog) -> None:
    whole = plan(job_named("dense", catalog, goodput=1.0), catalog, top=0).best
    half = plan(job_named("dense", catalog, goodput=0.5), catalog, top=0).best
    assert whole.days * DAY_S == pytest.approx(whole.steps * whole.step_s, rel=1e-9)
    assert half.layout == whole.layout
    assert half.days == pytest.approx(2 * whole.days, rel=1e-9)


@pytest.mark.parametrize("name", JOBS)
def test_clusters_are_whole_servers_or_part_of_one(name: str, plans: dict[str, Plan]) -> None:
    for one in (plans[name].best, *plans[name].alternatives):
        assert one.accelerators % 8 == 0 or one.accelerators < 8
        assert one.servers == math.ceil(one.accelerators / 8)


@pytest.mark.slow
def test_clusters_are_whole_servers_on_every_accelerator_of_the_shipped_catalog() -> None:
    shipped = Catalog()
    offered = sorted({o.accelerator for o in shipped.offers.values() if o.tenure != "spot"})
    seen = 0
    for name in offered:
        job = read_job(shipped, "llama-2-7b", 50e9, hardware=[name], max_accelerators=128)
        try:
            found = plan(job, shipped, top=3)
        except (InfeasibleError, UnsupportedError):
            continue
        for one in (found.best, *found.alternatives):
            offer = shipped.offers[one.offer or ""]
            server = shipped.servers.get(offer.instance.lower(), shipped.server_of(name))
            if server.accelerator != name:
                server = shipped.server_of(name)
            size = offer.accelerators_per_server
            if size == 1 and offer.training_grade is not False:
                size = server.accelerators
            assert one.accelerators % size == 0 or one.accelerators < size
            seen += 1
    assert seen > 30


@pytest.mark.parametrize("name", JOBS)
def test_an_estimate_of_the_best_layout_has_the_figures_of_the_plan(
    name: str, plans: dict[str, Plan], catalog: Catalog
) -> None:
    best = plans[name].best
    job = replace(plans[name].job, hardware=(best.hardware,), frameworks=(best.framework,))
    again = estimate(job, best.layout, catalog).configuration
    assert again.step_s == pytest.approx(best.step_s, rel=1e-12)
    assert again.cost_usd == pytest.approx(best.cost_usd, rel=1e-12)
    assert again.memory_bytes == pytest.approx(best.memory_bytes, rel=1e-12)
    assert again.layout == best.layout
    assert Layout.of(best.layout.degrees) == best.layout


# --- the search ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_the_certificate_accounts_for_every_row(name: str, plans: dict[str, Plan]) -> None:
    proof = plans[name].certificate
    assert proof.space == proof.evaluated + sum(proof.pruned.values())
    assert proof.space > 0
    assert min(proof.pruned.values(), default=0) >= 0
    best = plans[name].best.cost_usd
    assert best is not None
    assert proof.gap(best) == 0
    assert proof.bound >= best


@pytest.mark.parametrize("name", JOBS)
def test_bounds_exclude_nothing_that_belongs_among_the_best(name: str, catalog: Catalog) -> None:
    job = job_named(name, catalog, deadline_s=200 * DAY_S)
    found, _ = sites(job, catalog)
    pruned, _ = search(job, found, catalog, keep=4)
    whole, proof = search(job, found, catalog, keep=4, prune=False)
    assert [(one.score, one.layout) for one in pruned] == [(one.score, one.layout) for one in whole]
    assert set(proof.pruned) <= {"memory"}
    assert proof.space == proof.evaluated + sum(proof.pruned.values())


@pytest.mark.parametrize("tenure", ["reserved_1y", "purchase"])
@pytest.mark.parametrize("days", [10, None])
def test_bounds_are_right_for_commitments(tenure: str, days: int | None, overlay: Overlay) -> None:
    unit = {"unit": "server", "price": 200000.0} if tenure == "purchase" else {}
    priced = overlay(offers=[OFFER | {"tenure": tenure} | unit])
    job = job_named("zero", priced, deadline_s=days and days * DAY_S)
    found, _ = sites(job, priced)
    pruned, _ = search(job, found, priced, keep=2)
    whole, _ = search(job, found, priced, keep=2, prune=False)
    assert pruned
    assert [one.score for one in pruned] == [one.score for one in whole]


@pytest.mark.parametrize("objective", ["cost", "time"])
def test_bounds_are_right_for_both_objectives_and_under_tight_limits(objective: Any, catalog: Catalog) -> None:
    loose = job_named("dense", catalog)
    fastest = search(loose, sites(loose, catalog)[0], catalog, "time", keep=1)[0][0]
    job = replace(loose, deadline_s=1.5 * fastest.wall_s, budget_usd=1.2 * fastest.cost_usd)
    found, _ = sites(job, catalog)
    pruned, _ = search(job, found, catalog, objective, keep=3)
    whole, _ = search(job, found, catalog, objective, keep=3, prune=False)
    assert pruned
    assert [one.score for one in pruned] == [one.score for one in whole]


@pytest.mark.slow
@pytest.mark.parametrize("hardware", [["a100-sxm-80g"], ["ascend-910b"], ["mi300x", "h200-sxm"], ["a100-pcie-80g"]])
@pytest.mark.parametrize("name", ["dense", "moe", "large"])
def test_bounds_exclude_nothing_with_the_shipped_offers(name: str, hardware: list[str]) -> None:
    shipped = Catalog()
    job = job_named(name, shipped, offers=["all"], hardware=hardware, max_accelerators=128)
    found, _ = sites(job, shipped)
    pruned, _ = search(job, found, shipped, keep=3)
    whole, _ = search(job, found, shipped, keep=3, prune=False)
    assert [one.score for one in pruned] == [one.score for one in whole]


@pytest.mark.parametrize("name", JOBS)
def test_alternatives_are_sorted_and_distinct(name: str, plans: dict[str, Plan]) -> None:
    ranked = [plans[name].best, *plans[name].alternatives]
    assert len(ranked) > 1
    assert all(no_more(a.cost_usd or 0, b.cost_usd or 0) for a, b in pairwise(ranked))
    layouts = [(one.offer, one.layout) for one in ranked]
    structures = [
        (offer, of.tp, of.cp, of.ep, of.pp, max(of.zero, 1), of.zero_group > 0, name == "zero" and of.recompute)
        for offer, of in layouts
    ]
    assert len(set(structures)) == len(structures)


def test_fewer_alternatives_are_the_first_ones(plans: dict[str, Plan], catalog: Catalog) -> None:
    for top in (0, 1, 2):
        found = plan(job_named("dense", catalog), catalog, top=top)
        assert found.best == plans["dense"].best
        assert found.alternatives == plans["dense"].alternatives[:top]


def test_every_named_accelerator_is_among_the_alternatives() -> None:
    names = ["a100-sxm-80g", "ascend-910b", "h200-sxm"]
    shipped = Catalog()
    job = read_job(shipped, "llama-2-7b", 100e9, hardware=names, max_accelerators=64)
    found = plan(job, shipped, top=3)
    assert {one.hardware for one in (found.best, *found.alternatives)} == set(names)
    lost = {one.what for one in found.rejected}
    assert set(names) - {found.best.hardware} <= lost


def test_rejected_layouts_say_why_they_lose(plans: dict[str, Plan]) -> None:
    for found in plans.values():
        assert found.rejected
        assert all(one.what and one.reason for one in found.rejected)


# --- more is never worse ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIRST)
def test_a_longer_deadline_never_costs_more(name: str, catalog: Catalog, plans: dict[str, Plan]) -> None:
    days = [plans[name].best.days * share for share in (0.25, 0.5, 1.0, 2.0)]
    costs = [cost(job_named(name, catalog, deadline_s=d * DAY_S * (1 + 1e-9)), catalog) for d in days]
    costs.append(cost(job_named(name, catalog), catalog))
    assert all(no_more(later, sooner) for sooner, later in pairwise(costs))
    assert math.isfinite(costs[2])


@pytest.mark.parametrize("name", FIRST)
def test_a_deadline_is_kept(name: str, catalog: Catalog, plans: dict[str, Plan]) -> None:
    deadline = plans[name].best.days * 0.8
    found = plan(job_named(name, catalog, deadline_s=deadline * DAY_S), catalog, top=3)
    assert all(one.days <= deadline * (1 + 1e-12) for one in (found.best, *found.alternatives))


@pytest.mark.parametrize("name", FIRST)
def test_a_bigger_budget_never_costs_more_and_a_smaller_one_is_kept(
    name: str, catalog: Catalog, plans: dict[str, Plan]
) -> None:
    best = plans[name].best.cost_usd
    assert best is not None
    assert cost(job_named(name, catalog, budget_usd=best * 0.999), catalog) == math.inf
    for share in (1.0, 1.001, 3.0):
        assert cost(job_named(name, catalog, budget_usd=best * share), catalog) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize(
    ("asked", "values"),
    [("tokens", (100e9, 90e9, 50e9)), ("confidence", (0.99, 0.9, 0.6, 0.5)), ("goodput", (0.5, 0.9, 1.0))],
)
def test_asking_for_less_never_costs_more(
    asked: str, values: tuple[float, ...], name: str, catalog: Catalog, plans: dict[str, Plan]
) -> None:
    deadline = 0.6 * plans[name].best.days * DAY_S
    costs = [cost(job_named(name, catalog, deadline_s=deadline, **{asked: value}), catalog) for value in values]
    assert all(no_more(less, more) for more, less in pairwise(costs))
    assert math.isfinite(costs[-1])


def test_twice_the_price_is_twice_the_cost(market: Catalog) -> None:
    limits = {"deadline_s": 40 * DAY_S, "max_accelerators": 64}
    once, half = (cost(job_named("dense", market, offers=[f"on_demand-{f}"], **limits), market) for f in (1.0, 0.1))
    assert once == pytest.approx(10 * half, rel=1e-9)


@pytest.mark.parametrize("name", FIRST)
def test_more_accelerators_to_choose_from_never_cost_more(name: str, catalog: Catalog) -> None:
    deadline = 60 * DAY_S
    costs = [
        cost(job_named(name, catalog, max_accelerators=m, deadline_s=deadline), catalog) for m in (16, 48, 96, 128)
    ]
    assert all(no_more(more, fewer) for fewer, more in pairwise(costs))
    assert math.isfinite(costs[-1])


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("kind", ["scale_up", "scale_out", "memory"])
def test_faster_hardware_never_costs_more(name: str, kind: str, catalog: Catalog, overlay: Overlay) -> None:
    costs = []
    for factor in (0.5, 1.0, 3.0):
        record = changed(catalog, "accelerators", "h100-sxm-80g")
        offer = dict(OFFER)
        if kind == "scale_up":
            record["scale_up"] = record["scale_up"] | {
                "bandwidth_bytes_per_s": record["scale_up"]["bandwidth_bytes_per_s"] * factor
            }
        elif kind == "scale_out":
            offer["scale_out_bytes_per_s_per_accelerator"] = 50e9 * factor
        else:
            record["memory_bandwidth_bytes_per_s"] *= factor
        faster = overlay(accelerators=[record], offers=[offer])
        job = job_named(name, faster, deadline_s=40 * DAY_S, hardware=["h100-sxm-80g"])
        costs.append(cost(job, faster))
    assert all(no_more(fast, slow) for slow, fast in pairwise(costs))
    assert math.isfinite(costs[-1])


@pytest.mark.parametrize("name", FIRST)
def test_more_memory_never_costs_more(name: str, catalog: Catalog, overlay: Overlay) -> None:
    costs = []
    for size in (40e9, 85e9, 170e9):
        larger = overlay(accelerators=[changed(catalog, "accelerators", "h100-sxm-80g", memory_bytes=size)])
        costs.append(cost(job_named(name, larger, hardware=["h100-sxm-80g"]), larger))
    assert all(no_more(large, small) for small, large in pairwise(costs))


SECOND: tuple[dict[str, Any], ...] = (
    {"price": 5.0},
    {"price": 1.9},
    {"price": 1.0, "max_servers": 2},
    {"price": 1.9, "accelerators_per_server": 4, "instance": "half"},
    {"price": 150000.0, "tenure": "purchase", "unit": "server"},
    {"price": 0.5, "tenure": "reserved_1y"},
    {"price": 1.5, "scale_out_bytes_per_s_per_accelerator": 5e9},
    {"price": 1.2, "training_grade": False},
    {"price": 1.5, "accelerator": "a100-sxm-80g"},
)
PRICED: dict[str, dict[str, Any]] = {
    "on_demand": {"tenure": "on_demand"},
    "reserved_3y": {"tenure": "reserved_3y"},
    "purchase": {"tenure": "purchase", "unit": "server", "price": 200000.0},
}
FACTORS = (1.5, 1.0, 0.8, 0.1)


@pytest.fixture(scope="module")
def market(overlay: Overlay) -> Catalog:
    """Many offers, of which each job names its own."""
    second = [OFFER | {"name": f"second-{i}", "provider": "Other"} | extra for i, extra in enumerate(SECOND)]
    priced = [
        OFFER | offer | {"name": f"{tenure}-{factor}", "price": offer.get("price", 2.0) * factor}
        for tenure, offer in PRICED.items()
        for factor in FACTORS
    ]
    return overlay(offers=[OFFER, *second, *priced])


@pytest.mark.parametrize("deadline_s", [None, 40 * DAY_S])
@pytest.mark.parametrize("second", range(len(SECOND)))
def test_another_offer_never_makes_the_answer_worse(second: int, deadline_s: float | None, market: Catalog) -> None:
    limits = {"deadline_s": deadline_s, "max_accelerators": 64}
    alone = cost(job_named("dense", market, **limits), market)
    both = cost(job_named("dense", market, offers=["house-h100", f"second-{second}"], **limits), market)
    assert math.isfinite(alone)
    assert no_more(both, alone)


@pytest.mark.parametrize("tenure", PRICED)
def test_a_cheaper_offer_never_costs_more(tenure: str, market: Catalog) -> None:
    limits = {"deadline_s": 60 * DAY_S, "max_accelerators": 32}
    costs = [cost(job_named("dense", market, offers=[f"{tenure}-{f}"], **limits), market) for f in FACTORS]
    assert all(cheap < dear for dear, cheap in pairwise(costs))


# --- physics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1e9, 300e9, 2e12, 1.0000001e12])
def test_doubling_the_tokens_doubles_the_steps(tokens: float, catalog: Catalog) -> None:
    once = given(catalog, tokens=tokens, tp=8, pp=2, dp=4)
    twice = given(catalog, tokens=2 * tokens, tp=8, pp=2, dp=4)
    assert abs(twice.steps - 2 * once.steps) <= 1
    assert twice.step_s == once.step_s
    assert twice.memory == once.memory


@pytest.mark.parametrize("dp", [2, 8, 64])
@pytest.mark.parametrize("model", ["llama-2-7b", "gpt3-13b", "llama-2-70b"])
@pytest.mark.parametrize("offload", ["none", "optimizer"])
def test_memory_falls_with_the_zero_stage(model: str, dp: int, offload: str, catalog: Catalog) -> None:
    sizes = [
        given(catalog, model, framework="deepspeed", dp=dp, zero=zero, offload=offload).memory_bytes
        for zero in (0, 1, 2, 3)
    ]
    assert all(more <= less * (1 + 1e-12) for less, more in pairwise(sizes))
    if offload == "none":
        assert sizes[3] < sizes[0]


@pytest.mark.parametrize("framework", ["torchtitan-fsdp2", "llm-foundry-fsdp"])
def test_memory_falls_with_the_fsdp_stage(framework: str, catalog: Catalog) -> None:
    sizes = [given(catalog, "llama-2-7b", framework=framework, dp=16, zero=zero).memory_bytes for zero in (2, 3)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("recompute", ["first-10", "first-40", "full"])
def test_recomputation_trades_time_for_memory(recompute: str, catalog: Catalog) -> None:
    kept = given(catalog, tp=8, pp=2, dp=4)
    again = given(catalog, tp=8, pp=2, dp=4, recompute=recompute)
    assert again.memory_bytes < kept.memory_bytes
    assert again.step_s > kept.step_s
    assert again.hfu / again.mfu > kept.hfu / kept.mfu


def test_tensor_parallel_across_servers_pays_for_the_slow_links(catalog: Catalog, overlay: Overlay) -> None:
    inside, across = given(catalog, tp=8, dp=8), given(catalog, tp=16, dp=4)
    assert across.time["tensor_comm"] > 2 * inside.time["tensor_comm"]
    assert across.step_s > inside.step_s
    slow = overlay(offers=[OFFER | {"scale_out_bytes_per_s_per_accelerator": 6.25e9}])
    assert given(slow, tp=16, dp=4).time["tensor_comm"] > across.time["tensor_comm"]
    assert given(slow, tp=8, dp=8).time["tensor_comm"] == inside.time["tensor_comm"]


@pytest.mark.parametrize("name", ["dense", "large", "moe"])
def test_no_plan_splits_tensors_across_slow_links(name: str, overlay: Overlay) -> None:
    slow = overlay(offers=[OFFER | {"scale_out_bytes_per_s_per_accelerator": 12.5e9}])
    assert plan(job_named(name, slow), slow, top=0).best.layout.tp <= 8


def test_longer_pipelines_with_few_micro_batches_have_larger_bubbles(catalog: Catalog) -> None:
    shares = []
    for pp in (2, 4, 8):
        one = given(catalog, tp=8, pp=pp, global_batch=8)
        shares.append(one.time["bubble"] / one.step_s)
    assert shares == sorted(shares)
    few, many = (given(catalog, tp=8, pp=4, global_batch=batch) for batch in (8, 64))
    assert many.time["bubble"] / many.step_s < few.time["bubble"] / few.step_s


# --- determinism --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIRST)
def test_the_same_question_has_the_same_answer(name: str, overlay: Overlay, plans: dict[str, Plan]) -> None:
    other = overlay()
    again = plan(job_named(name, other), other, top=4)
    assert again.to_json() == plans[name].to_json()


def test_the_order_of_named_hardware_does_not_matter() -> None:
    shipped = Catalog()
    names = ["a100-sxm-80g", "ascend-910b"]
    first, second = (
        plan(read_job(shipped, "llama-2-7b", 100e9, hardware=order, max_accelerators=32), shipped)
        for order in (names, names[::-1])
    )
    assert first.best == second.best
    assert first.alternatives == second.alternatives
