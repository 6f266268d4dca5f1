"""What a layer waits for: the host to launch its kernels (those of adapters too), and tensor-parallel ranks to meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from costmodels.adapters import Tuning, Work
from costmodels.columns import Column
from costmodels.elementwise import HALF, unfused_softmax
from costmodels.layer_seconds import LayerSeconds, nothing_but
from costmodels.setting import Setting

BACKWARD_LAUNCHES = 1.0
"""Host seconds of the backward pass of a layer over those of the forward pass: it launches half as many kernels again,
from autograd's own threads instead of Python."""

FROZEN_LAUNCHES = 0.7
"""The same where weights are frozen: the products and transposes of weight gradients are not launched."""

TRANSPOSED = 0.5
"""Passes over the input (forward) or the output gradient (backward) of a low-precision product that writing its
transposed copy takes; it serves weight gradients alone."""

SOFTMAX_LAUNCHES = 0.4
"""Kernels of a masked softmax that is not one kernel (cast, scale, mask, softmax, cast), and of the masks made for it,
over those of a dense layer."""

ADAPTER_LAUNCHES = 0.2
"""Kernels of one adapter (two products, a scaling, an addition) over those of a dense layer (about twenty)."""

FLOOR_SHARPNESS = 5.0
"""How sharply launch and device time take over from each other. Kernels of a layer differ in length, so near the
crossing the host holds up some and the device others: (launch**p + device**p)**(1/p), which is max(launch, device) for
large p."""

COLLECTIVES_PER_PASS = 2.0
"""Tensor-parallel all-reduces of a layer in one pass: after attention and after the MLP."""


def floored(x: Setting, layer: LayerSeconds, launches: Column, work: Work) -> LayerSeconds:
    """The layer with the wait for the host where the device is faster than the launches, and for the tp ranks.

    The host runs ahead of the device, so launching is a floor and not an addition. Each of the two tensor-parallel
    collectives of a pass waits for the last rank to arrive; while a device waits, its host launches on.
    """
    kernels: tuple[Column, Column] = np.ones(()), np.asarray(BACKWARD_LAUNCHES)
    if x.tuning is not None:
        layer, kernels = _adapted(x, layer, x.tuning, work)
    passes = layer.passes
    softmax = SOFTMAX_LAUNCHES * unfused_softmax(x.architecture, x.shard, x.recipe)
    launch = (launches + softmax) * x.efficiency.layer_launch_s
    meeting = np.where(x.shard.tp > 1, COLLECTIVES_PER_PASS * x.efficiency.collective_s, 0.0)
    return layer + nothing_but(
        launch_f=_beyond(kernels[0] * launch, passes.forward + meeting),
        launch_b=_beyond(kernels[1] * launch, passes.backward + meeting),
        tensor_f=meeting,
        tensor_b=meeting,
    )


def frozen_weights(layer: LayerSeconds, frozen: Column) -> LayerSeconds:
    """The seconds without weight gradients where the weights are frozen."""
    left = (1.0 - frozen) * layer.weight_gradient
    return replace(layer, matmul_b=layer.matmul_b - frozen * layer.weight_gradient, weight_gradient=left)


def _adapted(x: Setting, layer: LayerSeconds, tuning: Tuning, work: Work) -> tuple[LayerSeconds, tuple[Column, Column]]:
    """A layer with frozen weights and adapters beside them, and its kernels in each pass over those of a forward pass.

    Adapters work in half precision, by kernels of their own that are not fused with the products beside them; four-bit
    weights are expanded before every product.
    """
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    bandwidth = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    rate = d.attention_flops_per_s * e.gemm_efficiency
    cost = work(a, s, tuning, x.seq)
    spared = np.where(x.recipe.operand_bytes < HALF, TRANSPOSED * cost.input_bytes, 0.0)
    added = nothing_but(
        matmul_f=cost.flops / rate,
        matmul_b=2.0 * cost.flops / rate,
        memory_f=(cost.forward_bytes + cost.expanded_bytes - spared) / bandwidth,
        memory_b=(cost.backward_bytes + cost.expanded_bytes - spared) / bandwidth,
    )
    kernels = ADAPTER_LAUNCHES * cost.adapters
    backward = BACKWARD_LAUNCHES + tuning.frozen * (FROZEN_LAUNCHES - BACKWARD_LAUNCHES)
    return frozen_weights(layer, tuning.frozen) + added, (1.0 + kernels, backward + BACKWARD_LAUNCHES * kernels)


def _beyond(launch: Column, device: Column) -> Column:
    """Seconds that launching adds to the device's."""
    longer = np.maximum(np.maximum(launch, device), 1e-12)
    ratios = (launch / longer) ** FLOOR_SHARPNESS + (device / longer) ** FLOOR_SHARPNESS
    return longer * ratios ** (1.0 / FLOOR_SHARPNESS) - device
