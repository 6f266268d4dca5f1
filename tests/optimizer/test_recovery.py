"""How a job recovers is part of plans and comparisons: goodput, days, words, and what they rest on."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.errors import UsageError
from optimizer.compare import compare
from optimizer.configuration import Configuration
from optimizer.job import Job, RecoveryName
from optimizer.market import sites
from optimizer.physics import resilience
from optimizer.planning import Plan, plan
from optimizer.request import read_job

CATALOG = Catalog()
NAMES: tuple[RecoveryName, ...] = get_args(RecoveryName)


@pytest.fixture(scope="module")
def job() -> Job:
    return read_job(
        CATALOG,
        "llama-2-7b",
        50e9,
        hardware=["a800-sxm-80g"],
        offers=["rent"],
        max_accelerators=64,
        global_batch=256,
        deadline_s=10 * 86400.0,
    )


@pytest.fixture(scope="module")
def plans(job: Job) -> dict[str, Plan]:
    return {name: plan(replace(job, recovery=name), CATALOG, top=0) for name in NAMES}


def test_people_lose_more_time_than_machines_and_replicas_less(plans: dict[str, Plan]) -> None:
    best: dict[str, Configuration] = {name: found.best for name, found in plans.items()}
    assert best["manual"].goodput < best["automatic"].goodput < best["replica"].goodput
    assert (best["manual"].cost_usd or 0) > (best["automatic"].cost_usd or 0)


def test_another_replica_holds_the_state_of_one_that_fails(plans: dict[str, Plan], job: Job) -> None:
    assert plans["automatic"].best.layout.zero > 0
    assert (plans["replica"].best.layout.zero, plans["replica"].best.layout.dp > 1) == (0, True)
    grouped = replace(job, recovery="replica", hardware=("h100-sxm-80g",), frameworks=("torchtitan-fsdp2",))
    layout = plan(grouped, CATALOG, top=0).best.layout
    assert layout.dp * layout.cp >= 2 * layout.zero_group > 0 or layout.zero == 0


def test_a_cluster_loses_by_its_size_and_by_who_restarts_it(job: Job) -> None:
    site = sites(job, CATALOG)[0][0]
    sizes = np.array([64.0, 1024.0, 16384.0])
    share = {name: resilience(replace(job, recovery=name), site, CATALOG).goodput(sizes) for name in NAMES}
    assert np.all(share["manual"] < share["automatic"])
    assert np.all(share["automatic"] < share["replica"])
    assert all(np.all(np.diff(one) < 0) for one in share.values())
    people = resilience(replace(job, recovery="manual"), site, CATALOG)
    wide = people.log_sigma(sizes, np.asarray(1e8), share["manual"])
    certain = replace(people, recovery=replace(people.recovery, restart_log_sigma=np.zeros(())))
    assert np.all(wide > certain.log_sigma(sizes, np.asarray(1e8), share["manual"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("automatic", "costs 10 min and the work"),
        ("manual", "costs 4.2 h until people"),
        ("replica", "costs 3 min, and 10"),
    ],
)
def test_plans_say_what_an_interruption_costs(plans: dict[str, Plan], name: str, words: str) -> None:
    found = plans[name].to_json()
    assert found["job"]["recovery"] == name
    assert any(words in said for said in found["assumptions"])


def test_a_comparison_rests_on_the_figures_of_its_recovery(job: Job) -> None:
    found = {name: compare(replace(job, recovery=name), CATALOG, draws=100) for name in NAMES[:2]}
    names = {name: {one["name"] for one in one.assumptions()} for name, one in found.items()}
    assert "restart-s" in names["automatic"] - names["manual"]
    assert {"manual-restart-s"} <= names["manual"] - names["automatic"]
    assert found["manual"].ranking[0].goodput < found["automatic"].ranking[0].goodput
    assert not any("failures:" in risk for risk in found["manual"].risks(found["manual"].ranking[0]))
    swings = {name: {bar["parameter"] for bar in one.to_json()["tornado"]} for name, one in found.items()}
    assert swings["manual"] - swings["automatic"] == {"manual-restart-s"}
    assert found["manual"].to_json()["job"]["recovery"] == "manual"


def test_a_stated_goodput_leaves_nothing_to_recover_from() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        read_job(CATALOG, "llama-2-7b", 50e9, goodput=0.9, recovery="replica")
