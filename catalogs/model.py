"""Model architectures: the numbers that decide parameters, FLOPs and bytes of a transformer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from catalogs.record import Record


class Moe(BaseModel):
    """Mixture-of-experts part of a model.

    Attributes:
        experts: routed experts per MoE layer.
        topk: experts a token goes to.
        ffn: intermediate width of one routed expert.
        shared_ffn: intermediate width of all shared experts of a layer together (0 = none).
        first_dense_layers: dense layers before the first MoE layer.
        every: every how many layers (after the dense ones) is an MoE layer; the last of each group is.
        router_bias: whether the router carries one bias per expert (DeepSeek-V3 style).
        expert_bias: whether expert matrices carry biases (GPT-OSS).
        shared_gate: whether a learned scalar gate multiplies the shared expert (Qwen2-MoE).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    experts: PositiveInt
    topk: PositiveInt
    ffn: PositiveInt
    shared_ffn: NonNegativeInt = 0
    first_dense_layers: NonNegativeInt = 0
    every: PositiveInt = 1
    router_bias: bool = False
    expert_bias: bool = False
    shared_gate: bool = False

    @model_validator(mode="after")
    def _topk_within_experts(self) -> Moe:
        if self.topk > self.experts:
            raise ValueError(f"topk {self.topk} is above experts {self.experts}")
        return self


class Mla(BaseModel):
    """Multi-head latent attention (DeepSeek-V2, section 2.1).

    Attributes:
        q_lora: rank of the query projection (0 = full-rank query).
        kv_lora: rank of the joint key/value projection.
        rope_head_dim: rotary part of a query/key head.
        nope_head_dim: non-rotary part of a query/key head.
        v_head_dim: width of a value head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    q_lora: NonNegativeInt
    kv_lora: PositiveInt
    rope_head_dim: PositiveInt
    nope_head_dim: PositiveInt
    v_head_dim: PositiveInt


class Model(Record):
    """A decoder-only transformer.

    Attributes:
        family: the ``model_type`` of Hugging Face transformers whose code builds the model, where there is one.
        year: of publication.
        layers, hidden, heads, kv_heads, head_dim, ffn, vocab: as in the published config
            (``head_dim`` defaults to hidden / heads; ``ffn`` is the dense MLP's intermediate width).
        gated: three-matrix MLP (SwiGLU, GeGLU) instead of two.
        tied: input and output embedding share one matrix.
        learned_positions: rows of a learned position embedding (0 = rotary or ALiBi).
        qkv_bias, o_bias, mlp_bias, head_bias: which projections carry biases.
        norm: ``rms`` (one vector) or ``layer`` (two vectors).
        norm_bias: whether a ``layer`` norm has its second vector (MPT, DBRX, Command R and PaLM do without).
        final_norm: whether a normalisation stands before the output head.
        norms_per_layer: normalisations of width hidden per layer (2; Gemma-2/3 has 4; parallel blocks may have 1).
        qk_norm: ``none``, ``head`` (one vector of head_dim each for q and k) or ``full`` (vectors of q and kv width).
        embedding_norm: an extra normalisation after the embedding (BLOOM).
        parallel_block: attention and MLP read the same input (Falcon, GPT-J).
        dropout: whether dropout is active in pre-training (GPT-3, OPT).
        sinks: one learned attention-sink logit per head (GPT-OSS).
        square_alibi: linear position biases (Press et al. 2022) come as one matrix of tokens by tokens per head, joined
            with the causal mask (Baichuan 2 13B), instead of one row per head (BLOOM, MPT).
        tanh_gelu: the activation is GELU by its tanh approximation (Gemma 2 and 3).
        logit_softcap: logits pass through a scaled tanh before the loss (Gemma 2).
        fp32_norm: the published code scales the normed values in fp32 (ChatGLM).
        window: sliding-window width in tokens (0 = none) used by ``window_layers`` of the layers.
        mtp_layers: multi-token-prediction layers trained beside the stack (DeepSeek-V3); not counted in ``layers``.
        seq: usual pre-training sequence length.
        batch_tokens: global batch of the published pre-training, if known.
        params: total parameter count as published (for checking, never for computing).
        active_params: per token, as published.
    """

    family: str
    year: int | None = None
    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    ffn: NonNegativeInt
    vocab: PositiveInt
    gated: bool
    tied: bool
    learned_positions: NonNegativeInt = 0
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    norm: Literal["rms", "layer"] = "rms"
    norms_per_layer: PositiveInt = 2
    final_norm: bool = True
    norm_bias: bool = True
    qk_norm: Literal["none", "head", "full"] = "none"
    embedding_norm: bool = False
    parallel_block: bool = False
    dropout: bool = False
    sinks: bool = False
    square_alibi: bool = False
    tanh_gelu: bool = False
    logit_softcap: bool = False
    fp32_norm: bool = False
    window: NonNegativeInt = 0
    window_layers: NonNegativeInt = 0
    mtp_layers: NonNegativeInt = 0
    moe: Moe | None = None
    mla: Mla | None = None
    seq: PositiveInt | None = None
    batch_tokens: PositiveInt | None = None
    params: PositiveInt | None = None
    active_params: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.window_layers > self.layers:
            raise ValueError(f"window_layers {self.window_layers} is above layers {self.layers}")
        if (self.window == 0) != (self.window_layers == 0):
            raise ValueError("window and window_layers must both be given or both be 0")
        if self.moe is None and self.ffn == 0:
            raise ValueError("a dense model needs ffn above 0")
        if self.moe is not None and self.layers - self.moe.first_dense_layers < self.moe.every:
            raise ValueError(
                f"of {self.layers} layers first_dense_layers {self.moe.first_dense_layers} and every {self.moe.every} "
                "leave none with experts"
            )
        return self
