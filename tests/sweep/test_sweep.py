"""Sweeps: each scenario as `plan` answers it, in order, the same wherever it is planned."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalogs.catalog import Catalog
from costmodels.run import DAY_S
from optimizer.catalog_variant import with_fabric
from optimizer.cli import INTERRUPTED
from optimizer.planning import plan
from optimizer.request import read_job
from optimizer.sweep import outcome
from optimizer.sweep.grid import read_grid
from optimizer.sweep.run import serial, sweep
from tests.cli.conftest import Cli, cli  # noqa: F401

CATALOG = Catalog()
SMALL = ["-m", "llama-3.2-1b", "-t", "5B", "--max-accelerators", "16"]
FLAGS = {
    "model": ["llama-3.2-1b"],
    "tokens": ["2B", "3B", "5B"],
    "deadline": ["6h", "20d"],
    "hardware": ["a800-sxm-80g", "ascend-910b"],
    "max_accelerators": ["16"],
}


def test_a_scenario_is_what_plan_answers(cli: Cli) -> None:  # noqa: F811
    code, out, _ = cli(
        "sweep", *SMALL, "-d", "1h", "-d", "20d", "-H", "a800-sxm-80g", "-H", "tpu-v4", "--serial", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["varied"] == ["deadline", "hardware"]
    statuses = [one["status"] for one in found["scenarios"]]
    assert statuses[0] == "infeasible"
    assert statuses[2] == "planned"
    assert found["counts"] == {status: statuses.count(status) for status in sorted(set(statuses))}
    job = read_job(CATALOG, "llama-3.2-1b", 5e9, deadline_s=20 * DAY_S, hardware=["a800-sxm-80g"], max_accelerators=16)
    alone = plan(job, CATALOG).to_json()
    scenario = found["scenarios"][2]
    assert (scenario["best"], scenario["job"]) == (alone["best"], alone["job"])
    assert scenario["certificate"]["space"] == alone["certificate"]["space"]
    assert scenario["certificate"]["gap"] == 0
    assert "deadline is 60 min" in found["scenarios"][0]["reason"]


def test_the_table_and_the_csv_have_a_line_for_every_scenario(cli: Cli) -> None:  # noqa: F811
    question = ["sweep", *SMALL, "-d", "1h", "-d", "20d", "-H", "a800-sxm-80g,h100-sxm-80g", "--serial"]
    code, out, _ = cli(*question)
    assert code == 0
    assert "2 scenarios: 1 planned, 1 infeasible" in out
    code, out, _ = cli(*question, "--csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["deadline"], row["status"]) for row in rows] == [("1h", "infeasible"), ("20d", "planned")]
    assert float(rows[1]["cost_usd"]) > 0
    assert rows[1]["hardware"] in {"a800-sxm-80g", "h100-sxm-80g"}
    assert rows[0]["cost_usd"] == ""


def test_a_sweep_without_any_plan_says_so(cli: Cli) -> None:  # noqa: F811
    assert cli("sweep", *SMALL, "-d", "1h", "-H", "a800-sxm-80g", "--serial").code == 4
    assert cli("sweep", *SMALL, "--serial", "--workers", "2").code == 2
    assert cli("sweep", *SMALL, "--json", "--csv").code == 2


def test_a_fabric_replaces_the_network_of_all_servers() -> None:
    fabric = CATALOG.fabrics["roce-100"]
    slow = with_fabric(CATALOG, fabric)
    costs = []
    for catalog in (CATALOG, slow):
        job = read_job(catalog, "llama-3-8b", 1e11, deadline_s=10 * DAY_S, hardware=["h100-sxm-80g"])
        best = plan(job, catalog, top=0).best
        costs.append(best.cost_usd or 0.0)
    assert costs[1] > costs[0]
    assert {one.fabric for one in slow.servers.values()} == {"roce-100"}
    isolated = [name for name, one in CATALOG.offers.items() if one.training_grade is False]
    assert all(slow.offers[name] == CATALOG.offers[name] for name in isolated)


def test_a_price_book_replaces_the_offers(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    header = "provider,region,instance,accelerator,accelerators_per_server,tenure,price,currency,unit,date,source"
    row = "House,,,a800-sxm-80g,8,on_demand,0.5,USD,accelerator_hour,2026-01-01,house"
    book.write_text(f"{header}\n{row}\n{row.replace('a800-sxm-80g', 'unheard-of').replace('0.5', '-1')}\n")
    flags = {"model": ["llama-3.2-1b"], "tokens": ["5B"], "hardware": ["a800-sxm-80g"], "max_accelerators": ["16"]}
    grid = read_grid(CATALOG, None, flags | {"prices": ["catalog", str(book)]})
    (shipped, house), _ = sweep(grid, serial(grid))
    assert house["best"]["provider"] == "House"
    assert house["best"]["cost_usd"] < shipped["best"]["cost_usd"]
    assert house["scenario"]["prices"] == str(book)


def test_an_interrupt_keeps_what_was_planned(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:  # noqa: F811
    honest, seen = outcome.plan, []

    def interrupted(*arguments: object, **options: object) -> object:
        seen.append(arguments)
        if len(seen) > 1:
            raise KeyboardInterrupt
        return honest(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(outcome, "plan", interrupted)
    code, out, _ = cli(
        "sweep", *SMALL, "-d", "20d", "-d", "30d", "-d", "40d", "-H", "a800-sxm-80g", "--serial", "--json"
    )
    found = json.loads(out)
    assert code == INTERRUPTED
    assert found["interrupted"]
    assert [one["status"] for one in found["scenarios"]] == ["planned", "unfinished", "unfinished"]


def test_an_address_where_nobody_listens_is_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("optimizer.sweep.cluster.CONNECT_S", 0.2)
    code, out, err = cli("sweep", *SMALL, "-H", "a800-sxm-80g", "--scheduler", "tcp://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert "no Dask scheduler answers there" in err


# --- on workers ---------------------------------------------------------------------------------------------------


CLUSTERPLAN = "import sys; from optimizer.cli import main; sys.exit(main(sys.argv[1:]))"
ROOT = str(Path(__file__).parents[2])
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one_process() -> None:
    flags = [text for name, values in FLAGS.items() for v in values for text in (f"--{name.replace('_', '-')}", v)]

    def printed(*how: str) -> bytes:
        command = [sys.executable, "-c", CLUSTERPLAN, "sweep", *flags, "--json", *how]
        done = subprocess.run(command, capture_output=True, check=False, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    alone = printed("--serial")
    assert len(json.loads(alone)["scenarios"]) == 12
    assert printed("--workers", "2") == alone


LOSING_A_WORKER = """
import json, os, signal
from catalogs.catalog import Catalog
from optimizer.sweep.cluster import client_of, distributed
from optimizer.sweep.grid import read_grid
from optimizer.sweep.run import serial, sweep

def main():
    grid = read_grid(Catalog(), None, {flags})
    killed = []

    def kill(done, total):
        if done in (2, 5):
            worker = client.cluster.workers[len(killed) % 2]
            killed.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)

    with client_of(None, 2) as client:
        spread, interrupted = sweep(grid, distributed(grid, client), kill)
    alone, _ = sweep(grid, serial(grid))
    assert len(killed) == 2 and not interrupted
    assert json.dumps(spread) == json.dumps(alone)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_a_killed_worker_loses_no_scenario(tmp_path: Path) -> None:
    script = tmp_path / "losing.py"
    script.write_text(LOSING_A_WORKER.replace("{flags}", repr(FLAGS)))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()
