"""Whole runs of the command, killed at random moments, against the same nights uninterrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from optimizer.replan.history import History, Night, standing_plans
from optimizer.replan.lock import exclusive
from tests.replan.nights import JOBS, PRICES
from tests.replan.receivers import Webhook, webhook

COMMAND = (sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())")

BOOKS = (
    PRICES.format(a100=1.5, h100=9.0),  # a first plan
    PRICES.format(a100=1.5, h100=9.1),  # nothing to do
    PRICES.format(a100=3.0, h100=8.0),  # the standing plan doubles: switch
    PRICES.format(a100=0.5, h100=8.0),  # too large a jump: held back
    PRICES.format(a100=0.5, h100=8.0),  # repeated, so believed: switch back
    "broken\n",  # the last good book
    PRICES.format(a100=1.4, h100=2.0),  # one held back, one believed
)
"""The price file of each night."""

ACCEPTED = (1, 3)
"""Nights on which what the night before advised is accepted."""


@dataclass
class Figures:
    """What the trials met.

    Attributes:
        where: how many runs were killed, and how many ended before that.
        recorded: how many of both had recorded their night.
        nights: nights recorded and compared.
        posts: messages received.
        again: messages received a second time with the same key.
        run_s: seconds of an uninterrupted run.
    """

    where: Counter[str] = field(default_factory=Counter)
    recorded: int = 0
    nights: int = 0
    posts: int = 0
    again: int = 0
    run_s: float = 0.0


class Scenario:
    """The nights of one history."""

    def __init__(self, folder: Path, url: str, hook: Webhook) -> None:
        self.folder, self.url, self.hook = folder, url, hook
        self.report = folder / "night.json"
        (folder / "jobs.yaml").write_text(JOBS, "utf-8")

    def start(self, night: int) -> subprocess.Popen[bytes]:
        (self.folder / "prices.csv").write_text(BOOKS[night], "utf-8")
        return subprocess.Popen(
            [
                *COMMAND, "replan", "--jobs", str(self.folder / "jobs.yaml"),
                "--prices", str(self.folder / "prices.csv"), "--as-of", f"2026-10-{2 + night:02d}",
                "--history", self.url, "--cache", str(self.folder / "layouts"), "--min-saving", "10",
                "--cool-down", "0", "--report", str(self.report), "--webhook", "HOOK", "--wait", "60",
                *(("--accept", "small") if night in ACCEPTED else ()),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"HOOK": self.hook.url()},
        )  # fmt: skip

    def finish(self, night: int) -> int:
        """A whole run; returns its exit code."""
        process = self.start(night)
        _, said = process.communicate()
        assert said == b"", said
        return process.returncode

    def nights(self) -> list[Night]:
        """What is recorded; waits until the database has noticed that a killed run is gone."""
        history = History(self.url)
        with exclusive(history.engine, wait_s=30.0):
            return [replace(history.night(number), id=0) for number, *_ in history.numbers()]

    def waiting(self) -> int:
        return len(History(self.url).waiting())

    def standing(self) -> object:
        return standing_plans(History(self.url).last())


def trials(count: int, folder: Path, fresh_history: Callable[[], str], seed: int = 6) -> Figures:
    """Kill ``count`` runs, each at a random moment, and check everything after each of them.

    Runs that end before their moment come on top.
    After a kill the history holds exactly the nights of an uninterrupted twin up to this one or the one before, with
    the same standing plans and books; the report and every cache entry is whole; and the next run completes the night,
    sends what waits, and leaves what the twin has.
    """
    figures, rng = Figures(), random.Random(seed)
    with webhook() as hook:
        # The same paths, so that the nights are equal in every field.
        twin = Scenario(folder, fresh_history(), hook)
        reports, codes, standing = [""], [], []
        times = []
        for night in range(len(BOOKS)):
            began = time.monotonic()
            codes.append(twin.finish(night))
            times.append(time.monotonic() - began)
            reports.append(twin.report.read_text("utf-8"))
            standing.append(twin.standing())
        reference = twin.nights()
        assert [one.exit_code for one in reference] == codes
        news = len(hook.posts)
        figures.run_s = sorted(times)[len(times) // 2]
        scenario, night = Scenario(folder, fresh_history(), hook), 0
        twin.report.unlink()
        hook.posts.clear()
        run_s = figures.run_s
        while figures.where["killed"] < count:
            trial = figures.where.total()
            killed_after(rng, run_s, scenario.start(night), figures.where, aimed=bool(trial % 2))
            found = scenario.nights()
            assert found in (reference[:night], reference[: night + 1])
            assert scenario.standing() == (standing[len(found) - 1] if found else {})
            check_files(scenario, reports)
            figures.recorded += len(found) - night
            began = time.monotonic()
            code = scenario.finish(night)
            run_s = time.monotonic() - began
            assert code == codes[night], f"trial {trial}: night {night} ended with {code}, not {codes[night]}"
            assert scenario.nights() == reference[: night + 1]
            assert scenario.standing() == standing[night]
            assert scenario.waiting() == 0
            figures.nights += 1
            night += 1
            if night == len(BOOKS):
                keys = [headers["Idempotency-Key"] for _, headers, _ in hook.posts]
                assert len(set(keys)) == news
                figures.posts += len(keys)
                figures.again += len(keys) - news
                hook.posts.clear()
                scenario, night = Scenario(folder, fresh_history(), hook), 0
    return figures


def killed_after(
    rng: random.Random, run_s: float, process: subprocess.Popen[bytes], where: Counter[str], *, aimed: bool
) -> None:
    """Kill a run at a moment drawn over its whole length, or over its last third, where it works on the history."""
    time.sleep(rng.uniform(0.6 * run_s if aimed else 0.0, 1.1 * run_s))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    where["killed" if process.returncode == -signal.SIGKILL else "ended before"] += 1


def check_files(scenario: Scenario, reports: list[str]) -> None:
    """The report and the kept layouts are whole."""
    if scenario.report.exists():
        assert scenario.report.read_text("utf-8") in reports
    for entry in (scenario.folder / "layouts").glob("*.npz"):
        with np.load(entry, allow_pickle=False) as arrays:
            assert all(arrays[name].size for name in arrays)
