"""What of a stage is recomputed, and what its layers keep for the backward pass."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.layers import Layers
from costmodels.layout import Pipe
from costmodels.partition import chunk_layers
from costmodels.setting import Setting

OPERATOR_SHARE = 0.5
"""Share of a layer's forward pass that operator-level selective recomputation repeats: every second matrix product."""


def recomputed_share(x: Setting, pipe: Pipe) -> Column:
    """Share of a stage's layers that is fully recomputed: the leading ``recompute_layers`` of a full stage."""
    full = chunk_layers(x.architecture, pipe) * pipe.vpp
    return np.minimum(x.shard.recompute_layers, full) / full


def stage_activations(
    x: Setting, layers: Layers, pipe: Pipe, dense: Column, moe: Column, share: Column | None = None
) -> Column:
    """Bytes saved by one micro-batch in a stage's layers after recomputation of a share of them."""
    share = recomputed_share(x, pipe) if share is None else share
    kept = dense * layers.dense_bytes + moe * layers.moe_bytes
    return (1.0 - share) * kept + share * (dense + moe) * layers.input_bytes
