"""``doctor`` at the command line: flags, launch files, observations and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

FILES = Path(__file__).parents[1] / "optimizer" / "launch_files_data"
FLAGS = ("doctor", "-m", "llama-2-70b", "-H", "a800-sxm-80g", "--tp", "8", "--pp", "2", "--dp", "4")
FAILING = (*FLAGS, "--micro-batch", "4", "--global-batch", "512")


def test_failing_layout(cli: Cli) -> None:
    done = cli(*FAILING, "--oom-rank", "3", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["stages"][0]["over_bytes"] > 0
    assert found["oom_stage"] == 0
    assert all(one["configuration"]["fits"] for one in found["repairs"])
    text = cli(*FAILING, "--step", "90s", "--peak", "79GiB").out
    assert "GiB too much" in text
    assert "micro-batch 2 instead of 4" in text
    assert "Measured seconds of a step: 90" in text
    assert "Measured peak memory: 79 GiB, predicted " in text


def test_launch_file(cli: Cli) -> None:
    done = cli("doctor", "-H", "h100-sxm-80g", "--launch", str(FILES / "llama_70b.sh"), "-a", "512", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["configuration"]["layout"]["pp"] == 8
    assert "--wgrad-deferral-limit 22" in found["launch"]["unknown"]
    text = cli("doctor", "-H", "h100-sxm-80g", "--launch", str(FILES / "llama_70b.sh"), "-a", "512").out
    assert "unknown argument, not modelled: --wgrad-deferral-limit 22" in text


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ("doctor", "-H", "h100-sxm-80g"), "--launch"),
        (2, ("doctor", "-H", "h100-sxm-80g,b200", "-m", "7B"), "exactly one"),
        (2, (*FLAGS, "--peak", "80"), "--peak"),
        (2, (*FLAGS, "--oom-rank", "100"), "rank 100"),
        (2, (*FLAGS, "--recompute", "some"), "--recompute"),
        (3, ("doctor", "-H", "h100-sxm-80g", "--launch", "nowhere.json"), "nowhere.json"),
    ],
)
def test_refusals(cli: Cli, code: int, arguments: tuple[str, ...], words: str) -> None:
    done = cli(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert words in done.err


def test_help_shows_examples(cli: Cli) -> None:
    assert "clusterplan doctor " in cli("doctor", "--help").out
