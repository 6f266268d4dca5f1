"""The page about users' own runs names every column that is read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from catalogs.runs import REQUIRED_COLUMNS, Run

PAGE = (Path(__file__).parents[2] / "docs" / "own-runs.md").read_text("utf-8")
ROWS = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| `")]


def test_every_column_is_told() -> None:
    told = [name for names, _ in ROWS for name in re.findall(r"`(\w+)`", names)]
    assert sorted(told) == sorted(set(Run.model_fields) - {"line"})


def test_required_columns_are_told_to_be() -> None:
    told = [name for names, meaning in ROWS if "required" in meaning for name in re.findall(r"`(\w+)`", names)]
    assert sorted(told) == sorted(REQUIRED_COLUMNS)
