"""Rows that no one measured, and the measured ones, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.runs import Run, read_runs

RUNS = Path(__file__).resolve().parents[3] / "shared" / "runs"

needs_runs = pytest.mark.skipif(not RUNS.is_dir(), reason="the measured runs are not beside this repository")

LLAMA = {
    "accelerator": "h100-sxm-80g",
    "accel_per_node": 8,
    "framework": "megatron-lm",
    "model": "llama3-8b",
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 8,
    "ffn": 14336,
    "gated": True,
    "vocab": 128256,
    "tied": False,
    "seq": 8192,
    "mbs": 1,
    "vpp": 1,
    "cp": 1,
    "zero": 1,
    "recompute": "none",
    "precision": "bf16",
    "source": "made up",
}


def shown_runs() -> list[Run]:
    """Every row of every file of measured runs."""
    return [run for path in sorted(RUNS.glob("*.csv")) for run in read_runs(path)]


def made(name: str, step_s: float | None, **changes: object) -> Run:
    layout = {"id": name, "n_accel": 8, "gbs": 128, "tp": 1, "pp": 1, "sp": False, "step_s": step_s}
    return Run.model_validate(LLAMA | layout | changes)
