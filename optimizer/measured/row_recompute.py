"""What of a row's activations is recomputed or waits in host memory."""

from __future__ import annotations

import re
from collections.abc import Sequence

from catalogs.model import Model
from catalogs.runs import Run
from costmodels.layout import ALL_LAYERS
from costmodels.recomputation import OPERATOR_SHARE
from optimizer.measured.skipped import SkipError

RECOMPUTE_PER_STAGE = "enable-recompute-layers-per-pp-rank"
"""MindSpeed's launch flag by which a number of recomputed layers is that of a stage, not of each of its chunks."""


def offloaded_share(run: Run, model: Model) -> float:
    """Share of a stage's layers whose activations wait in host memory."""
    assert run.pp
    if found := re.search(r"activations of (\d+) layers", run.offload):
        return min(float(found.group(1)) * run.pp / model.layers, 1.0)
    return float(run.offload == "activations")


def recomputed(run: Run, model: Model) -> tuple[float, float]:
    """Whether the attention core is recomputed, and how many leading layers of a stage are.

    Recomputation of single modules or operators counts as the number of whole layers of the same FLOPs.

    Raises:
        SkipError: what is recomputed is not modelled.
    """
    text = run.recompute
    if text in {"", "none"}:
        return 0.0, 0.0
    if text == "full":
        return 0.0, ALL_LAYERS
    if text == "selective":
        return 1.0, 0.0
    assert run.pp
    per_stage = model.layers / run.pp
    if found := re.search(r"(\d+) layers per \(virtual\) stage", text):
        once = RECOMPUTE_PER_STAGE in run.notes
        return 0.0, float(found.group(1)) * (1 if once else run.vpp or 1)
    if found := re.search(r"full, block policy, (\d+) of (\d+) layers", text):
        return 0.0, float(found.group(1)) / run.pp
    if text == "other:op-sac":
        return 0.0, OPERATOR_SHARE * per_stage
    if found := re.search(r"modules=(\S+)", text):
        modules = found.group(1).split("+")
        return float("core_attn" in modules), _module_share(model, modules) * per_stage
    raise SkipError(f"recomputation {text.removeprefix('other:')!r} is not modelled")


def _module_share(model: Model, modules: Sequence[str]) -> float:
    """Share of an average layer's forward FLOPs in the recomputed modules."""
    attention = model.hidden * model.head_dim * (2 * model.heads + 2 * model.kv_heads)
    up = 0.0
    if model.mla is not None:
        m = model.mla
        up = m.q_lora * model.heads * (m.nope_head_dim + m.rope_head_dim)
        up += m.kv_lora * model.heads * (m.nope_head_dim + m.v_head_dim)
        down = model.hidden * (m.q_lora + m.kv_lora + m.rope_head_dim)
        attention = up + down + model.heads * m.v_head_dim * model.hidden
    wide = (3 if model.gated else 2) * model.hidden
    moe, dense_layers = 0.0, float(model.layers)
    if model.moe is not None:
        moe_layers = (model.layers - model.moe.first_dense_layers) // model.moe.every
        dense_layers = model.layers - moe_layers
        moe = wide * (model.moe.topk * model.moe.ffn + model.moe.shared_ffn) * moe_layers
    mlp = float(wide * model.ffn * dense_layers)
    total = attention * model.layers + mlp + moe
    repeated = mlp * ("mlp" in modules) + moe * ("moe" in modules) + up * model.layers * ("mla_up_proj" in modules)
    return repeated / total
