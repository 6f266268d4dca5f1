"""Column bundles for tests: the plain case, with changes by name."""

from __future__ import annotations

import numpy as np

from catalogs import Model
from costmodels.architecture import Architecture
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layers import Layers, layers_of
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.recipe import Recipe
from costmodels.setting import Setting


def shard(**changes: float) -> Shard:
    """One rank, no recomputation."""
    plain = dict.fromkeys(("tp", "cp", "ep", "etp", "micro_batch"), 1.0)
    off = {name: 0.0 for name in Shard.names() if name not in plain}
    return Shard.from_values(**(plain | off | changes))


def pipe(**changes: float) -> Pipe:
    """One stage."""
    return Pipe.from_values(**({"pp": 1.0, "vpp": 1.0, "zero_bubble": 0.0} | changes))


def replicas(**changes: float) -> Replicas:
    """One replica, one micro-batch, nothing sharded."""
    plain = dict.fromkeys(Replicas.names(), 0.0) | {"dp": 1.0, "micro_batches": 1.0}
    return Replicas.from_values(**(plain | changes))


def recipe(**changes: float) -> Recipe:
    """Mixed precision with fp32 gradients, master copy and Adam (18 bytes per parameter), flash attention, fusions."""
    plain = dict.fromkeys(Recipe.names(), 0.0) | {
        "operand_bytes": 2.0,
        "saved_bytes": 2.0,
        "parameter_bytes": 2.0,
        "gradient_bytes": 4.0,
        "master_bytes": 4.0,
        "moment_bytes": 8.0,
        "gather_bytes": 2.0,
        "reduce_bytes": 4.0,
        "flash": 1.0,
        "fused_activation": 1.0,
        "loss_bytes": 10.0,
        "split_loss_bytes": 10.0,
        "operator_products": 1.0,
    }
    return Recipe.from_values(**(plain | changes))


def device() -> Device:
    """Every figure 1: for formulas that do not read it."""
    return Device.from_values(**dict.fromkeys(Device.names(), 1.0))


def efficiency(**changes: float) -> Efficiency:
    """Every constant 1."""
    return Efficiency.from_values(**(dict.fromkeys(Efficiency.names(), 1.0) | changes))


def setting(model: Model, s: Shard, r: Recipe, *, seq: float) -> tuple[Setting, Layers]:
    """A setting and its layer-level results."""
    x = Setting(Architecture.of(model), s, r, device(), efficiency(), np.asarray(seq))
    with np.errstate(all="ignore"):  # a device without a network divides by nothing
        return x, layers_of(x)
