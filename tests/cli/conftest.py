"""Running the command in this process, away from the caller's environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from optimizer.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("CLUSTERPLAN_CATALOG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return run
