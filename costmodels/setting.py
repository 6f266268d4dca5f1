"""What the seconds and bytes of layers, and of the steps made of them, depend on besides the kind of layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.adapters import Tuning
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layout import Shard
from costmodels.overlap import Overlap
from costmodels.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything the seconds of layers of any kind and of their steps depend on: one bundle instead of eight arguments.

    Attributes:
        architecture, shard, recipe, device, efficiency: columns.
        seq: tokens of a sequence.
        span: tokens over which attention reaches, those of an example where several are packed into a sequence
            (None: the whole sequence).
        tuning: what of the model is trained (None: all of it).
        overlap: what the overlap of experts needs of a layout (None: nothing, the recipe says whether it runs).
    """

    architecture: Architecture
    shard: Shard
    recipe: Recipe
    device: Device
    efficiency: Efficiency
    seq: Column
    span: Column | None = None
    tuning: Tuning | None = None
    overlap: Overlap | None = None

    @property
    def reach(self) -> Column:
        """Tokens over which attention reaches."""
        return self.seq if self.span is None else np.minimum(self.span, self.seq)
