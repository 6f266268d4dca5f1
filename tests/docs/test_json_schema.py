"""The keys that docs/json-schema.md documents are the ones that the commands emit, no more and no fewer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

PAGE = (Path(__file__).parents[2] / "docs" / "json-schema.md").read_text(encoding="utf-8")
H100 = ("-H", "h100-sxm-80g")
SMALL = ("-m", "llama-3-8b")

COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "fit": [
        ("fit", "model", *H100, "-a", "1", "--step", "1G"),
        ("fit", "seq", *SMALL, *H100, "-a", "2"),
        ("fit", "micro-batch", *SMALL, *H100, "-a", "2"),
    ],
    "size": [("size", *SMALL, "-H", "h100-sxm-80g,rtx-4090", "-t", "1T", "-d", "90d", "--max-accelerators", "32")],
    "when": [("when", *SMALL, "-t", "100B", *H100, "-a", "8", "--start", "2026-01-31")],
    "afford": [("afford", *SMALL, "--budget", "$50k", "-d", "60d", *H100, "--max-accelerators", "16",
                "--offers", "ovhcloud-4x-h100-sxm-80g-on-demand")],
    "doctor": [
        ("doctor", "-m", "llama-2-7b", "-H", "a100-sxm-40g", "--dp", "8", "--micro-batch", "2", "--global-batch", "64",
         "--step", "5s", "--peak", "39GiB"),
    ],
    "finetune": [("finetune", *SMALL, *H100, "-a", "1", "--method", "qlora", "--seq", "2048")],
    "levers": [("levers", *SMALL, "-t", "100B", *H100, "-a", "8")],
    "footprint": [("footprint", *SMALL, "-t", "1T", *H100, "-a", "8")],
}  # fmt: skip


def documented(command: str) -> set[str]:
    """Names in the first column of the section of a command."""
    (section,) = re.findall(rf"(?ms)^## `clusterplan {command} --json`$(.*?)(?=^## )", PAGE)
    rows = re.findall(r"(?m)^\| (`.*?) \|", section)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def emitted(document: Any, names: set[str]) -> set[str]:
    """Keys of a document; those of nested objects too where the page documents any of them."""
    found = set(document)
    for parent in {name.replace("[]", "").rpartition(".")[0] for name in names if "." in name}:
        value = document[parent]
        mark = f"{parent}[]." if isinstance(value, list) else f"{parent}."
        assert value, f"the example has no {parent}"
        for one in value if isinstance(value, list) else [value]:
            found |= {mark + key for key in one}
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_keys_are_the_emitted_ones(cli: Cli, command: str) -> None:
    names = documented(command)
    for arguments in COMMANDS[command]:
        done = cli(*arguments, "--json")
        assert done.code == 0, done.err
        assert emitted(json.loads(done.out), names) == names


def test_documented_configuration(cli: Cli) -> None:
    (section,) = re.findall(r"(?ms)^### A configuration$(.*?)(?=^##)", PAGE)
    names = {name for row in re.findall(r"(?m)^\| (`.*?) \|", section) for name in re.findall(r"`([^`]+)`", row)}
    done = cli("when", *SMALL, "-t", "100B", *H100, "-a", "8", "--json")
    assert set(json.loads(done.out)["configuration"]) == names
