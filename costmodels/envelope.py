"""Back-of-the-envelope rules: days, cluster sizes, largest models and state bytes from a handful of numbers.

Each rule neglects what its docstring says; the levels from :mod:`costmodels.layer` to :mod:`costmodels.run` do not.
Nothing is computed here that another module computes: the rules call the same formulas with the details left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.activations import attention_activations, dense_mlp_activations, layer_input_bytes
from costmodels.architecture import Architecture
from costmodels.bill import whole_servers
from costmodels.columns import Column, Columns
from costmodels.flops import forward_flops, model_flops_per_token, six_nd_flops
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.memory import rank_bytes
from costmodels.recipe import MOMENT_BYTES, Recipe
from costmodels.run import DAY_S
from costmodels.stage_bytes import StageBytes


def training_days(
    params: Column, tokens: Column, peak_flops_per_s: Column, accelerators: Column, mfu: Column
) -> Column:
    """Days of a training run: 6·N·D over peak · accelerators · MFU.

    Neglects attention FLOPs, failures, checkpoints and restarts (see :func:`costmodels.run.wall_seconds`).
    The peak is the dense one: vendors also quote twice that, for matrices of which half is zero.

    >>> round(float(training_days(70e9, 15e12, 989.5e12, 1024, 0.5)), 1)
    143.9
    """
    return six_nd_flops(params, tokens) / (peak_flops_per_s * accelerators * mfu) / DAY_S


def required_flops_per_s(params: Column, tokens: Column, deadline_s: Column) -> Column:
    """Effective FLOP/s (MFU included) that finish 6·N·D in ``deadline_s`` seconds.

    >>> round(float(required_flops_per_s(70e9, 2e12, 90 * 86400.0)) / 1e12)
    108025
    """
    return six_nd_flops(params, tokens) / deadline_s


def accelerators_needed(flops_per_s: Column, peak_flops_per_s: Column, mfu: Column) -> Column:
    """Accelerators that deliver ``flops_per_s`` effective FLOP/s, before any rounding: a fraction.

    >>> needed = accelerators_needed(required_flops_per_s(70e9, 2e12, 90 * 86400.0), 312e12, 0.4)
    >>> round(float(needed), 2)
    865.58
    """
    return flops_per_s / (peak_flops_per_s * mfu)


@dataclass(frozen=True, eq=False)
class ClusterSize(Columns):
    """From a fraction of an accelerator to whole servers.

    Attributes:
        replicas: whole model replicas.
        working: accelerators of these replicas.
        with_spares: the same with redundancy, whole accelerators.
        servers: whole servers that hold them.
        accelerators: in these servers.
    """

    replicas: Column
    working: Column
    with_spares: Column
    servers: Column
    accelerators: Column


def cluster_size(needed: Column, replica: Column, server: Column, redundancy: Column) -> ClusterSize:
    """Round ``needed`` accelerators up to whole replicas, add spares, round up to whole servers.

    Args:
        needed: accelerators before rounding, of :func:`accelerators_needed`.
        replica: accelerators of one model replica (tensor · pipeline · context parallel).
        server: accelerators of one server.
        redundancy: spares as a share of the working accelerators, 0.05 for 5%.

    Neglects that spares are bought by the server, and that the global batch must divide over the replicas.

    >>> size = cluster_size(865.58, 16, 8, 0.05)
    >>> [int(getattr(size, step)) for step in ("replicas", "working", "with_spares", "servers", "accelerators")]
    [55, 880, 924, 116, 928]
    """
    replicas = whole_servers(needed, replica)
    working = replicas * replica
    with_spares = np.ceil(np.round(working * (1.0 + redundancy), 6))  # 800 · 1.1 is 880, not 881
    servers = whole_servers(with_spares, server)
    return ClusterSize.from_values(
        replicas=replicas,
        working=working,
        with_spares=with_spares,
        servers=servers,
        accelerators=servers * server,
    )


def _state_recipe(weights: float, gradients: float, master: float, optimizer: str = "adamw") -> Recipe:
    """A recipe of which only the bytes of the training state matter."""
    state = {"parameter_bytes": weights, "gather_bytes": weights, "gradient_bytes": gradients, "master_bytes": master}
    nothing = dict.fromkeys(Recipe.names(), 0.0)
    return Recipe.from_values(**(nothing | state | {"moment_bytes": MOMENT_BYTES[optimizer]}))


STATE_RECIPES: dict[str, Recipe] = {
    "no-master": _state_recipe(2.0, 4.0, 0.0),
    "bf16-gradients": _state_recipe(2.0, 2.0, 4.0),
    "fp32": _state_recipe(4.0, 4.0, 0.0),
    "fp32-gradients": _state_recipe(2.0, 4.0, 4.0),
}
"""Named recipes of AdamW training state, in bytes of weight, gradient, master copy and two fp32 moments.

``no-master``: 2 + 4 + 0 + 8 = 14, half-precision weights updated in place.
``bf16-gradients``: 2 + 2 + 4 + 8 = 16, mixed precision of Rajbhandari et al. 2020 (ZeRO), section 3.1.
``fp32``: 4 + 4 + 0 + 8 = 16, single precision, also what fully sharded data parallel keeps between steps.
``fp32-gradients``: 2 + 4 + 4 + 8 = 18, mixed precision of Megatron-LM: gradients accumulate in fp32.
"""


def state_bytes_per_param(r: Recipe) -> Column:
    """Bytes of weights, gradients, master copy and optimizer state per parameter, nothing sharded.

    >>> {name: float(state_bytes_per_param(recipe)) for name, recipe in STATE_RECIPES.items()}
    {'no-master': 14.0, 'bf16-gradients': 16.0, 'fp32': 16.0, 'fp32-gradients': 18.0}
    """
    one = np.ones(())
    return sum(zero_state_bytes(one, r, ranks=one, zero=np.zeros(())).values(), start=np.zeros(()))


def zero_state_bytes(params: Column, r: Recipe, ranks: Column, zero: Column) -> dict[str, Column]:
    """State bytes of one rank by component when ``ranks`` data-parallel ranks share it by ZeRO stage 0 to 3.

    With P parameters on the model-parallel rank, N ranks and w, g, m, o bytes of weight, gradient, master copy and
    moments: stage 0 keeps P(w+g+m+o), 1 P(w+g) + P(m+o)/N, 2 Pw + P(g+m+o)/N, 3 P(w+g+m+o)/N (Rajbhandari et al.
    2020, section 5). Neglects the layers that stage 3 gathers, communication buckets and everything that is no state.

    Args:
        params: parameters on the rank before ZeRO: the model's over tensor · pipeline parallel.
        r: bytes per parameter.
        ranks: data-parallel ranks.
        zero: ZeRO stage.

    >>> shards = (zero_state_bytes(70e9, STATE_RECIPES["no-master"], np.array(64.0), zero) for zero in range(4))
    >>> [round(float(sum(shard.values())) / 1e9, 2) for shard in shards]
    [980.0, 428.75, 153.12, 15.31]
    """
    replicas = Replicas.from_values(dp=ranks, zero=zero, zero_group=0.0, offload_optimizer=0.0, micro_batches=1.0)
    stage = StageBytes.from_values(**(dict.fromkeys(StageBytes.names(), 0.0) | {"dense_params": params}))
    parts = rank_bytes(stage, _shard(), Pipe.from_values(pp=1.0, vpp=1.0, zero_bubble=0.0), replicas, r)
    return {name: parts[name] for name in ("weights", "gradients", "master_weights", "optimizer")}


def largest_params(memory_bytes: Column, accelerators: Column, bytes_per_param: Column) -> Column:
    """Parameters whose training state fills the memory of all accelerators, perfectly sharded (ZeRO 3 or FSDP).

    Neglects activations, gathered layers, reserves and fragmentation: an upper bound that no run reaches.

    >>> float(largest_params(80e9, 8, 16)) / 1e9
    40.0
    """
    return memory_bytes * accelerators / bytes_per_param


def adapter_params(rank: Column, inputs: Column, outputs: Column) -> Column:
    """Parameters of one low-rank adapter, an ``inputs`` × ``rank`` and a ``rank`` × ``outputs`` matrix.

    Hu et al. 2021 (LoRA), section 4.1.

    >>> float(adapter_params(16, 8192, 1024))
    147456.0
    """
    return rank * (inputs + outputs)


def lora_state_bytes(params: Column, trained_params: Column, r: Recipe, frozen_bytes: Column) -> Column:
    """State bytes of training ``trained_params`` adapter parameters beside ``params`` frozen ones.

    Frozen weights have neither gradients nor optimizer state. Neglects activations, of which adapters save little: the
    backward pass runs through the whole model.

    Args:
        params: frozen parameters.
        trained_params: parameters of the adapters.
        r: bytes per trained parameter.
        frozen_bytes: of one frozen weight, 2 in half precision.

    >>> round(float(lora_state_bytes(70e9, 32.768e6, STATE_RECIPES["no-master"], 2.0)) / 1e9, 2)
    140.46
    """
    return frozen_bytes * params + state_bytes_per_param(r) * trained_params


def gpt_shape(layers: Column, hidden: Column, heads: Column, vocab: Column) -> Architecture:
    """The classic GPT block: MLP of width 4h, no grouping, biases, dropout (Radford et al. 2019)."""
    ones = ("qkv_bias", "o_bias", "mlp_bias", "tied", "final_norm", "dropout")
    return _shape(
        layers, hidden, heads, heads, 4.0 * np.asarray(hidden), vocab, norm_vectors=2.0, **dict.fromkeys(ones, 1.0)
    )


def llama_shape(
    layers: Column, hidden: Column, heads: Column, kv_heads: Column, ffn: Column, vocab: Column
) -> Architecture:
    """The Llama block: gated MLP of width ``ffn``, grouped keys and values, no biases (Touvron et al. 2023)."""
    return _shape(layers, hidden, heads, kv_heads, ffn, vocab, norm_vectors=1.0, gated=1.0, final_norm=1.0)


def _shape(
    layers: Column, hidden: Column, heads: Column, kv_heads: Column, ffn: Column, vocab: Column, **flags: float
) -> Architecture:
    width = np.asarray(hidden, dtype=np.float64) / heads
    values = {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": width,
        "v_head_dim": width,
        "ffn": ffn,
        "vocab": vocab,
        "norms_per_layer": 2.0,
    }
    every = dict.fromkeys(Architecture.__dataclass_fields__, 0.0) | values | flags
    return Architecture(**{name: np.asarray(value, dtype=np.float64) for name, value in every.items()})


def layer_forward_flops(a: Architecture, seq: Column, batch: Column) -> Column:
    """Forward FLOPs of one average layer on ``batch`` sequences, attention over the full square.

    For :func:`gpt_shape` this is 24bsh² + 4bs²h; for :func:`llama_shape` with r query heads per key/value head
    4bsh² + 4bsh²/r + 4bs²h + 6bshf. Neglects element-wise work (norms, softmax, activations).

    >>> b, s, h = 4, 2048.0, 12288.0
    >>> float(layer_forward_flops(gpt_shape(96, h, 96, 50257), s, b)) == 24 * b * s * h**2 + 4 * b * s**2 * h
    True
    """
    parts = forward_flops(a, seq, causal=False)
    stack = sum((flops for name, flops in parts.items() if name != "head"), start=np.zeros(()))
    return batch * seq * stack / a.layers


def training_flops(a: Architecture, seq: Column, batch: Column) -> Column:
    """Model FLOPs of forward and backward on ``batch`` sequences: three times forward, head included.

    For :func:`gpt_shape` this is exactly 72bsh²L(1 + s/6h + V/12hL) (Narayanan et al. 2021, equation 3, without its
    recomputation); for :func:`llama_shape` exactly 12bsh²L(1 + 1/r + 3f/2h + s/h + V/2hL). One forward pass is a third
    of either: 4bsh²L(…) for Llama. Not counted are recomputation (see
    :func:`costmodels.utilisation.hardware_flops_per_token`) and the optimizer, some ten operations per parameter and
    step.

    >>> llama_2_70b = llama_shape(80, 8192, 64, 8, 28672, 32000)
    >>> f"{float(training_flops(llama_2_70b, 4096, 1)):.4g}"
    '1.821e+15'
    """
    return batch * seq * model_flops_per_token(a, np.asarray(seq, dtype=np.float64))


def layer_activation_bytes(
    a: Architecture, seq: Column, micro_batch: Column, tp: Column, sp: Column, keep_scores: Column
) -> Column:
    """Bytes that one layer saves for its backward pass on one rank, in half precision without fused attention.

    For :func:`gpt_shape` these are the closed forms of Korthikanti et al. 2022, section 4: sbh(34 + 5as/h) on one rank,
    sbh(10 + 24/t + 5as/ht) with tensor parallelism, sbh/t(34 + 5as/h) with sequence parallelism too; without the
    scores the term in a·s vanishes.

    Args:
        a: shape of the layer.
        seq: sequence length s.
        micro_batch: sequences b.
        tp: tensor parallel degree t.
        sp: 1 if norms and dropout are split over the tensor-parallel ranks too.
        keep_scores: 1 if attention scores are saved, 0 if recomputed (selective recomputation, fused attention).

    >>> s, b, h, t, heads = 4096.0, 1.0, 8192.0, 8.0, 64.0
    >>> form = s * b * h * (10 + 24 / t + 5 * heads * s / (h * t))
    >>> float(layer_activation_bytes(gpt_shape(80, h, heads, 32000), s, b, t, 0.0, 1.0)) == form
    True
    """
    shard = _shard(micro_batch=micro_batch, tp=tp, sp=sp, selective=1.0 - np.asarray(keep_scores))
    half = Recipe.from_values(**(dict.fromkeys(Recipe.names(), 0.0) | {"saved_bytes": 2.0, "fused_activation": 1.0}))
    return attention_activations(a, shard, half, seq) + dense_mlp_activations(a, shard, half, seq)


def recomputed_layer_bytes(a: Architecture, seq: Column, micro_batch: Column, tp: Column, sp: Column) -> Column:
    """Bytes that one fully recomputed layer keeps: its input, 2sbh (over t with sequence parallelism).

    Neglects the working set of the one layer that is being recomputed.

    >>> float(recomputed_layer_bytes(gpt_shape(80, 8192, 64, 32000), 4096, 1, 8, 0)) == 2 * 4096 * 8192
    True
    """
    return layer_input_bytes(a, _shard(micro_batch=micro_batch, tp=tp, sp=sp), seq)


def _shard(**values: object) -> Shard:
    """One rank, one sequence, nothing recomputed or offloaded, but for ``values``."""
    plain = dict.fromkeys(("tp", "cp", "ep", "etp", "micro_batch"), 1.0)
    return Shard.from_values(**(dict.fromkeys(Shard.names(), 0.0) | plain | values))
