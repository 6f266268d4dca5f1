"""The shipped examples of nightly runs: they parse, use flags that exist, and take advice for no failure."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from optimizer.cli.app import build
from tests.cli.conftest import Cli, cli  # noqa: F401

EXAMPLES = Path(__file__).parents[2] / "examples" / "replan"
CRON = r"[\d*/,-]+( [\d*/,-]+){4}"


def document(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((EXAMPLES / name).read_text("utf-8"))
    return loaded


def kubernetes_script() -> str:
    (container,) = document("kubernetes-cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    return str(container["args"][0])


def actions_script() -> str:
    steps = document("github-actions.yaml")["jobs"]["replan"]["steps"]
    return str(next(step["run"] for step in steps if step.get("name") == "replan"))


def cron_script() -> str:
    ((_, line),) = re.findall(rf"^{CRON} (.*)$", (EXAMPLES / "crontab").read_text("utf-8"), re.MULTILINE)
    return str(line)


def systemd_script() -> str:
    (line,) = re.findall("^ExecStart=/usr/local/bin/(.*)$", service(), re.MULTILINE)
    return str(line)


def service() -> str:
    return (EXAMPLES / "clusterplan-replan.service").read_text("utf-8")


SCRIPTS = {
    "crontab": cron_script,
    "systemd": systemd_script,
    "kubernetes": kubernetes_script,
    "github": actions_script,
}


def replan_arguments(script: str) -> list[str]:
    """What stands after ``clusterplan replan`` in a script."""
    (command,) = re.findall(r"clusterplan replan (.*)", script.replace("\\\n", " "))
    words = shlex.split(command.split("||")[0].split(">>")[0])
    return [word.replace("%S", "/var/lib").replace("%C", "/var/cache") for word in words]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_flags_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERPLAN_HISTORY", "postgresql://planner@db/nights")
    replan = get_command(build()).commands["replan"]  # type: ignore[attr-defined]
    given = replan.make_context("replan", replan_arguments(SCRIPTS[name]())).params
    assert given["slack"] == ["SLACK_URL"]
    assert given["wait"] == 600
    assert given["history"]


@pytest.mark.parametrize(("code", "told"), [(0, 0), (10, 0), (11, 0), (1, 1), (3, 3)])
@pytest.mark.parametrize("name", ["kubernetes", "github"])
def test_advice_is_no_failure_and_a_failure_is_one(name: str, code: int, told: int, tmp_path: Path) -> None:
    stub = tmp_path / "clusterplan"
    stub.write_text(f"#!/bin/sh\nexit {code}\n", "utf-8")
    stub.chmod(0o755)
    shell = ["sh", "-c"] if name == "kubernetes" else ["bash", "-e", "-c"]
    done = subprocess.run([*shell, SCRIPTS[name]()], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert done.returncode == told


def test_systemd_takes_advice_for_success_and_the_units_hold(tmp_path: Path) -> None:
    assert "SuccessExitStatus=10 11" in service().splitlines()
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    shutil.copy(EXAMPLES / "clusterplan-replan.timer", tmp_path)
    unit = tmp_path / "clusterplan-replan.service"
    unit.write_text(service().replace("/usr/local/bin/clusterplan", "/bin/true"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit.name, "clusterplan-replan.timer"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_schedules_are_nightly_and_runs_do_not_overlap() -> None:
    cronjob = document("kubernetes-cronjob.yaml")
    assert (cronjob["apiVersion"], cronjob["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(CRON, cronjob["spec"]["schedule"])
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
    workflow = document("github-actions.yaml")
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 reads the key "on" so
    assert re.fullmatch(CRON, schedule["cron"])
    assert workflow["concurrency"]


def test_the_example_jobs_are_planned_at_the_example_prices(tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    outcome = cli(
        "replan", "--jobs", str(EXAMPLES / "jobs.yaml"), "--prices", str(EXAMPLES / "prices.csv"),
        "--history", str(tmp_path / "history.db"), "--cache", str(tmp_path / "layouts"), "--as-of", "2026-11-02",
    )  # fmt: skip
    assert outcome.code == 10
    assert "chat-8b: switch" in outcome.out
    assert "code-1b: start" in outcome.out
