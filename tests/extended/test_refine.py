"""Refining: never worse than the exact optimum, the same for the same seed, resumable, and safe from kills."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy as sa

from catalogs.errors import InfeasibleError, UsageError
from optimizer.extended.candidate import Extension
from optimizer.extended.refine import Refined, refine
from optimizer.extended.sampler import SAMPLERS
from optimizer.extended.storage import JOURNAL, open_study, with_driver
from optimizer.extended.study import BATCH
from optimizer.planning import pareto, plan
from tests.extended.jobs import CATALOG, JOBS

JOB = JOBS["dense"]


def stored(url: str, name: str) -> int:
    with open_study(url, name, 1) as study:
        return len(study.get_trials(deepcopy=False))


@pytest.fixture(scope="module")
def alone() -> Refined:
    return refine(JOB, CATALOG, points=3 * BATCH)


def test_the_plan_is_never_worse_than_the_exact_optimum(alone: Refined) -> None:
    exact = plan(JOB, CATALOG, top=0).best
    assert alone.start is not None
    assert alone.start.cost_usd == exact.cost_usd
    (best,) = alone.plans
    assert best.outcome.feasible
    assert best.outcome.cost_usd <= (exact.cost_usd or 0) * (1 + 1e-12)
    assert alone.gain == pytest.approx(1 - best.outcome.cost_usd / (exact.cost_usd or 0))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_extensions_it_is_the_exact_optimum(sampler: str) -> None:
    got = refine(JOB, CATALOG, extend=(), points=2 * BATCH, sampler=sampler)  # type: ignore[arg-type]
    assert got.start is not None
    assert got.plans[0].outcome.cost_usd == pytest.approx(got.start.cost_usd, rel=1e-12)


def test_the_same_seed_gives_the_same_plan(alone: Refined) -> None:
    again = refine(JOB, CATALOG, points=3 * BATCH)
    assert json.dumps(again.to_json()) == json.dumps(alone.to_json())
    other = refine(JOB, CATALOG, points=3 * BATCH, seed=1)
    assert list(other.problem.known) != list(alone.problem.known)


def test_a_study_goes_on_where_it_ended(storage: str) -> None:
    url = storage
    first = refine(JOB, CATALOG, points=BATCH, storage=url)
    assert first.search.study is not None
    assert stored(url, first.search.study) == first.search.points == BATCH
    second = refine(JOB, CATALOG, points=2 * BATCH, storage=url)
    assert second.search.points == stored(url, first.search.study) == 2 * BATCH
    assert second.plans[0].outcome.cost_usd <= first.plans[0].outcome.cost_usd
    third = refine(JOB, CATALOG, points=2 * BATCH, storage=url)
    assert third.to_json()["best"] == second.to_json()["best"]
    assert third.search == second.search
    # What the storage knows is not evaluated again: only the starts are.
    assert third.problem.evaluated < second.problem.evaluated
    other = refine(replace(JOB, tokens=JOB.tokens / 2), CATALOG, points=1, storage=url)
    assert other.search.study != first.search.study


def test_an_interrupt_keeps_the_best_and_the_finished_batches(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"

    def impatient(done: int, _total: int) -> None:
        if done == BATCH:
            raise KeyboardInterrupt

    got = refine(JOB, CATALOG, points=4 * BATCH, storage=url, progress=impatient)
    assert got.search.interrupted
    assert got.search.study is not None
    assert stored(url, got.search.study) == got.search.points == BATCH
    assert got.gain is not None
    assert got.gain >= -1e-12
    assert refine(JOB, CATALOG, points=2 * BATCH, storage=url).search.points == 2 * BATCH


def test_several_objectives_give_a_front_that_holds_the_exact_one() -> None:
    objectives = ("cost", "days", "accelerators")
    got = refine(JOB, CATALOG, objectives=objectives, points=2 * BATCH)  # type: ignore[arg-type]
    values = [one.values for one in got.plans]
    for one in values:
        assert not any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in values)
    for exact in pareto(JOB, CATALOG)[0]:
        figures = (exact.cost_usd or 0, exact.days, exact.accelerators)
        assert any(all(a <= b * (1 + 1e-9) for a, b in zip(one, figures, strict=True)) for one in values)


def test_mixed_offers_meet_what_no_single_offer_can() -> None:
    """Two pools of one provider, each too small for the deadline."""
    found = plan(JOB, CATALOG, top=0).best
    assert found.offer is not None
    cap = max(found.servers * 2 // 3, 1)
    offers = {}
    for name, factor in (("pool-a", 1.0), ("pool-b", 1.3)):
        record = CATALOG.offers[found.offer]
        offers[name] = record.model_copy(
            update={"name": name, "price": record.price * factor, "max_servers": cap, "provider": "ours"}
        )
    catalog = type(CATALOG)()
    catalog.__dict__["offers"] = offers
    job = replace(JOB, offers=tuple(offers), deadline_s=found.days * 86400 * 1.02)
    with pytest.raises(InfeasibleError):
        plan(job, catalog)
    extend: tuple[Extension, ...] = ("offers",)
    got = refine(job, catalog, extend=extend, points=8 * BATCH)
    assert got.start is None
    assert got.gain is None
    assert set(got.plans[0].outcome.servers) == set(offers)
    assert got.plans[0].outcome.servers["pool-a"] == cap


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 2}, "storage"),
        ({"points": 0}, "--trials"),
        ({"objectives": ("cost", "cost")}, "once"),
        ({"batch_range": 0.2, "extend": ("stages",)}, "batch among"),
        ({"batch_range": 0.7}, "0.5"),
        ({"storage": "sqlite:////no/such/directory/x.db"}, "--storage"),
        ({"storage": "journal:////no/such/directory/x"}, "no directory"),
        ({"storage": "nonsense"}, "--storage"),
    ],
)
def test_senseless_requests_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        refine(JOB, CATALOG, **change)  # type: ignore[arg-type]


def test_the_risk_of_being_late_needs_a_deadline() -> None:
    with pytest.raises(UsageError, match="deadline"):
        refine(replace(JOB, deadline_s=math.inf), CATALOG, objectives=("cost", "risk"))


COMMAND = (
    *(sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())"),
    *("refine", "-m", "llama-2-7b", "-t", "200B", "-d", "30d", "-H", "a100-sxm-40g", "--max-accelerators", "128"),
    *("--sampler", "random", "--json"),
)


def worker_of(parent: int) -> int | None:
    """A spawned worker of a process, once it has begun to work."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rsplit(")", 1)[1].split()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat[1]) == parent and b"spawn_main" in command:
            return int(path.name)
    return None


def wait_for_points(url: str, process: subprocess.Popen[bytes], least: int) -> tuple[str, int]:
    """Wait until a study in a database has so many points; gives its name and how many there are."""
    engine = sa.create_engine(with_driver(sa.make_url(url)), poolclass=sa.NullPool)
    query = sa.text("SELECT study_name, COUNT(*) FROM studies JOIN trials USING (study_id) GROUP BY study_name")
    while process.poll() is None:
        try:
            with engine.connect() as database:
                for name, count in database.execute(query).all():
                    if count >= least:
                        return name, stored(url, name)
        except sa.exc.DBAPIError:  # no tables yet
            pass
        time.sleep(0.1)
    raise AssertionError(process.communicate())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes under /proc")
def test_a_killed_worker_loses_no_more_than_its_batch(storage: str) -> None:
    if storage.startswith(JOURNAL):
        pytest.skip("watched through SQL")
    url, points = storage, 10 * BATCH
    command = [*COMMAND, "--workers", "2", "--trials", str(points), "--storage", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        name, before = wait_for_points(url, process, 2 * BATCH)
        worker = worker_of(process.pid)
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    found = json.loads(out)
    assert found["search"]["lost_workers"] == 1
    assert found["search"]["points"] == points
    assert stored(url, name) == points
    assert before >= 2 * BATCH
    assert found["gain"] >= -1e-12


def open_at_once(url: str, start: Barrier) -> None:
    start.wait()
    with open_study(url, "shared", 1):
        pass


def test_a_new_storage_may_be_opened_by_several_processes_at_once(storage: str) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=open_at_once, args=(storage, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert stored(storage, "shared") == 0


def test_no_password_is_shown() -> None:
    with pytest.raises(UsageError) as refused:
        refine(JOB, CATALOG, storage="postgresql://planner:secret@localhost:1/studies")
    assert "secret" not in str(refused.value)
    assert "planner" in str(refused.value)


@pytest.mark.slow
def test_a_killed_command_is_resumed_with_all_its_finished_batches(tmp_path: Path) -> None:
    url, points = f"sqlite:///{tmp_path / 'study.db'}", 600
    command = [*COMMAND, "--trials", str(points), "--storage", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        name, before = wait_for_points(url, process, 2 * BATCH)
        process.kill()
        process.communicate()
    kept = stored(url, name)
    assert before <= kept < points
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], check=True, timeout=300)
    assert json.loads(done.stdout)["search"]["points"] == points
    assert stored(url, name) == points
