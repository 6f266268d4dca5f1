"""Parameter counts of a transformer, exact to the last bias and norm vector.

Every function is pure, takes an :class:`~costmodels.architecture.Architecture` and returns an array of the shape to
which the fields that it reads broadcast; the unit is always parameters (elements, not bytes). All results are whole
numbers below 2**53 and therefore exact in float64. The sums equal ``numel`` of the published modelling code
(Hugging Face transformers), which the tests check to the last parameter.

Sources: Vaswani et al. 2017 (arXiv:1706.03762) for the block; Shazeer 2020 (arXiv:2002.05202) for gated MLPs;
Ainslie et al. 2023 (arXiv:2305.13245) for grouped keys and values; DeepSeek-V2 (arXiv:2405.04434, section 2.1) for
latent attention; DeepSeek-V3 (arXiv:2412.19437, sections 2.1.2 and 2.2) for the router bias and multi-token prediction.
"""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture, Column


def attention_params(a: Architecture) -> Column:
    """Projection matrices and biases of one attention layer (norms and sinks are in :func:`norm_params`).

    Plain: query, key, value and output matrices. Latent (DeepSeek-V2, eqs. 9 to 19): query through rank ``q_lora``
    (or full rank), joint key/value down-projection with the shared rotary key, up-projection, output.
    """
    key_value = 2 * a.kv_width
    plain = a.hidden * (a.q_width + key_value) + a.qkv_bias * (a.q_width + key_value)
    full_rank = a.hidden * a.q_width
    query = np.where(a.q_lora > 0, a.q_lora * (a.hidden + a.q_width), full_rank)
    down = a.hidden * (a.kv_lora + a.rope_head_dim)
    up = a.kv_lora * a.heads * (a.nope_head_dim + a.v_head_dim)
    output = a.hidden * a.o_width + a.o_bias * a.hidden
    return np.where(a.is_mla > 0, query + down + up, plain) + output


def dense_mlp_params(a: Architecture) -> Column:
    """Matrices and biases of one dense MLP: two matrices, three if gated (Shazeer 2020, section 2)."""
    inputs = 1 + a.gated
    return a.hidden * a.ffn * (inputs + 1) + a.mlp_bias * (inputs * a.ffn + a.hidden)


def expert_params(a: Architecture) -> Column:
    """Matrices and biases of one routed expert (0 for a dense model)."""
    inputs = 1 + a.gated
    return a.hidden * a.moe_ffn * (inputs + 1) + a.expert_bias * (inputs * a.moe_ffn + a.hidden)


def shared_expert_params(a: Architecture) -> Column:
    """All shared experts of one MoE layer together, with their scalar gate where the model has one (Qwen2-MoE)."""
    return a.hidden * a.shared_ffn * (2 + a.gated) + a.shared_gate * a.hidden


def router_params(a: Architecture) -> Column:
    """Router of one MoE layer: one row of width ``hidden``, and a bias where the model has it, per expert."""
    return a.experts * (a.hidden + a.router_bias)


def norm_params(a: Architecture) -> Column:
    """Vectors of one layer: norms of width ``hidden``, query/key norms, latent-attention norms, sink logits."""
    block = a.norms_per_layer * a.norm_vectors * a.hidden
    query_key = a.qk_norm_head * 2 * a.head_dim + a.qk_norm_full * (a.q_width + a.kv_width)
    return block + query_key + a.q_lora + a.kv_lora + a.sinks * a.heads


def dense_layer_params(a: Architecture) -> Column:
    """One layer with a dense MLP."""
    return attention_params(a) + dense_mlp_params(a) + norm_params(a)


def moe_layer_params(a: Architecture) -> Column:
    """One layer with routed and shared experts, all experts counted."""
    mixture = a.experts * expert_params(a) + shared_expert_params(a) + router_params(a)
    return attention_params(a) + mixture + norm_params(a)


def embedding_params(a: Architecture) -> Column:
    """Input embedding, learned positions and the norm after the embedding (BLOOM)."""
    return a.hidden * (a.vocab + a.learned_positions + a.embedding_norm * a.norm_vectors)


def final_norm_params(a: Architecture) -> Column:
    """The norm before the output head."""
    return a.final_norm * a.norm_vectors * a.hidden


def head_params(a: Architecture) -> Column:
    """Output head: 0 if it is the tied input embedding, plus its bias where the model has one."""
    return a.vocab * ((1 - a.tied) * a.hidden + a.head_bias)


def mtp_params(a: Architecture) -> Column:
    """All multi-token-prediction layers together, embedding and head shared with the main model.

    Each has a projection of twice the hidden width, a layer of the kind that ends the stack and three norms: of the
    hidden state, of the embedding, before the head (DeepSeek-V3, section 2.2; its published 14B module counts the
    shared embedding and head once more).
    """
    layer = np.where(a.experts > 0, moe_layer_params(a), dense_layer_params(a))
    return a.mtp_layers * (2 * a.hidden * a.hidden + layer + 3 * a.norm_vectors * a.hidden)


def total_params(a: Architecture) -> Column:
    """The whole model without multi-token-prediction layers (as published totals count it: DeepSeek-V3 is 671B)."""
    layers = a.dense_layers * dense_layer_params(a) + a.moe_layers * moe_layer_params(a)
    return embedding_params(a) + layers + final_norm_params(a) + head_params(a)


def active_params(a: Architecture) -> Column:
    """Parameters that serve one token: the total less the routed experts that the token does not visit.

    Embedding and head count fully, as in the published 12.9B of Mixtral (arXiv:2401.04088, section 2).
    """
    return total_params(a) - a.moe_layers * (a.experts - a.topk) * expert_params(a)
