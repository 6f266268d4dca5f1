"""A model architecture as columns of numbers: the form in which every cost formula reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from catalogs.model import Mla, Model, Moe

Column = NDArray[np.float64]
"""A float64 array of any shape (0-d for one model) that broadcasts with the other columns."""

_NO_MOE = Moe(experts=1, topk=1, ffn=1)
_NO_MLA = Mla(q_lora=0, kv_lora=1, rope_head_dim=1, nope_head_dim=1, v_head_dim=1)


@dataclass(frozen=True, eq=False)
class Architecture:
    """The fields of one or many models as float64 columns that broadcast with each other.

    Every field is an array: 0-d from :meth:`of`, one entry per model from :meth:`stack`, or any other shape that
    the caller builds. Flags are 0.0 or 1.0, counts are whole numbers (exact in float64 up to 2**53), widths are in
    elements. A field of a part that the model does not have (experts, latent attention) is 0.

    Attributes:
        layers: transformer layers of the stack, dense and MoE, without multi-token-prediction layers.
        hidden: width of the residual stream.
        heads: query heads.
        kv_heads: key/value heads (equal to ``heads`` without grouping; 1 for multi-query).
        head_dim: width of a query/key head (latent attention: rotary plus non-rotary part).
        v_head_dim: width of a value head (``head_dim`` but for latent attention).
        ffn: intermediate width of a dense MLP (0 when no layer has one).
        vocab: rows of the embedding matrix.
        gated: 1 if the MLPs have three matrices (SwiGLU, GeGLU), 0 if two.
        tied: 1 if the output head is the input embedding matrix.
        learned_positions: rows of a learned position embedding.
        qkv_bias: 1 if the query, key and value projections carry biases.
        o_bias: 1 if the attention output projection carries a bias.
        mlp_bias: 1 if the matrices of the dense MLPs carry biases.
        head_bias: 1 if the output head carries a bias.
        norm_vectors: vectors per normalisation: 1 (RMS norm, layer norm without bias) or 2 (layer norm with bias).
        rms_norm: 1 if they are RMS norms.
        norms_per_layer: normalisations of width ``hidden`` in a layer.
        final_norm: 1 if a normalisation stands before the output head.
        qk_norm_head: 1 if queries and keys are normalised per head (one vector of ``head_dim`` each).
        qk_norm_full: 1 if queries and keys are normalised over their full width (``q_width`` and ``kv_width``).
        embedding_norm: 1 if a normalisation follows the embedding.
        parallel_block: 1 if attention and MLP read the same input.
        dropout: 1 if dropout is active in pre-training.
        sinks: 1 if every head has a learned attention-sink logit.
        square_alibi: 1 if linear position biases come as a matrix of tokens by tokens per head.
        tanh_gelu: 1 if the activation is GELU by its tanh approximation.
        logit_softcap: 1 if logits pass through a scaled tanh before the loss.
        fp32_norm: 1 if the published code scales the normed values in fp32.
        window: sliding-window width in tokens (0 = none).
        window_layers: layers whose attention is limited to ``window``.
        mtp_layers: multi-token-prediction layers beside the stack.
        experts: routed experts of an MoE layer (0 for a dense model).
        topk: routed experts that a token visits.
        moe_ffn: intermediate width of one routed expert.
        shared_ffn: intermediate width of all shared experts of a layer together.
        moe_layers: how many of ``layers`` are MoE layers.
        first_dense_layers: dense layers before the first MoE layer.
        moe_every: every how many layers (after ``first_dense_layers``) is an MoE layer.
        router_bias: 1 if the router carries one bias per expert.
        expert_bias: 1 if the matrices of the routed experts carry biases.
        shared_gate: 1 if a learned scalar gate multiplies the shared expert.
        is_mla: 1 for multi-head latent attention.
        q_lora: rank of the query projection of latent attention (0 = full rank).
        kv_lora: rank of the joint key/value projection of latent attention.
        rope_head_dim: rotary part of a latent-attention query/key head.
        nope_head_dim: non-rotary part of a latent-attention query/key head.
    """

    layers: Column
    hidden: Column
    heads: Column
    kv_heads: Column
    head_dim: Column
    v_head_dim: Column
    ffn: Column
    vocab: Column
    gated: Column
    tied: Column
    learned_positions: Column
    qkv_bias: Column
    o_bias: Column
    mlp_bias: Column
    head_bias: Column
    norm_vectors: Column
    rms_norm: Column
    norms_per_layer: Column
    final_norm: Column
    qk_norm_head: Column
    qk_norm_full: Column
    embedding_norm: Column
    parallel_block: Column
    dropout: Column
    sinks: Column
    square_alibi: Column
    tanh_gelu: Column
    logit_softcap: Column
    fp32_norm: Column
    window: Column
    window_layers: Column
    mtp_layers: Column
    experts: Column
    topk: Column
    moe_ffn: Column
    shared_ffn: Column
    moe_layers: Column
    first_dense_layers: Column
    moe_every: Column
    router_bias: Column
    expert_bias: Column
    shared_gate: Column
    is_mla: Column
    q_lora: Column
    kv_lora: Column
    rope_head_dim: Column
    nope_head_dim: Column

    @classmethod
    def of(cls, model: Model) -> Architecture:
        """The columns of one model, each 0-d."""
        return cls(**{name: np.asarray(value, dtype=np.float64) for name, value in _row(model).items()})

    @classmethod
    def stack(cls, models: Sequence[Model]) -> Architecture:
        """The columns of several models, each of shape ``(len(models),)``."""
        rows = [_row(model) for model in models]
        return cls(**{f.name: np.array([row[f.name] for row in rows], dtype=np.float64) for f in fields(cls)})

    @property
    def q_width(self) -> Column:
        """Elements of the queries of one token, all heads together."""
        return self.heads * np.where(self.is_mla > 0, self.nope_head_dim + self.rope_head_dim, self.head_dim)

    @property
    def kv_width(self) -> Column:
        """Elements of the keys of one token, all key/value heads together (and of the values, unless latent)."""
        return self.kv_heads * self.head_dim

    @property
    def o_width(self) -> Column:
        """Elements of the attention output of one token before the output projection."""
        return self.heads * self.v_head_dim

    @property
    def dense_layers(self) -> Column:
        """Layers of the stack with a dense MLP."""
        return self.layers - self.moe_layers


def _row(model: Model) -> dict[str, float]:
    """The fields of :class:`Architecture` for one model."""
    moe, mla = model.moe or _NO_MOE, model.mla or _NO_MLA
    has_moe, has_mla = model.moe is not None, model.mla is not None
    return {
        "layers": model.layers,
        "hidden": model.hidden,
        "heads": model.heads,
        "kv_heads": model.kv_heads,
        "head_dim": mla.nope_head_dim + mla.rope_head_dim if has_mla else model.head_dim,
        "v_head_dim": mla.v_head_dim if has_mla else model.head_dim,
        "ffn": model.ffn,
        "vocab": model.vocab,
        "gated": model.gated,
        "tied": model.tied,
        "learned_positions": model.learned_positions,
        "qkv_bias": model.qkv_bias,
        "o_bias": model.o_bias,
        "mlp_bias": model.mlp_bias,
        "head_bias": model.head_bias,
        "norm_vectors": 2 if model.norm == "layer" and model.norm_bias else 1,
        "rms_norm": model.norm == "rms",
        "norms_per_layer": model.norms_per_layer,
        "final_norm": model.final_norm,
        "qk_norm_head": model.qk_norm == "head",
        "qk_norm_full": model.qk_norm == "full",
        "embedding_norm": model.embedding_norm,
        "parallel_block": model.parallel_block,
        "dropout": model.dropout,
        "sinks": model.sinks,
        "square_alibi": model.square_alibi,
        "tanh_gelu": model.tanh_gelu,
        "logit_softcap": model.logit_softcap,
        "fp32_norm": model.fp32_norm,
        "window": model.window,
        "window_layers": model.window_layers,
        "mtp_layers": model.mtp_layers,
        "experts": has_moe * moe.experts,
        "topk": has_moe * moe.topk,
        "moe_ffn": has_moe * moe.ffn,
        "shared_ffn": has_moe * moe.shared_ffn,
        "moe_layers": has_moe * ((model.layers - moe.first_dense_layers) // moe.every),
        "first_dense_layers": has_moe * moe.first_dense_layers,
        "moe_every": has_moe * moe.every,
        "router_bias": has_moe * moe.router_bias,
        "expert_bias": has_moe * moe.expert_bias,
        "shared_gate": has_moe * moe.shared_gate,
        "is_mla": has_mla,
        "q_lora": has_mla * mla.q_lora,
        "kv_lora": has_mla * mla.kv_lora,
        "rope_head_dim": has_mla * mla.rope_head_dim,
        "nope_head_dim": has_mla * mla.nope_head_dim,
    }
