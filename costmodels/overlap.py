"""Where the exchange of experts may run beside another micro-batch: what a framework's switch needs of a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from catalogs.framework import OverlapNeed
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layout import Pipe, Shard

NEEDS: dict[OverlapNeed, str] = {
    "expert-parallel": "experts on several ranks (ep above 1)",
    "whole-experts": "experts that are not split (etp = 1)",
    "interleaved": "an interleaved schedule where there is a pipeline (vpp above 1)",
    "no-full-recompute": "no fully recomputed layer",
    "one-prediction-layer": "at most one multi-token prediction layer",
    "micro-batches": "more micro-batches than pipeline stages",
}
"""What switches need, in words."""

_MET: dict[OverlapNeed, Callable[[Architecture, Shard, Pipe, Column], NDArray[np.bool_]]] = {
    "expert-parallel": lambda a, s, pipe, share: s.ep > 1,
    "whole-experts": lambda a, s, pipe, share: s.etp == 1,
    "interleaved": lambda a, s, pipe, share: (pipe.pp == 1) | (pipe.vpp > 1),
    "no-full-recompute": lambda a, s, pipe, share: share == 0,
    "one-prediction-layer": lambda a, s, pipe, share: np.asarray(a.mtp_layers <= 1),
}

_ALWAYS = np.ones((), dtype=bool)


@dataclass(frozen=True)
class Overlap:
    """A switch that runs dispatch and combine of experts beside the passes of another micro-batch.

    Attributes:
        needs: what a layout must have for it.
        or_data: it excludes the overlap of data-parallel traffic with the passes.
    """

    needs: tuple[OverlapNeed, ...]
    or_data: bool = False

    @property
    def by_step(self) -> bool:
        """Whether the number of micro-batches of a step matters."""
        return self.or_data or "micro-batches" in self.needs


def unmet(o: Overlap, a: Architecture, s: Shard, pipe: Pipe, share: Column, micro_batches: Column) -> list[OverlapNeed]:
    """What the switch needs and one layout (0-d columns) lacks."""
    lacking = [need for need, met in _MET.items() if need in o.needs and not met(a, s, pipe, share)]
    return lacking if bool(meets_another(o, pipe, micro_batches)) else [*lacking, "micro-batches"]


def layout_allows(o: Overlap, a: Architecture, s: Shard, pipe: Pipe, share: Column) -> NDArray[np.bool_]:
    """Where layouts have what the switch needs, the number of micro-batches aside.

    Args:
        o: the switch.
        a: model.
        s: shards of the layouts.
        pipe: their cuts.
        share: of a stage's layers that is fully recomputed.
    """
    return reduce(np.logical_and, [met(a, s, pipe, share) for need, met in _MET.items() if need in o.needs], _ALWAYS)


def meets_another(o: Overlap, pipe: Pipe, micro_batches: Column) -> NDArray[np.bool_]:
    """Where every stage has a forward pass to run beside the backward pass of another micro-batch.

    With no more micro-batches than stages the first stage has all forward passes behind it when the first backward
    pass comes.
    """
    if "micro-batches" not in o.needs:
        return _ALWAYS
    return np.asarray(micro_batches > pipe.pp)
