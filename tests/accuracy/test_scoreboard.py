"""The scoreboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.catalog import Catalog
from optimizer.accuracy.scoreboard import END, START, Scoreboard
from optimizer.accuracy.validate import cross_validate, validate
from tests.measured.made import made


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def test_scoreboard_writes_its_pages(catalog: Catalog, tmp_path: Path) -> None:
    rows = [
        made(f"{source}-{layers}-{gbs}", layers * gbs / 400.0, source=source, layers=layers, gbs=gbs)
        for source in "ab"
        for layers in (16, 32)
        for gbs in (64, 128)
    ]
    (tmp_path / "README.md").write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    apart = {by: cross_validate(catalog, rows, by=by) for by in ("group", "model", "source")}
    board = Scoreboard(catalog, validate(catalog, rows), apart["group"], apart["model"], apart["source"], ())
    written = board.write(tmp_path / "docs")
    assert [path.name for path in written] == ["accuracy.md", "accuracy.svg", "README.md"]
    assert "groups held apart" in written[0].read_text(encoding="utf-8")
    assert written[1].read_text(encoding="utf-8").startswith("<svg")
    text = written[2].read_text(encoding="utf-8")
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")


def test_work_of_minutes_tells_how_far_it_is(catalog: Catalog) -> None:
    rows = [made(f"{source}-{gbs}", gbs / 20.0, source=source, gbs=gbs) for source in "abc" for gbs in (64, 128)]
    told: list[tuple[int, int]] = []
    cross_validate(catalog, rows, by="source", folds=2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2), (1, 3), (2, 3), (3, 3)]
