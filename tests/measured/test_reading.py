"""Rows of run files are read as they say, and skipped with the missing fact."""

from __future__ import annotations

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.runs import Run
from optimizer.measured.reading import run_table
from tests.measured.made import made, needs_runs, shown_runs


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def shown() -> list[Run]:
    return shown_runs()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suspect": "odd"}, "suspect: odd"),
        ({"mbs": None}, "mbs is not stated"),
        ({"ffn": None}, "ffn of the model is not stated"),
        ({"framework": "nobody"}, "framework 'nobody' is not in the catalog"),
        ({"accelerator": "nothing"}, "accelerator 'nothing' is not in the catalog"),
        ({"precision": ""}, "precision is not stated"),
        ({"tp": 3}, "tp·cp·pp·dp is not the number of accelerators (8)"),
        ({"step_s": None}, "neither step_s nor tokens_per_s_per_accel with gbs, seq and n_accel is given"),
        ({"task": "lora"}, "LoRA: rank and matrices of the adapters are neither stated nor known of megatron-lm"),
        ({"attention": "mla", "hidden": 4096, "heads": 31}, "ranks of the latent attention are not stated"),
        (
            {"experts": 8, "topk": 9, "moe_ffn": 64},
            "the architecture contradicts itself: topk 9 is above experts 8",
        ),
    ],
)
def test_skipped_rows_name_the_missing_fact(catalog: Catalog, changes: dict[str, object], reason: str) -> None:
    table, skipped = run_table(catalog, [made("a", **({"step_s": 5.0} | changes))])  # type: ignore[arg-type]
    assert table is None
    assert skipped[0].reason == reason


def test_what_a_row_leaves_open_follows_its_framework_and_its_time(catalog: Catalog) -> None:
    gpt = {"gated": False, "kv_heads": 32, "vocab": 50304}
    rows = [
        made("plain", 5.0),
        made("told", 5.0, features="dp_overlap"),
        made("nemo", 5.0, framework="nemo"),
        made("hidden", 5.0, features="ep_overlap;hybridep"),
        made("early", 5.0, year="2023-06"),
        made("late", 5.0, year="2023-07"),
        made("scores", 5.0, framework="megatron-deepspeed", **gpt),
        made("fused", 5.0, framework="megatron-deepspeed", features="flash_attention", **gpt),
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    read = {run.id: i for i, run in enumerate(table.runs)}

    def of(column: np.ndarray, *names: str) -> list[float]:
        return [float(column[read[name]]) for name in names]

    assert of(table.recipe.overlaps_data, "plain", "told", "nemo", "scores") == [0, 1, 1, 0]
    assert of(table.recipe.overlaps_experts, "plain", "hidden") == [0, 1]
    assert of(table.recipe.merges_copies, "plain", "hidden") == [0, 1]
    assert of(table.recipe.first_flash, "plain", "early", "late") == [0, 1, 0]
    assert of(table.recipe.flash, "scores", "fused") == [0, 1]
    assert of(table.architecture.dropout, "scores", "fused") == [1, 0], "GPT of the time before fused attention"


@needs_runs
def test_at_least_2000_shown_rows_are_predicted(catalog: Catalog, shown: list[Run]) -> None:
    table, skipped = run_table(catalog, shown)
    assert table is not None
    assert len(table) >= 2000
    assert all(row.reason for row in skipped)
    assert len(table) + len(skipped) == len(shown)
