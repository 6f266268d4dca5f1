"""Nights at the command line: one small job, two offers, prices that a test moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.conftest import Cli

JOBS = """- name: small
  model: llama-3.2-1b
  tokens: 50B
  hardware: [a100-sxm-80g, h100-sxm-80g]
  max_accelerators: 32
  global_batch: 64
  deadline: 2027-06-01
"""
PRICES = """provider,region,instance,accelerator,accelerators_per_server,tenure,price,currency,unit,date
Acme,r1,box,a100-sxm-80g,8,on_demand,{a100},USD,accelerator_hour,2026-10-01
Acme,r2,box,h100-sxm-80g,8,on_demand,{h100},USD,accelerator_hour,2026-10-01
"""


class Outcome(NamedTuple):
    code: int
    out: dict[str, Any]
    err: str


class Nights:
    """The files of a platform team, and their nightly command."""

    def __init__(self, folder: Path, history: str, cli: Cli) -> None:
        self.folder, self.history, self.cli = folder, history, cli
        (folder / "jobs.yaml").write_text(JOBS, "utf-8")
        self.prices(a100=1.5, h100=9.0)

    def prices(self, *, a100: float, h100: float) -> None:
        (self.folder / "prices.csv").write_text(PRICES.format(a100=a100, h100=h100), "utf-8")

    def arguments(self, day: str, *more: str) -> list[str]:
        return [
            "replan", "--jobs", str(self.folder / "jobs.yaml"), "--prices", str(self.folder / "prices.csv"),
            "--history", self.history, "--as-of", day, "--cache", str(self.folder / "layouts"),
            "--min-saving", "10", "--json", *more,
        ]  # fmt: skip

    def run(self, day: str, *more: str) -> Outcome:
        outcome = self.cli(*self.arguments(day, *more))
        return Outcome(outcome.code, json.loads(outcome.out) if outcome.out else {}, outcome.err)
