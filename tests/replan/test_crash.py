"""The whole command: killed, run twice at once, out of disk, and read-only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replan.conftest import FreshHistory
from tests.replan.crash import trials


@pytest.mark.slow
def test_killed_runs_leave_whole_nights_and_the_next_run_completes_them(
    tmp_path: Path, fresh_history: FreshHistory
) -> None:
    figures = trials(40, tmp_path, fresh_history)
    assert figures.where["killed"] > 20
    assert 0 < figures.where["with its night recorded"] < 40
