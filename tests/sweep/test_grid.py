"""Sweep files and flags: every combination once, every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError, DataFileError, UsageError
from costmodels.run import DAY_S
from optimizer.sweep.grid import Grid, read_grid

CATALOG = Catalog()
GRID = """\
fixed:
  max_accelerators: 64
  offers: [rent]
vary:
  model: [llama-3.2-1b, llama-3-8b]
  tokens: [20B, 5e10]
  deadline: [10d, 2w, 48h]
  hardware: [a800-sxm-80g, [h100-sxm-80g, a100-sxm-80g]]
"""


def grid_of(tmp_path: Path, text: str, **flags: list[str]) -> Grid:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return read_grid(CATALOG, path, flags)


def test_every_combination_comes_once_and_the_last_field_changes_fastest(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, GRID)
    assert grid.varied == ("model", "tokens", "deadline", "hardware")
    assert len(grid.scenarios) == 2 * 2 * 3 * 2
    assert len({repr(one.values) for one in grid.scenarios}) == len(grid.scenarios)
    first, second, last = grid.scenarios[0], grid.scenarios[1], grid.scenarios[-1]
    assert list(first.values) == ["max_accelerators", "offers", "model", "tokens", "deadline", "hardware"]
    assert (first.job.hardware, second.job.hardware) == (("a800-sxm-80g",), ("h100-sxm-80g", "a100-sxm-80g"))
    assert first.values | {"hardware": None} == second.values | {"hardware": None}
    assert (last.job.model.name, last.job.tokens, last.job.deadline_s) == ("llama-3-8b", 5e10, 2 * DAY_S)
    assert {one.job.max_accelerators for one in grid.scenarios} == {64}
    assert {one.job.tenures[0] for one in grid.scenarios} == {"on_demand"}


def test_flags_stand_beside_a_file_or_alone(tmp_path: Path) -> None:
    beside = grid_of(
        tmp_path, "vary:\n  model: [llama-3.2-1b]\n", tokens=["1B", "2B"], hardware=["h100-sxm-80g,mi300x"]
    )
    assert beside.varied == ("tokens",)
    assert [one.job.tokens for one in beside.scenarios] == [1e9, 2e9]
    assert beside.scenarios[0].job.hardware == ("h100-sxm-80g", "mi300x")
    alone = read_grid(CATALOG, None, {"model": ["llama-3.2-1b"], "tokens": ["1B"], "deadline": ["1d", "2d"]})
    assert [one.job.deadline_s for one in alone.scenarios] == [DAY_S, 2 * DAY_S]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  dedline: [3d]\n", ":4: unknown field 'dedline'.*deadline"),
        ("vary:\n  model: [llama-3-8b]\n  tokens:\n    - 1B\n    - 2X\n", ":5: tokens: unit 'X'"),
        ("vary:\n  model: [llama-3-8b, lama-3-9b]\n  tokens: [1B]\n", ":2: unknown model 'lama-3-9b'"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  hardware:\n    - h101\n", ":5: unknown accelerator 'h101'"),
        (
            "vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  fabric: [ib-ndr]\n",
            ":4: unknown fabric 'ib-ndr'.*ib-ndr-400",
        ),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  deadline: [90]\n", ":4: deadline: 90 has no unit"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: 1B\n", ":3: expected a list of values to vary tokens over"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: []\n", ":3: expected a list"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B, 1B]\n", ":3: tokens has '1B' twice"),
        ("vary:\n  model: [llama-3-8b]\nfixed:\n  model: llama-3-8b\n", ":4: model is both fixed and varied"),
        ("varry:\n  model: [llama-3-8b]\n", ":1: unknown section 'varry'.*vary"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\nfixed: 7\n", ":4: expected fields under 'fixed:'"),
        ("- llama-3-8b\n", ":1: expected 'vary:'"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  prices: [nowhere.csv]\n", "nowhere.csv: no such file"),
        ("vary:\n  model: [llama-3-8b]\n  tokens: [1B]\n  max_accelerators: [7.5]\n", ":4: .* must be a whole number"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        grid_of(tmp_path, text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tokens": ["1B"]}, "no model: give it with --model"),
        ({"model": ["llama-3-8b"], "tokens": ["many"]}, "--tokens: tokens: 'many' is not a number"),
        ({"model": ["llama-3-8b"], "tokens": ["1B"], "offers": ["nobody-sells"]}, "unknown offer 'nobody-sells'"),
        (
            {"model": ["llama-3-8b"], "tokens": ["1k", "1T"]},
            "scenario model llama-3-8b, tokens 1k: 1000 tokens are less",
        ),
    ],
)
def test_a_mistake_in_a_flag_is_told_with_the_flag(flags: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_grid(CATALOG, None, flags)


def test_a_field_is_given_once_and_a_grid_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gives tokens too"):
        grid_of(tmp_path, GRID, tokens=["1B"])
    many = [f"{n}d" for n in range(1, 401)]
    with pytest.raises(ClusterplanError, match="160,000 combinations"):
        read_grid(
            CATALOG,
            None,
            {"model": ["llama-3-8b"], "tokens": ["1T"], "deadline": many, "max_accelerators": [d[:-1] for d in many]},
        )
