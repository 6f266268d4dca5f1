"""``fit``, ``size``, ``when`` and ``afford`` at the command line: documents, examples and exit codes."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "unit"),
    [
        (("fit", "model", "-H", "rtx-4090", "-a", "1"), "parameters"),
        (("fit", "seq", "-m", "llama-3-8b", "-H", "h100-sxm-80g", "-a", "8"), "tokens"),
        (("fit", "micro-batch", "-m", "llama-3-8b", "-H", "h100-sxm-80g", "-a", "8", "--no-offload"), "sequences"),
    ],
)
def test_fit(cli: Cli, arguments: tuple[str, ...], unit: str) -> None:
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["unit"] == unit
    assert found["value"] >= found["step"]
    assert found["configuration"]["fits"]
    text = cli(*arguments)
    assert text.code == 0
    assert "bound by" in text.out


def test_size_and_when(cli: Cli) -> None:
    done = cli("size", "-m", "llama-3-8b", "-t", "100B", "-d", "30d", "-H", "h100-sxm-80g,a100-sxm-80g", "--json")
    assert done.code == 0, done.err
    sizes = json.loads(done.out)["sizes"]
    assert [one["hardware"] for one in sizes] == ["h100-sxm-80g", "a100-sxm-80g"]
    count = sizes[0]["to_meet"]
    base = ("when", "-m", "llama-3-8b", "-t", "100B", "-H", "h100-sxm-80g")
    ends = json.loads(cli(*base, "-a", str(count), "--start", "2026-01-31", "--json").out)
    assert ends["days"] <= 30
    assert ends["end"] <= "2026-03-02"
    assert ends["end_interval"][0] <= ends["end"] <= ends["end_interval"][1]
    assert json.loads(cli(*base, "-a", str(count - 1), "--json").out)["days"] > 30


def test_afford(cli: Cli) -> None:
    arguments = ("afford", "-m", "llama-3-8b", "-b", "$5k", "-d", "20d", "-H", "h100-sxm-80g")
    offer = ("--offers", "hyperstack-h100-sxm-80g-on-demand", "--max-accelerators", "16")
    done = cli(*arguments, *offer, "--json")
    assert done.code == 0, done.err
    (one,) = json.loads(done.out)["affordable"]
    assert one["configuration"]["cost_usd"] <= 5000
    assert "bound by" in cli(*arguments, *offer).out


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ("fit", "model", "-H", "h100-sxm-80g,b200", "-a", "8"), "exactly one"),
        (2, ("fit", "model", "-H", "h100", "-a", "0"), "--accelerators"),
        (2, ("fit", "model", "-H", "h1000", "-a", "8"), "h1000"),
        (2, ("fit", "model", "-H", "h100-sxm-80g", "-a", "8", "--like", "mixtral-8x7b"), "dense"),
        (4, ("fit", "seq", "-m", "deepseek-v3", "-H", "h100-sxm-80g", "-a", "1"), "nothing fits"),
        (4, ("size", "-m", "deepseek-v3", "-H", "h100-sxm-80g", "--max-accelerators", "8"), "does not fit"),
        (4, ("when", "-m", "deepseek-v3", "-t", "1T", "-H", "h100-sxm-80g", "-a", "8"), "clusterplan size"),
        (2, ("when", "-m", "7B", "-t", "1T", "-H", "h100-sxm-80g", "-a", "8", "--start", "soon"), "2026-01-31"),
        (2, ("afford", "-m", "7B", "-H", "h100-sxm-80g"), "--budget"),
        (2, ("afford", "-m", "7B", "--ratio", "20", "-b", "$1k", "-H", "h100-sxm-80g"), "not both"),
    ],
)
def test_refusals(cli: Cli, code: int, arguments: tuple[str, ...], words: str) -> None:
    done = cli(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert words in done.err


@pytest.mark.parametrize(
    "command", [("fit", "model"), ("fit", "seq"), ("fit", "micro-batch"), ("size",), ("when",), ("afford",)]
)
def test_help_shows_examples(cli: Cli, command: tuple[str, ...]) -> None:
    done = cli(*command, "--help")
    assert done.code == 0
    assert f"clusterplan {' '.join(command)} " in done.out
