"""The commands of docs/questions.md run, and say what the page says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

PAGE = (Path(__file__).parents[2] / "docs" / "questions.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def run(cli: Cli, start: str, *more: str) -> Any:
    """The JSON of the only command of the page that starts with these words."""
    (command,) = [one for one in COMMANDS if one.startswith(f"clusterplan {start}") and (not more or more[0] in one)]
    done = cli(*shlex.split(command)[1:], "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_commands_are_there() -> None:
    assert len(COMMANDS) == 12


def test_largest_model(cli: Cli) -> None:
    sizes = {}
    for command in COMMANDS:
        if " fit model" in command:
            done = cli(*shlex.split(command)[1:], "--json")
            sizes[command.partition("--step 1G")[2].strip()] = json.loads(done.out)["value"] / 1e9
    assert sizes == {"--no-offload -f torchtitan-fsdp2": 37, "--no-offload": 30, "": 91}
    for size in sizes.values():
        assert f"| {size:.0f}B |" in PAGE
    assert run(cli, "envelope model")["results"]["params"] == 40e9


def test_days_of_70b(cli: Cli) -> None:
    assert run(cli, "envelope days")["results"]["days"] == pytest.approx(143.9, abs=0.05)
    found = run(cli, "when")
    low, high = found["days_interval"]
    assert f"{found['days']:.0f} (90%: {low:.0f} to {high:.0f})" in PAGE
    assert f"{found['configuration']['mfu']:.0%}" in PAGE


@pytest.mark.slow
def test_sizes(cli: Cli) -> None:
    (one,) = run(cli, "size", "15T")["sizes"]
    assert f"{one['to_meet']:,}" in PAGE
    for size in run(cli, "size", "90d")["sizes"]:
        assert f"{size['to_meet']} A" in PAGE


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_fine_tuning(cli: Cli, method: str) -> None:
    found = run(cli, "finetune", f"--method {method} ")
    label = {"full": "full", "lora": "LoRA", "qlora": "QLoRA"}[method]
    (row,) = [line for line in PAGE.splitlines() if line.startswith((f"| {label} ", f"| {label},")) and "|" in line]
    assert row.split("|")[3].split()[0] == str(found["configuration"]["accelerators"])


def test_doctor(cli: Cli) -> None:
    found = run(cli, "doctor")
    assert f"{found['stages'][0]['over_bytes'] / 2**30:.1f} GiB over" in PAGE
    assert found["repairs"][0]["changes"] == ["micro-batch 2 instead of 4"]
    assert any(one["changes"] == ["context parallel 2 instead of 1"] for one in found["repairs"])
    assert all(one["changes"] != ["optimizer in host memory"] for one in found["repairs"])
