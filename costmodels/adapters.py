"""Fine-tuning with low-rank adapters beside frozen weights: parameters, FLOPs, bytes kept.

Sources: Hu et al. 2021 (LoRA, arXiv:2106.09685, section 4) for adapters; Dettmers et al. 2023 (QLoRA,
arXiv:2305.14314, section 3) for four-bit weights with double quantisation; Rafailov et al. 2023 (DPO,
arXiv:2305.18290, equation 7) for pairs and the reference model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.activations import attention_activations, dense_mlp_activations, matmul_input
from costmodels.architecture import Architecture
from costmodels.columns import Column, Columns
from costmodels.elementwise import HALF
from costmodels.envelope import adapter_params
from costmodels.flops import FLASH_BACKWARD, forward_flops
from costmodels.layout import Shard, tokens_per_rank
from costmodels.parameters import attention_params, dense_mlp_params
from costmodels.recipe import Recipe

NF4_BYTES = (4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0)) / 8.0
"""Bytes of a four-bit weight with double quantisation: an 8-bit constant per 64 weights, an fp32 one per 256 of those
(QLoRA, section 3: 0.127 bits of constants per parameter instead of 0.5)."""

MODULES = ("q", "k", "v", "o", "gate", "up", "down")
"""Matrices of a layer that can carry an adapter."""


@dataclass(frozen=True, eq=False)
class Adapters(Columns):
    """Which matrices of every layer carry an adapter (1) or none (0), and of what rank.

    Attributes:
        rank: inner width of the adapters.
        q, k, v, o, gate, up, down: the matrices; ``gate`` counts only where the MLP is gated.
    """

    rank: Column
    q: Column
    k: Column
    v: Column
    o: Column
    gate: Column
    up: Column
    down: Column


def module_widths(a: Architecture) -> dict[str, tuple[Column, Column]]:
    """Inputs and outputs of every matrix of a dense layer that can carry an adapter, all heads together."""
    return {
        "q": (a.hidden, a.q_width),
        "k": (a.hidden, a.kv_width),
        "v": (a.hidden, a.kv_width),
        "o": (a.o_width, a.hidden),
        "gate": (a.hidden, a.gated * a.ffn),
        "up": (a.hidden, a.ffn),
        "down": (a.ffn, a.hidden),
    }


def carried(a: Architecture, adapters: Adapters) -> dict[str, Column]:
    """1 for every matrix of the model that carries an adapter."""
    return {name: getattr(adapters, name) * (a.gated if name == "gate" else 1.0) for name in MODULES}


def layer_adapter_params(a: Architecture, adapters: Adapters, tp: Column) -> Column:
    """Adapter parameters of one layer on one rank.

    Of the two matrices, the one on the split side of the base matrix is split over tp, the other is replicated.
    """
    total: Column = np.zeros(())
    for name, (inputs, outputs) in module_widths(a).items():
        row = name in ("o", "down")
        split = adapter_params(adapters.rank, inputs / tp if row else inputs, outputs if row else outputs / tp)
        total = total + carried(a, adapters)[name] * split
    return total


def total_adapter_params(a: Architecture, adapters: Adapters) -> Column:
    """Trainable parameters of the whole model."""
    return a.layers * layer_adapter_params(a, adapters, np.ones(()))


def frozen_weight_bytes(a: Architecture, params: Column, tp: Column, *, quantised: bool) -> Column:
    """Bytes of ``params`` frozen parameters of a rank, of whole layers with what stands at their ends.

    Half precision, or four bits for the matrices of the layers: embedding, head and norms stay in half precision
    (bitsandbytes quantises linear layers only and leaves out the head).

    Args:
        a: architecture.
        params: all parameters on the rank.
        tp: tensor parallel degree.
        quantised: whether the matrices of the layers are four-bit.
    """
    matrices = a.layers * (attention_params(a) + dense_mlp_params(a)) / tp if quantised else np.zeros(())
    return HALF * (params - matrices) + NF4_BYTES * matrices


def adapter_activations(a: Architecture, adapters: Adapters, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one dense layer whose weights are frozen and whose adapters are trained.

    A frozen matrix needs its input for nothing: it is kept only for an adapter beside it. What norms, attention and
    the gated activation need for the gradients of their inputs stays. Each adapter keeps its inner result.
    """
    on = carried(a, adapters)
    tokens = tokens_per_rank(s, seq)
    attention_in = np.maximum(np.maximum(on["q"], on["k"]), on["v"])
    mlp_in = np.maximum(on["gate"], on["up"])
    unused = (1.0 - attention_in) + np.where(a.parallel_block > 0, 0.0, 1.0 - mlp_in)
    activated = (1.0 - on["down"]) * r.saved_bytes * a.ffn / s.tp * tokens
    inner = HALF * adapters.rank * tokens * sum(on.values(), start=np.zeros(()))
    whole = attention_activations(a, s, r, seq) + dense_mlp_activations(a, s, r, seq)
    return whole - unused * matmul_input(a, s, r, seq) - activated + inner


def dequantised_bytes(a: Architecture, tp: Column) -> Column:
    """The largest matrix of a layer in half precision: four-bit weights are expanded one matrix at a time."""
    return HALF * np.maximum(a.hidden * a.ffn, a.hidden * a.q_width) / tp


def adapter_flops_per_token(a: Architecture, adapters: Adapters, seq: Column) -> Column:
    """Executed FLOPs per token of a training step: no weight gradients for frozen weights, full ones for adapters.

    Forward 2 per frozen weight and 2 for the gradient of its input; adapters 6; attention forward and backward. The
    input of the first layer needs no gradient, which is neglected.
    """
    forward = forward_flops(a, seq, causal=True)
    linear = sum((v for k, v in forward.items() if k != "attention_core"), start=np.zeros(()))
    core = forward["attention_core"] * (1.0 + FLASH_BACKWARD)
    return 2.0 * linear + core + 6.0 * total_adapter_params(a, adapters)


def adapter_traffic_bytes(a: Architecture, adapters: Adapters, s: Shard, seq: Column) -> Column:
    """Memory traffic of the adapters of one layer in the forward pass, per rank and micro-batch.

    Each reads its input and reads, adds to and writes the output of the base matrix: kernels that are not fused.
    """
    elements: Column = np.zeros(())
    for name, (inputs, outputs) in module_widths(a).items():
        row = name in ("o", "down")
        width = (inputs / s.tp if row else inputs) + 3.0 * (outputs if row else outputs / s.tp)
        elements = elements + carried(a, adapters)[name] * width
    return HALF * elements * tokens_per_rank(s, seq)
