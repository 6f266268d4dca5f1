"""The architecture that a row ran: as it says, else as the catalog's model of the same widths has it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from catalogs.framework import Framework
from catalogs.inheritance import framework_family
from catalogs.model import Mla, Model, Moe
from catalogs.runs import Run
from optimizer.measured.row_recipe import fused_attention
from optimizer.measured.skipped import SkipError

FP32_NORM_MODELS = "chatglm"
"""Models of no record of their own whose published code scales normed values in fp32 (RMSNorm of modeling_chatglm.py
at https://huggingface.co/THUDM/chatglm3-6b)."""


def model_of(run: Run, framework: Framework, models: Sequence[Model]) -> Model:
    """The architecture of a row.

    Args:
        run: the row.
        framework: what ran it.
        models: of the catalog.

    Raises:
        SkipError: it is not stated, or contradicts itself.
    """
    needed = ("layers", "hidden", "heads", "ffn", "vocab", "gated")
    missing = [name for name in needed if getattr(run, name) is None]
    if missing:
        raise SkipError(f"{', '.join(missing)} of the model is not stated")
    assert run.layers
    assert run.hidden
    assert run.heads
    assert run.vocab
    assert run.ffn is not None
    kv_heads = run.kv_heads or run.heads
    head_dim = run.head_dim or run.hidden // run.heads
    known = _known(run, models)
    mla = _latent(run, known, models)
    # Scripts that load published weights run the published MLP, whatever name its activation has in them.
    gated = known.gated if known is not None and known.ffn == run.ffn else bool(run.gated)
    classic = not gated and "alibi" not in run.features
    old = classic and framework_family(framework.name) in {"megatron", "deepspeed"}
    window_layers = 0
    if run.window:
        window_layers = run.layers // 2 if "swa_alternate" in run.features else run.layers
        if known is not None and known.window:
            window_layers = run.layers * known.window_layers // known.layers
    try:
        return Model(
            name="run",
            family=run.model,
            layers=run.layers,
            hidden=run.hidden,
            heads=run.heads,
            kv_heads=run.heads if mla else kv_heads,
            head_dim=head_dim,
            ffn=run.ffn,
            vocab=run.vocab,
            gated=gated,
            tied=bool(run.tied) if run.tied is not None else not gated,
            learned_positions=run.seq or 0 if classic else 0,
            mlp_bias=not gated,
            norm="rms" if gated else "layer",
            norms_per_layer=known.norms_per_layer if known else 2,
            qk_norm=known.qk_norm if known else "none",
            parallel_block="parallel_block" in run.features,
            dropout=known.dropout if known else old and not fused_attention(run, framework),
            window=run.window or 0,
            window_layers=window_layers,
            mtp_layers=int("mtp" in run.features),
            square_alibi=known.square_alibi if known else False,
            tanh_gelu=known.tanh_gelu if known else False,
            logit_softcap=known.logit_softcap if known else False,
            fp32_norm=run.model.startswith(FP32_NORM_MODELS),
            moe=_experts(run, known),
            mla=mla,
            sources={"*": run.source or run.id},
            date="2026",
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{name}: " for name in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise SkipError(f"the architecture contradicts itself: {where}{why}") from None


def _known(run: Run, models: Sequence[Model]) -> Model | None:
    """The catalog's model of the same widths as the row's, whatever its number of layers."""
    for model in models:
        if (model.hidden, model.heads, model.vocab) == (run.hidden, run.heads, run.vocab) and (
            (model.moe.experts if model.moe else None) == run.experts
        ):
            return model
    return None


def _latent(run: Run, known: Model | None, models: Sequence[Model]) -> Mla | None:
    """Latent attention of the row, its ranks from the catalog's model of the same width and heads."""
    if run.attention != "mla":
        return None
    if known is not None and known.mla is not None:
        return known.mla
    for model in models:
        if model.mla is not None and (model.hidden, model.heads) == (run.hidden, run.heads):
            return model.mla
    raise SkipError("ranks of the latent attention are not stated")


def _experts(run: Run, known: Model | None) -> Moe | None:
    """Experts of the row.

    A count of MoE layers above that of all layers comes from launch scripts that say -1 for no dense layer first.
    """
    if run.experts is None:
        return None
    if run.topk is None or run.moe_ffn is None:
        raise SkipError("topk or moe_ffn of the experts is not stated")
    assert run.layers
    layers = run.layers if run.moe_layers is None else min(run.moe_layers, run.layers)
    every = known.moe.every if known is not None and known.moe is not None else 1
    first = run.layers - layers * every
    if first < 0:
        every, first = 1, run.layers - layers
    shared = run.shared_experts * run.moe_ffn if run.shared_experts else 0
    if known is not None and known.moe is not None and run.shared_experts != 0:
        shared = known.moe.shared_ffn
    if layers == 0:
        return None
    return Moe(
        experts=run.experts,
        topk=run.topk,
        ffn=run.moe_ffn,
        shared_ffn=shared,
        first_dense_layers=first,
        every=every,
        expert_bias=known is not None and known.moe is not None and known.moe.expert_bias,
    )
