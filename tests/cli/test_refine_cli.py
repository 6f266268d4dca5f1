"""``clusterplan refine``: what it prints, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer.extended import refine as module
from tests.cli.conftest import Cli

BASE = (
    *("refine", "-m", "llama-2-7b", "-t", "200B", "-d", "30d", "-H", "a100-sxm-40g", "--max-accelerators", "128"),
    *("--trials", "32"),
)


def test_the_plan_and_the_exact_optimum_stand_side_by_side(cli: Cli) -> None:
    done = cli(*BASE, "--storage", "none")
    assert done.code == 0, done.err
    for text in ("exact optimum", "refined", "32 points sampled", "Assumptions"):
        assert text in done.out


def test_json_has_the_documented_fields(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    document = json.loads(cli(*BASE, "--storage", url, "--seed", "3", "--json").out)
    best, start = document["best"], document["start"]
    layout = best["layout"]
    assert best["cost_usd"] <= start["cost_usd"] * (1 + 1e-12)
    assert document["gain"] == pytest.approx(1 - best["cost_usd"] / start["cost_usd"])
    assert document["front"] is None
    assert len(layout["layers"]) == len(layout["recomputed_layers"]) == len(best["memory_bytes"]) == layout["pp"]
    assert sum(layout["layers"]) == 32
    assert sum(best["time"].values()) == pytest.approx(best["step_s"])
    assert max(best["memory_bytes"]) <= best["capacity_bytes"]
    assert sum(best["offers"].values()) == best["servers"]
    assert all(value <= 0 for value in best["excess"].values())
    assert document["search"] | {"study": "", "candidates": 0} == {
        "sampler": "nsga2",
        "seed": 3,
        "workers": 1,
        "points": 32,
        "candidates": 0,
        "lost_workers": 0,
        "storage": url,
        "study": "",
        "interrupted": False,
    }
    schema = (Path(__file__).parents[2] / "docs" / "json-schema.md").read_text(encoding="utf-8")
    section = schema.split("## `clusterplan refine --json`")[1].split("\n## ")[0]
    for name in (*document, *best, *layout, *document["search"]):
        assert name == "schema_version" or f"`{name}`" in section, name


def test_an_interrupt_prints_the_best_and_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_sample", interrupted)
    done = cli(*BASE, "--storage", "none")
    assert done.code == 130
    assert "interrupted" in done.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--extend", "stages,magic"), "magic"),
        (("--objectives", "price"), "price"),
        (("--sampler", "annealing"), "annealing"),
        (("--workers", "2", "--storage", "none"), "storage"),
        (("--batch-range", "60%"), "--batch-range"),
        (("--recovery", "replica"), "recover by replica"),
    ],
)
def test_what_makes_no_sense_is_refused(flags: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli(*BASE, *flags)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""


def test_nothing_is_written_without_a_storage(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli(*BASE, "--storage", "none")
    assert list(tmp_path.iterdir()) == []
    cli(*BASE)
    assert [path.name for path in tmp_path.glob("*.db")] == ["clusterplan-refine.db"]
