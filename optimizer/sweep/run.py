"""Planning every scenario of a sweep: here, one after the other, or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from optimizer.sweep.grid import Grid
from optimizer.sweep.outcome import outcome_of, unfinished

Report = Callable[[int, int], None]
Outcomes = Generator[tuple[int, dict[str, Any]], None, None]


def serial(grid: Grid) -> Outcomes:
    """Plan in this process, in order."""
    for place, scenario in enumerate(grid.scenarios):
        yield place, outcome_of(scenario, grid.market)


def sweep(grid: Grid, outcomes: Outcomes, report: Report | None = None) -> tuple[list[dict[str, Any]], bool]:
    """The outcomes in the order of the scenarios, and whether an interrupt (Ctrl-C) ended the sweep early.

    Args:
        grid: the scenarios.
        outcomes: place and outcome of scenarios, in any order.
        report: called with scenarios done and in all.
    """
    total = len(grid.scenarios)
    found: dict[int, dict[str, Any]] = {}
    interrupted = False
    with closing(outcomes):
        try:
            for place, outcome in outcomes:
                found[place] = outcome
                if report is not None:
                    report(len(found), total)
        except KeyboardInterrupt:
            interrupted = True
    return [found.get(i) or unfinished(scenario) for i, scenario in enumerate(grid.scenarios)], interrupted
