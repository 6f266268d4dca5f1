"""Predicted against measured memory of a few published runs, framework figures from the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from catalogs import Catalog, Model
from catalogs.model import Mla, Moe
from costmodels.layout import ALL_LAYERS
from costmodels.memory import allocated_bytes, rank_bytes, reserved_bytes
from costmodels.recipe import Recipe
from costmodels.stage_bytes import stage_bytes
from tests.costmodels.bundles import pipe, replicas, setting, shard

GIB = 2.0**30
FRAMEWORKS = Catalog().frameworks
COMMON = {"name": "run", "family": "run", "sources": {"*": "as published"}, "date": "2026"}
LLAMA = {"gated": True, "tied": False, "head_dim": 128, "vocab": 128256} | COMMON

LLAMA_8B = Model(layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, **LLAMA)
LLAMA_405B = Model(layers=4, hidden=16384, heads=128, kv_heads=16, ffn=53248, **LLAMA)  # four layers of it
DEEPSEEK = Model(
    layers=4, hidden=5120, heads=128, kv_heads=128, ffn=12288,
    moe=Moe(experts=160, topk=6, ffn=1536, shared_ffn=3072, first_dense_layers=1),
    mla=Mla(q_lora=1536, kv_lora=512, rope_head_dim=64, nope_head_dim=128, v_head_dim=128),
    **LLAMA | {"vocab": 102400},
)  # fmt: skip
BLOOM = Model(
    layers=72, hidden=14336, heads=64, kv_heads=64, head_dim=224, ffn=57344, vocab=250880, gated=False, tied=True,
    norm="layer", qkv_bias=True, o_bias=True, mlp_bias=True, embedding_norm=True, **COMMON,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A measured run: what was read (``allocated``, ``reserved`` or ``device``) and how it was laid out."""

    framework: str
    model: Model
    seq: int
    kind: str
    gib: float
    within: float
    shard: dict[str, float] = field(default_factory=dict)
    pipe: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, float] = field(default_factory=dict)
    recipe: dict[str, float] = field(default_factory=dict)


def simumax(model: Model, gib: float, s: dict[str, float], p: float, dp: float, seq: int = 4096) -> Run:
    """SimuMax v1.2, B200, Megatron-Core 0.14 with Transformer Engine's fused cross entropy."""
    n = {"dp": dp, "zero": 1.0, "micro_batches": 4.0}
    return Run("megatron-lm", model, seq, "allocated", gib, 0.03, s, {"pp": p}, n, {"fused_loss": 1.0})


def titan(gib: float, dp: float, micro_batch: float, zero: float = 3.0, compiled: bool = True) -> Run:
    """Torchtitan's performance logs, H100, Llama-3-8B with operator-level recomputation."""
    s, n = {"micro_batch": micro_batch, "selective": 1.0}, {"dp": dp, "zero": zero}
    r = {"fused_activation": float(compiled)}
    return Run("torchtitan-fsdp2", LLAMA_8B, 8192, "reserved", gib, 0.06, s, {}, n, r)


def bloom(gib: float, tp: float, pp: float, dp: float, micro_batch: float) -> Run:
    """BigScience's notes before BLOOM, A100, Megatron-DeepSpeed, full recomputation, read with nvidia-smi."""
    s = {"tp": tp, "micro_batch": micro_batch, "recompute_layers": ALL_LAYERS}
    n = {"dp": dp, "zero": 1.0, "micro_batches": 2048 / dp / micro_batch}
    return Run("megatron-deepspeed", BLOOM, 2048, "device", gib, 0.10, s, {"pp": pp}, n, {"flash": 0.0})


RUNS = {
    "405b-tp8": simumax(LLAMA_405B, 38.57, {"tp": 8.0, "sp": 1.0}, 1.0, 1.0),
    "405b-tp2": simumax(LLAMA_405B, 81.59, {"tp": 2.0, "sp": 1.0}, 1.0, 4.0),
    "405b-pp2": simumax(LLAMA_405B, 87.08, {}, 2.0, 4.0),
    "405b-cp8": simumax(LLAMA_405B, 139.22, {"cp": 8.0}, 1.0, 1.0, seq=32768),
    "405b-cp4-long": simumax(LLAMA_405B, 118.13, {"tp": 2.0, "sp": 1.0, "cp": 4.0}, 1.0, 1.0, seq=131072),
    "deepseek-ep8": simumax(DEEPSEEK, 45.63, {"ep": 8.0}, 1.0, 8.0),
    "deepseek-ep4-pp2": simumax(DEEPSEEK, 44.70, {"ep": 4.0}, 2.0, 4.0),
    "8b-n8-compiled": titan(47.65, 8.0, 1.0),
    "8b-n8-eager": titan(49.59, 8.0, 1.0, compiled=False),
    "8b-n8-never-resharded": titan(62.18, 8.0, 1.0, zero=2.0, compiled=False),
    "8b-n8-two-sequences": titan(77.0, 8.0, 2.0),
    "8b-n128": titan(62.0, 128.0, 2.0),
    "bloom-tp8-pp12": bloom(29.0, 8.0, 12.0, 4.0, 1.0),
    "bloom-tp8-pp12-mbs4": bloom(49.0, 8.0, 12.0, 4.0, 4.0),
    "bloom-tp8-pp6-mbs4": bloom(55.0, 8.0, 6.0, 8.0, 4.0),
    "bloom-tp4-pp6-mbs2": bloom(57.0, 4.0, 6.0, 16.0, 2.0),
    "bloom-tp2-pp12-mbs2": bloom(63.0, 2.0, 12.0, 16.0, 2.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_measured_run(name: str) -> None:
    run = RUNS[name]
    s, p, n = shard(**run.shard), pipe(**run.pipe), replicas(**run.replicas)
    changes = {name: np.asarray(value) for name, value in run.recipe.items()}
    r = replace(Recipe.of(FRAMEWORKS[run.framework], "bf16", "adamw"), **changes)
    x, layers = setting(run.model, s, r, seq=float(run.seq))
    peaks = []
    for stage in range(int(p.pp)):
        parts = rank_bytes(stage_bytes(x, layers, p, np.asarray(float(stage))), s, p, n, r)
        read = {"allocated": allocated_bytes, "reserved": reserved_bytes, "device": lambda c: sum(c.values())}[run.kind]
        peaks.append(float(read(parts)) / GIB)
    assert max(peaks) == pytest.approx(run.gib, rel=run.within)
